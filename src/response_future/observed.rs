//! The end of a call for its observers: when its response has come, or its stream of replies has ended.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use wawo_protocol::{Code, Metadata, packet::BatchBuilder};

use crate::{
    body::{Body, Items, Streaming},
    clock,
    observe::{CallOutcome, Measure, OpenRecord},
    response::Response,
    status::Result,
};

/// A response whose call is observed.
pub(super) struct ObservedFuture<F> {
    // The first field: what it waits for is dropped before the call counts as ended.
    reply: F,
    /// `None` once the response has come.
    record: Option<OpenRecord>,
}

impl<F: Future<Output = Result<Response>> + Unpin> ObservedFuture<F> {
    pub(super) fn new(reply: F, record: OpenRecord) -> Self {
        let record = Some(record);
        Self { reply, record }
    }

    pub(super) fn reply(&self) -> &F {
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

/// Ends a measure with the response, or lets a record go on with the stream of replies.
pub(super) fn measured(result: Result<Response>, measure: Measure) -> Result<Response> {
    let (code, reply) = match &result {
        Err(status) => (status.code(), None),
        Ok(response) => match response.body() {
            Body::One(message) => (Code::Ok, Some(message.len())),
            Body::Many(_) => return ended(result, measure.into_record()),
        },
    };
    measure.end(code, reply, clock::now());
    result
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
