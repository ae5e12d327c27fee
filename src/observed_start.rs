//! Begins the calls that are observed and that no driver serves: on the client where they are made, and on the
//! server if they come without a connection.

use std::{mem, sync::Arc};

use crate::{
    body::{Body, CountedStream, MessageCounter, Streaming},
    call_side::CallSide,
    clock,
    metrics::Series,
    observe::{
        CallFacts, CallRecord, FarEnd, MessageFigures, Observers, OpenRecord, RequestCount,
        RetryCount,
    },
    request::{Request, StreamDeadline},
    response_future::ResponseFuture,
};

/// Begins a call that is observed: on the server, or on the client where it is made.
pub(crate) fn observe(
    side: CallSide,
    observers: &Arc<Observers>,
    far_end: &Arc<FarEnd>,
    request: Request,
    begin: impl FnOnce(Request) -> ResponseFuture,
) -> ResponseFuture {
    let descriptor = request.descriptor();
    let series = observers.series(side, far_end.protocol, descriptor);
    let mut record = record_of(side, series, &request);
    if observers.has_hooks() {
        let facts = CallFacts {
            descriptor,
            far_end,
            identity: None,
        };
        if side == CallSide::Server {
            record.keep_identity(request.head().any_identity());
        }
        observers.began(&mut record, facts, request.metadata());
    }
    observe_begun(observers, far_end, record, request, begin)
}

/// Begins a call whose observers have seen the begin.
pub(crate) fn observe_begun(
    observers: &Arc<Observers>,
    far_end: &Arc<FarEnd>,
    mut record: CallRecord,
    mut request: Request,
    begin: impl FnOnce(Request) -> ResponseFuture,
) -> ResponseFuture {
    let side = record.side();
    if side == CallSide::Client {
        observers.inject(&mut record, request.metadata_mut());
    }
    let descriptor = request.descriptor().cloned();
    let descriptor = descriptor.as_ref();
    let mut record = OpenRecord::new(observers, record, far_end, descriptor);
    if let Some(retries) = request.extensions().get::<RetryCount>() {
        record.set_retries(retries.clone());
    }
    if side == CallSide::Server
        && let Some(StreamDeadline(deadline)) = request.extensions().get()
    {
        record.set_stream_deadline(*deadline);
    }
    if let Body::Many(requests) = request.body_mut() {
        let inner = mem::replace(requests, Streaming::empty());
        *requests = CountedStream::streaming(inner, record.count_requests());
    }
    let span = record.span().filter(|_| side == CallSide::Server).cloned();
    let reply = match span {
        None => begin(request),
        Some(span) => begin(request).in_span(&span),
    };
    reply.observed(record)
}

/// The record of a call that begins now.
fn record_of(side: CallSide, series: Series, request: &Request) -> CallRecord {
    let (head, now) = (request.head(), clock::now());
    let requests = match request.body() {
        Body::One(message) => MessageFigures::of_one(message.len()),
        Body::Many(_) => MessageFigures::default(),
    };
    let record = CallRecord::new(side, head.ids(), series, now, now);
    let mut record = record.with_request(request.is_one_way(), head.deadline, requests);
    record.call_depth = head.call_depth;
    record
}

impl MessageCounter for Arc<RequestCount> {
    fn count(&mut self, messages: usize, bytes: usize) {
        self.add(messages, bytes);
    }
}
