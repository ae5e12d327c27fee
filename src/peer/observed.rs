//! Starts the calls to a peer that are observed.

use std::sync::Arc;

use wawo_protocol::MessageBytes;

use crate::{
    body::Body,
    call_side::CallSide,
    call_target::Start,
    descriptor::{MethodDescriptor, Shape},
    observe::{Measure, RetryCount},
    observed_call::observe,
    peer::{handle::Handle, link::Link, observers::PeerObservers},
    request::Request,
    response_future::ResponseFuture,
};

impl Handle {
    /// Starts a call that is observed.
    // Out of line, so that calls which are not observed do not pay for it.
    #[inline(never)]
    pub(super) fn start_observed(
        self: Arc<Self>,
        observers: &PeerObservers,
        mut request: Request,
    ) -> ResponseFuture {
        if let Link::Redial(_) = self.link() {
            request.extensions_mut().insert(RetryCount::default());
        }
        let PeerObservers {
            observers, far_end, ..
        } = observers;
        observe(CallSide::Client, observers, far_end, request, |request| {
            self.begin(request)
        })
    }

    /// Starts a call with nothing but a message that is observed.
    #[inline(never)]
    pub(super) fn start_plain_observed(
        self: Arc<Self>,
        method: &MethodDescriptor,
        message: MessageBytes,
    ) -> ResponseFuture {
        let Some(PeerObservers {
            observers, far_end, ..
        }) = self.observers()
        else {
            return self.begin_plain(method, message);
        };
        if observers.has_hooks() {
            return self.start(Request::new(method, Body::One(message)));
        }
        let series = observers.series(CallSide::Client, far_end.protocol, Some(method));
        let measure = Measure::begin(observers, series, message.len());
        let reply = self.begin_plain(method, message);
        match method.shape() {
            Shape::OneWay => reply.sent(measure),
            _ => reply.measured(measure),
        }
    }
}
