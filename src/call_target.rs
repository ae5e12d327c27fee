//! Call targets: the peers, channels and services over which a stub makes its calls.

use std::sync::Arc;

use wawo_protocol::MessageBytes;

use crate::{
    body::Body,
    decoding::DEFAULT_MAX_BYTES,
    descriptor::{MethodDescriptor, ServiceDescriptor},
    request::Request,
    response_future::ResponseFuture,
    transport::Address,
};

/// Carries calls: a [`Peer`](crate::Peer), a [`Channel`](crate::Channel), or a service in the
/// same process, [`InProcess`](crate::InProcess). A generated client is made over one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot carry calls",
    label = "expected a `Peer`, `Channel` or `InProcess`"
)]
pub trait CallTarget {
    /// [`TwoWay`] if calls can get replies, [`OneWayOnly`] if messages only go out.
    type Ability;

    /// The handle that the stub keeps.
    fn handle(&self) -> Arc<dyn Start>;
}

/// Starts calls: the object behind a [`CallTarget`], which stubs share. A medium of its own implements it to
/// carry calls.
pub trait Start: Send + Sync + 'static {
    /// Starts a call. The future fails no later than the request's deadline, or, if none is set, the
    /// default that the carrier has for calls of this shape.
    fn start(self: Arc<Self>, request: Request) -> ResponseFuture;

    /// Starts a call with nothing but a message, as most calls are. It does the same as
    /// [`start`](Self::start) without metadata and deadline, and is cheaper where no request is needed
    /// for it.
    fn start_plain(
        self: Arc<Self>,
        method: &MethodDescriptor,
        message: MessageBytes,
    ) -> ResponseFuture {
        self.start(Request::new(method, Body::One(message)))
    }

    /// Records that a stub of this service calls over this. If the other side announced another schema of
    /// the service, the difference can be reported. It never refuses a call. Does nothing by default.
    fn expect(self: Arc<Self>, service: &ServiceDescriptor) {
        let _ = service;
    }

    /// The address that calls go to, if there is one; a status names it. `None` by default.
    fn address(&self) -> Option<&Address> {
        None
    }

    /// How many bytes a decoded reply may take, at most; a call with a larger one fails. Default 64 MiB.
    fn max_decoded_bytes(&self) -> usize {
        DEFAULT_MAX_BYTES
    }
}

/// The handle by which a stub of a service starts its calls.
pub fn start<A>(
    over: &impl CallTarget<Ability = A>,
    service: &ServiceDescriptor,
) -> Arc<dyn Start> {
    let start = over.handle();
    start.clone().expect(service);
    start
}

/// The ability of callers whose messages get no replies.
#[derive(Debug)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a type without values, used as a mark"
)]
pub enum OneWayOnly {}

/// The ability of callers whose calls get replies.
#[derive(Debug)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a type without values, used as a mark"
)]
pub enum TwoWay {}

/// Abilities with which a call returns a reply.
#[diagnostic::on_unimplemented(
    message = "this caller gets no replies: it carries one-way messages only",
    label = "this method returns a reply",
    note = "call a single peer, or declare the method with `option (wawo.method).one_way = true`"
)]
pub trait ReplyAbility: sealed::Sealed {}

impl ReplyAbility for TwoWay {}

mod sealed {
    /// Only wawo's own types are abilities.
    #[allow(unnameable_types, reason = "that is what seals the trait")]
    pub trait Sealed {}

    impl Sealed for super::TwoWay {}
}
