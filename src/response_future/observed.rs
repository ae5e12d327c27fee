//! The end of a call for its observers: when its response has come, or its stream of replies has ended.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use wawo_protocol::{Code, Metadata, packet::BatchBuilder};

use crate::{
    body::{Body, Items, Streaming},
    call_side::CallSide,
    clock,
    metrics::Series,
    observe::{
        CallFacts, CallOutcome, CallRecord, FarEnd, Measure, MessageCount, MessageFigures,
        Observers, OpenRecord, RetryCount,
    },
    request::Request,
    response::Response,
    response_future::ResponseFuture,
    status::Result,
};

/// Begins a call that is observed: on the server, or on the client where it is made.
pub(crate) fn observe(
    side: CallSide,
    observers: &Arc<Observers>,
    far_end: &Arc<FarEnd>,
    mut request: Request,
    begin: impl FnOnce(Request) -> ResponseFuture,
) -> ResponseFuture {
    let descriptor = request.descriptor().cloned();
    let descriptor = descriptor.as_ref();
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
        if side == CallSide::Client {
            observers.inject(&mut record, request.metadata_mut());
        }
    }
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

/// A response whose call is observed.
pub(super) struct ObservedFuture {
    // The first field: what it waits for is dropped before the call counts as ended.
    reply: ResponseFuture,
    /// `None` once the response has come.
    record: Option<OpenRecord>,
}

impl ObservedFuture {
    pub(super) fn new(reply: ResponseFuture, record: OpenRecord) -> Self {
        let record = Some(record);
        Self { reply, record }
    }

    pub(super) fn reply(&self) -> &ResponseFuture {
        &self.reply
    }

    #[inline(never)]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response>> {
        let polled = Pin::new(&mut self.reply).poll(cx);
        if polled.is_pending() {
            return polled;
        }
        match self.record.take() {
            Some(record) => polled.map(|result| ended(result, record)),
            None => polled,
        }
    }
}

/// Ends a measure with the response; returns it if the stream of replies goes on with it.
#[inline]
pub(super) fn end_measure(result: &Result<Response>, measure: Measure) -> Option<Measure> {
    let (code, reply) = match result {
        Err(status) => (status.code(), None),
        Ok(response) => match response.body() {
            Body::One(message) => (Code::Ok, Some(message.len())),
            Body::Many(_) => return Some(measure),
        },
    };
    measure.end(code, reply, clock::now());
    None
}

/// Ends a record with the response, or lets it go on with the stream of replies.
pub(super) fn ended(result: Result<Response>, mut record: OpenRecord) -> Result<Response> {
    match &result {
        Err(status) => record.end(&CallOutcome::failed(status)),
        Ok(response) => {
            if let Body::One(message) = response.body() {
                record.replied(message.len());
            }
        }
    }
    result.map(|response| {
        response.map_stream(|replies| {
            let record = Some(record);
            Streaming::of_items(ObservedReplies { replies, record })
        })
    })
}

/// A stream of replies whose call is observed.
struct ObservedReplies {
    // The first field, as above.
    replies: Streaming<Bytes>,
    /// `None` once the stream has ended.
    record: Option<OpenRecord>,
}

impl ObservedReplies {
    fn count(&mut self, messages: usize, bytes: usize) {
        if let Some(record) = self.record.as_mut().filter(|_| messages > 0) {
            record.add_replies(messages, bytes);
        }
    }

    fn end(&mut self, outcome: &CallOutcome<'_>) {
        if let Some(mut record) = self.record.take() {
            record.end(outcome);
        }
    }
}

impl Items<Bytes> for ObservedReplies {
    fn poll_item(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<Bytes>,
    ) -> Poll<Option<Result<Bytes>>> {
        let polled = Pin::new(&mut self.replies).poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(message))) => self.count(1, message.len()),
            Poll::Ready(Some(Err(status))) => self.end(&CallOutcome::failed(status)),
            Poll::Ready(None) => self.end(&CallOutcome::OK),
            Poll::Pending => {}
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
        let polled = self.replies.fill_batch(cx, packets);
        self.count(
            packets.messages() - messages,
            packets.message_bytes() - bytes,
        );
        match &polled {
            Poll::Ready(Some(Ok(()))) => self.end(&CallOutcome::OK),
            Poll::Ready(Some(Err(status))) => self.end(&CallOutcome::failed(status)),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn take_trailing_metadata(mut self: Pin<&mut Self>) -> Metadata {
        self.replies.take_trailing_metadata()
    }
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
