//! tower layers around wawo services.
//!
//! Every service here is a [`tower::Service`] from [`Request`](crate::Request) to
//! [`Response`](crate::Response), so that layers made by anyone fit: on a whole server
//! ([`ServerBuilder::layer`](crate::ServerBuilder::layer)), on one service or one method (`layer`
//! and `layer_method` on a generated server), or before a caller
//! ([`Channel`](crate::Channel)). Their errors become statuses in one place:
//!
//! | error of | becomes |
//! |---|---|
//! | a layer that returns a [`Status`](crate::Status) | that status |
//! | tower's `timeout`, tokio's `timeout` | `DeadlineExceeded` |
//! | tower's `load_shed` | `ResourceExhausted` |
//! | tower's `buffer`, when its worker has ended | `Unavailable` |
//! | anything else | `Internal`, with the error as the source, which is not sent |
//!
//! tower's concurrency and rate limits let calls wait, and return no errors of their own; put
//! `load_shed` above them to refuse instead. tower's rate limit cannot be cloned, and a service
//! must be: put `buffer` above it.

//!
//! Two are wawo's own: [`LimitLayer`], what calls may weigh, how many there may be, how long they
//! take; and [`BlockingLayer`], for handlers that block their thread.

mod blocking;
mod limit;
pub(crate) mod recover;

pub use crate::layer::{
    blocking::{BlockingLayer, BlockingService},
    limit::{Limit, LimitFuture, LimitLayer},
};
