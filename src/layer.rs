//! tower layers around wawo services, and layers of wawo's own.
//!
//! Every service here is a [`tower::Service`] from [`Request`](crate::Request) to
//! [`Response`](crate::Response), so layers of any crate fit: around a whole server
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
//! | layer | behaviour | a call beyond the limit |
//! |---|---|---|
//! | [`InFlightLayer`] | limits the calls in flight | is refused unserved: `ResourceExhausted` |
//! | [`RequestBytesLayer`] | limits the length of each request message | is refused unserved: `ResourceExhausted` |
//! | [`MaxTimeLayer`] | limits the time that a call takes | ends: `DeadlineExceeded` |
//! | [`BlockingLayer`] | lets handlers block their thread | |
//! | [`PanicGuardLayer`] | turns a panic of the service inside into a status; there is one inside of each layer | ends: `Internal` |
//! | [`authorize`] | lets only calls through that their caller may make, by identity and method | is refused unserved: `Unauthenticated`, `PermissionDenied` |
//! | [`intercept`] | an asynchronous function around a call: check, measure, change | as the function says |
//!
//! The first three count a stream of replies as a part of its call, until its end. For layers of tower, a
//! call ends with its response, before the stream.
//!
//! # Layers of tower
//!
//! | layer | on a server, a service, a method | before a caller |
//! |---|---|---|
//! | `timeout` | fits; [`MaxTimeLayer`] also shortens the deadline that the handler sees | fits; [`Call::timeout`](crate::Call::timeout) is sent to the callee too |
//! | `limit::concurrency` | fits: calls wait | fits: calls wait, within their deadlines |
//! | `limit::rate` | with `buffer` above it, since it cannot be cloned, and a service must be | the same |
//! | `load_shed` | fits above a layer that lets calls wait; alone it sheds nothing | fits: refuses calls of a full peer |
//! | `buffer` | fits | fits: keeps calls until the peer takes them |
//! | `filter`, `map_request`, `map_response`, `and_then` | fit | fit |
//! | `steer` | | fits: ready when all of its peers are |
//! | `balance` | | with `buffer` above it, since it cannot be cloned: leaves out peers that are full, drops those whose connection is over |
//! | `retry`, `hedge` | | with a policy that makes each request anew: a [`Request`](crate::Request) cannot be cloned, as its messages may be a stream |
//!
//! A layer is applied once, and the service that it makes is cloned for each connection: a limit applies
//! to all connections together.
//!
//! # Readiness
//!
//! tower asks a service whether it is ready before it calls it.
//!
//! - A [`Peer`](crate::Peer) is pending while its connection has no room for a call, and an error once
//!   the connection is over. So `load_shed` refuses calls, and a balancer chooses another peer. It
//!   reserves nothing: a call that then finds no room waits for it, within its deadline. It is pending
//!   for no longer than `default_timeout`, or `stall_timeout`, of its [`Config`](crate::Config).
//! - Room ends when half of `max_waiting_calls` wait, not when the `max_calls` of the other side are in
//!   flight: calls without a slot wait first. By default that takes 8,192 waiting calls. A caller that
//!   is to shed earlier connects with a lower
//!   [`max_waiting_calls`](crate::ConfigBuilder::max_waiting_calls).
//! - A stub over a peer does not ask. Its call waits for room within its deadline.
//! - A [`Channel`](crate::Channel) asks with each call, and waits within the deadline of the call.
//! - A served service is polled with each call too, because only the request says which service it is
//!   for. So a generated server, a [`Layered`](crate::Layered) one and a [`Dispatch`](crate::Dispatch)
//!   are always ready, and a layer around all of them, such as `load_shed` on a server, does not see
//!   limits inside.
//!
//! # How a call ends
//!
//! A layer around a served service sees the end of each call, and of its stream of replies, in the result
//! of the service inside of it:
//!
//! | the call | the layer sees |
//! |---|---|
//! | ends, or fails | the response, or the status |
//! | panics, in the handler, the codec, or a layer inside | `Internal`; see [`PanicGuard`] |
//! | passes its deadline | `DeadlineExceeded`: its future is polled once more, and then dropped |
//! | is cancelled by its caller, or its connection is lost | a drop of its future, or of its stream |
//!
//! A caller whose call has passed its deadline cancels it. So a cancel that comes less than 10 ms before
//! the deadline counts as the deadline. If the service inside of a layer has ended and the layer does not
//! end, the layer is dropped.
//!
//! # Errors
//!
//! Errors of layers become statuses as [`Status::from_error`](crate::Status::from_error) describes: a
//! status stays unchanged, tower's `timeout`, `load_shed` and `buffer` have codes of their own, and all
//! other errors are `Internal`.

mod authorize;
mod blocking;
mod in_flight;
mod intercept;
mod max_time;
mod panic_guard;
mod refusable;
mod request_bytes;

pub use crate::layer::{
    authorize::{Authorize, AuthorizeLayer, AuthorizeService, Permissions, authorize},
    blocking::{BlockingLayer, BlockingService},
    in_flight::{InFlight, InFlightFuture, InFlightLayer},
    intercept::{Intercept, InterceptFuture, InterceptLayer, InterceptService, Next, intercept},
    max_time::{MaxTime, MaxTimeFuture, MaxTimeLayer},
    panic_guard::{PanicGuard, PanicGuardLayer},
    refusable::RefusableFuture,
    request_bytes::{RequestBytes, RequestBytesLayer},
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

    /// Polls a future that need not be pinned.
    pub(super) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// The status in the boxed error of a layer.
    pub(super) fn status_of(result: Result<Response, BoxError>) -> Status {
        let error = result.expect_err("the call fails");
        *error.downcast().expect("it fails with a status")
    }
}
