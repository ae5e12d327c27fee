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
//! One behaviour each:
//!
//! | layer | behaviour | a call beyond it |
//! |---|---|---|
//! | [`InFlightLayer`] | bounds the calls in flight | is refused unserved: `ResourceExhausted` |
//! | [`RequestBytesLayer`] | bounds the length of each request message | is refused unserved: `ResourceExhausted` |
//! | [`MaxTimeLayer`] | bounds the time that a call takes | ends: `DeadlineExceeded` |
//! | [`BlockingLayer`] | lets handlers block their thread | |

mod blocking;
mod in_flight;
mod intercept;
mod max_time;
pub(crate) mod recover;
mod request_bytes;

pub use crate::layer::{
    blocking::{BlockingLayer, BlockingService},
    in_flight::{InFlight, InFlightFuture, InFlightLayer},
    intercept::{Intercept, InterceptFuture, InterceptLayer, InterceptService, Next, intercept},
    max_time::{MaxTime, MaxTimeFuture, MaxTimeLayer},
    request_bytes::{RequestBytes, RequestBytesFuture, RequestBytesLayer},
};

/// Requests, replies and polls for the tests of layers.
#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    use wawo_protocol::{MessageBytes, MethodId, ServiceId};

    use crate::{
        body::Body,
        request::Request,
        response::Response,
        status::{BoxError, Status},
    };

    pub(super) fn request() -> Request {
        let body = Body::One(MessageBytes::default());
        Request::by_id(ServiceId(1), MethodId(1), false, body)
    }

    pub(super) fn reply() -> Result<Response, BoxError> {
        let body = Body::One(MessageBytes::default());
        Ok(Response::new(Default::default(), body))
    }

    /// Polls a future that is not pinned in place.
    pub(super) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// The status in the box with which a layer failed.
    pub(super) fn status_of(result: Result<Response, BoxError>) -> Status {
        let error = result.expect_err("the call fails");
        *error.downcast().expect("it fails with a status")
    }
}
