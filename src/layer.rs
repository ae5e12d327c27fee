//! tower layers around wawo services, and layers of wawo's own.
//!
//! Every service here is a [`tower::Service`] from [`Request`](crate::Request) to
//! [`Response`](crate::Response), so layers made by anyone fit: around a whole server
//! ([`ServerBuilder::layer`](crate::ServerBuilder::layer)), around one service or one method (`layer` and
//! `layer_method` of a generated server), and before a caller ([`Channel`](crate::Channel)).
//!
//! ```text
//!  stub ─► Channel ─► layers ─► Peer ─ ─ ─► layers of the server ─► Dispatch ─► layers of the service,
//!                                                                               of the method ─► handler
//! ```
//!
//! # Layers of wawo
//!
//! One behaviour each:
//!
//! | layer | behaviour | a call beyond it |
//! |---|---|---|
//! | [`InFlightLayer`] | bounds the calls in flight | is refused unserved: `ResourceExhausted` |
//! | [`RequestBytesLayer`] | bounds the length of each request message | is refused unserved: `ResourceExhausted` |
//! | [`MaxTimeLayer`] | bounds the time that a call takes | ends: `DeadlineExceeded` |
//! | [`BlockingLayer`] | lets handlers block their thread | |
//! | [`PanicGuardLayer`] | turns a panic of what is inside into a status; there is one inside of each layer | ends: `Internal` |
//! | [`intercept`] | an asynchronous function around a call: authorise, measure, change | as the function says |
//!
//! The first three see a stream of replies as a part of its call, to its end. Layers of tower see a call
//! end with its response, before the stream.
//!
//! # Layers of tower
//!
//! | layer | on a server, a service, a method | before a caller |
//! |---|---|---|
//! | `timeout` | fits; [`MaxTimeLayer`] also shortens the deadline that the handler sees | fits; [`Call::timeout`](crate::Call::timeout) also tells the callee |
//! | `limit::concurrency` | fits: calls wait | fits: calls wait, within their deadlines |
//! | `limit::rate` | with `buffer` above it, since it cannot be cloned, and a service must be | the same |
//! | `load_shed` | fits above a layer that lets calls wait; alone it sheds nothing | fits: refuses calls of a full peer |
//! | `buffer` | fits | fits: keeps calls until the peer takes them |
//! | `filter`, `map_request`, `map_response`, `and_then` | fit | fit |
//! | `steer` | | fits: ready when all of its peers are |
//! | `balance` | | with `buffer` above it, since it cannot be cloned: leaves out peers that are full, drops those that are over |
//! | `retry`, `hedge` | | with a policy that makes each request anew: a [`Request`](crate::Request) cannot be cloned, as its messages may be a stream |
//!
//! A layer is applied once, and the service that it makes is cloned for each connection: a limit holds for
//! all of them together.
//!
//! # Readiness
//!
//! tower asks a service whether it is ready before it calls it.
//!
//! - A [`Peer`](crate::Peer) is pending while its connection has no room for a call, and an error once the
//!   connection is over. So `load_shed` refuses, and a balancer looks elsewhere. It reserves nothing: a call that
//!   finds no room after all waits for it, within its deadline. It is pending for no longer than
//!   `default_timeout`, or `stall_timeout`, of its [`Config`](crate::Config).
//! - A stub over a peer does not ask. Its call waits for room within its deadline.
//! - A [`Channel`](crate::Channel) asks with each call, and waits within the deadline of the call.
//! - What is served is asked with each call too: which service is meant is known with the request only.
//!   So a generated server, a [`Layered`](crate::Layered) one and a [`Dispatch`](crate::Dispatch) are always ready,
//!   and a layer around all of them, such as `load_shed` on a server, sees nothing of limits inside.
//!
//! # How a call ends
//!
//! A layer around what is served sees the end of each call, and of its stream of replies, by what the
//! service inside of it returns:
//!
//! | the call | the layer sees |
//! |---|---|
//! | ends, or fails | the response, or the status |
//! | panics, in the handler, the codec, or a layer inside | `Internal`; see [`PanicGuard`] |
//! | passes its deadline | `DeadlineExceeded`: its future is polled once more, and then dropped |
//! | is cancelled by its caller, or its connection is lost | a drop of its future, or of its stream |
//!
//! A caller whose call has passed its deadline cancels it. So a cancel that comes less than 10 ms before the
//! deadline is taken for that. A layer that does not end when the service inside of it has ended is dropped.
//!
//! # Errors
//!
//! Errors of layers become statuses as [`Status::from_error`](crate::Status::from_error) says: a status stays
//! what it is, tower's `timeout`, `load_shed` and `buffer` have codes of their own, and all else is
//! `Internal`.

mod blocking;
mod in_flight;
mod intercept;
mod max_time;
mod panic_guard;
mod request_bytes;

pub use crate::layer::{
    blocking::{BlockingLayer, BlockingService},
    in_flight::{InFlight, InFlightFuture, InFlightLayer},
    intercept::{Intercept, InterceptFuture, InterceptLayer, InterceptService, Next, intercept},
    max_time::{MaxTime, MaxTimeFuture, MaxTimeLayer},
    panic_guard::{PanicGuard, PanicGuardLayer},
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
