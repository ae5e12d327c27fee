//! Starts the calls to a peer that are observed.

use std::sync::Arc;

use wawo_protocol::{MessageBytes, Metadata};

use crate::{
    body::Body,
    call_side::CallSide,
    call_target::Start,
    clock,
    descriptor::{MethodDescriptor, MethodIds, Shape},
    metrics::Series,
    observe::{CallFacts, CallRecord, FarEnd, Measure, MessageFigures, Observers, RetryCount},
    observed_start::{observe, observe_begun},
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

    /// Starts a call with nothing but a message that is observed. Most have only metrics, and need no request.
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
        let may_be_made_again = matches!(self.link(), Link::Redial(_));
        if may_be_made_again || observers.needs_end(false) {
            return self.start(Request::new(method, Body::One(message)));
        }
        let series = observers.series(CallSide::Client, far_end.protocol, Some(method));
        if observers.may_have_spans() {
            let record = begin_plain(observers, far_end, series, method, message.len());
            if record.span().is_some() {
                let (request, peer) = (Request::new(method, Body::One(message)), self.clone());
                return observe_begun(observers, far_end, record, request, |request| {
                    peer.begin(request)
                });
            }
        }
        let measure = Measure::begin(observers, series, message.len());
        let reply = self.begin_plain(method, message);
        match method.shape() {
            Shape::OneWay => reply.sent(measure),
            _ => reply.measured(measure),
        }
    }
}

/// Begins the record of a call with nothing but a message of this length.
fn begin_plain(
    observers: &Observers,
    far_end: &FarEnd,
    series: Series,
    method: &MethodDescriptor,
    bytes: usize,
) -> CallRecord {
    let ids = MethodIds {
        service: method.service(),
        method: method.id(),
    };
    let (side, now) = (CallSide::Client, clock::now());
    let (one_way, request) = (
        method.shape() == Shape::OneWay,
        MessageFigures::of_one(bytes),
    );
    let record = CallRecord::new(side, ids, series, now, now);
    let mut record = record.with_request(one_way, None, request);
    let facts = CallFacts {
        descriptor: Some(method),
        far_end,
        identity: None,
    };
    observers.began(&mut record, facts, &Metadata::new());
    record
}
