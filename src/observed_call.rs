//! Begins the calls that are observed and that no driver serves: on the client where they are made, and on the
//! server if they come without a connection.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use wawo_protocol::{Metadata, packet::BatchBuilder};

use crate::{
    body::{Body, Items, Streaming},
    call_side::CallSide,
    clock,
    metrics::Series,
    observe::{
        CallFacts, CallRecord, FarEnd, MessageCount, MessageFigures, Observers, OpenRecord,
        RetryCount,
    },
    request::Request,
    response_future::ResponseFuture,
    status::Result,
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
    if let Body::Many(requests) = request.body_mut() {
        let (inner, count) = (
            std::mem::replace(requests, Streaming::empty()),
            record.count_requests(),
        );
        *requests = Streaming::of_items(CountedRequests {
            requests: inner,
            count,
        });
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

/// A stream of requests that counts its messages.
struct CountedRequests {
    requests: Streaming<Bytes>,
    count: Arc<MessageCount>,
}

impl Items<Bytes> for CountedRequests {
    fn poll_item(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<Bytes>,
    ) -> Poll<Option<Result<Bytes>>> {
        let polled = Pin::new(&mut self.requests).poll_next(cx);
        if let Poll::Ready(Some(Ok(message))) = &polled {
            self.count.add(1, message.len());
        }
        polled
    }

    fn fill_batch(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<Bytes>,
        packets: &mut BatchBuilder,
    ) -> Poll<Option<Result<()>>> {
        let (messages, bytes) = (packets.messages(), packets.message_bytes());
        let polled = self.requests.fill_batch(cx, packets);
        let sent = packets.messages() - messages;
        self.count.add(sent, packets.message_bytes() - bytes);
        polled
    }

    fn take_trailing_metadata(mut self: Pin<&mut Self>) -> Metadata {
        self.requests.take_trailing_metadata()
    }
}
