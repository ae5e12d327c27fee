//! The end of a call for its observers: when its response has come, or its stream of replies has ended.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use wawo_protocol::Code;

use crate::{
    body::{Body, CountedStream, MessageCounter},
    clock,
    observe::{CallOutcome, Measure, OpenRecord},
    response::Response,
    status::{Result, Status},
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
            record.begin_replies();
            CountedStream::streaming(replies, RecordEnd(Some(record)))
        })
    })
}

/// Counts a stream of replies in the record of its call, and ends the record with the stream.
struct RecordEnd(Option<OpenRecord>);

impl MessageCounter for RecordEnd {
    fn count(&mut self, messages: usize, bytes: usize) {
        if let Some(record) = &mut self.0 {
            record.add_replies(messages, bytes);
        }
    }

    fn end(&mut self, status: Option<&Status>) {
        if let Some(mut record) = self.0.take() {
            record.end(&status.map_or(CallOutcome::OK, CallOutcome::failed));
        }
    }
}
