//! Carries the messages of streams between inboxes, outboxes and the protocol, for calls of both sides.

use std::sync::Arc;

use bytes::Bytes;
use wawo_protocol::{
    CallId, Code, Metadata,
    packet::{Batch, End},
};

use crate::{
    body::MessageBatch,
    connection::{
        driver::Driver,
        inbox::{Inbox, ReadCount, SMALL_BYTES},
        outbox::{Outbox, cost},
        stream_task::StreamTask,
    },
    observe::CallOutcome,
    status::{Result, Status},
};

impl Driver {
    /// Puts a message that has come into the inbox of its stream, with those of the same stream that came
    /// right after it.
    pub(super) fn received(&mut self, call: CallId, message: Bytes) {
        let bytes = message.len();
        let message = match bytes < SMALL_BYTES {
            // The inbox copies a short message, so it need not be copied here too.
            true => message,
            false => self.input.kept(message),
        };
        let inbox = match self.is_ours(call) {
            true => self.replies_of(call).cloned(),
            false => self.incoming.open_requests(call).cloned(),
        };
        let Some(inbox) = inbox else {
            // The handler has dropped its requests and still works. The credit is returned, so that the
            // caller may go on sending.
            return self.connection.consume(call, 1, bytes);
        };
        let more = self.connection.poll_batch(call, &mut self.input.bytes);
        self.observe_requests(call, bytes, more.as_ref());
        self.wakers.extend(inbox.push(MessageBatch::One(message)));
        if let Some(messages) = more {
            self.wakers.extend(inbox.push(MessageBatch::Many(messages)));
        }
    }

    /// Counts requests of a stream, if the connection is observed.
    fn observe_requests(&mut self, call: CallId, first: usize, more: Option<&Batch>) {
        if let Some(observation) = self
            .observation
            .as_mut()
            .filter(|_| !self.handle.is_ours(call))
        {
            let bytes = more.map_or(0, Batch::message_bytes);
            observation.add_requests(call, 1 + more.map_or(0, Batch::len), first + bytes);
        }
    }

    /// Records that the caller sends no more requests.
    pub(super) fn requests_finished(&mut self, call: CallId) {
        if let Some(requests) = self.incoming.finish_requests(call) {
            self.wakers.extend(requests.end(Ok(Metadata::new())));
        }
    }

    pub(super) fn consumed(&mut self, inbox: &Arc<Inbox>, read: ReadCount) {
        if self.is_current(inbox) {
            let ReadCount { messages, bytes } = read;
            self.connection.consume(inbox.call(), messages, bytes);
        }
    }

    /// Acts on a stream that is no longer read. A call of this side is cancelled. Requests of a call of
    /// the other side are thrown away, as the handler may still reply.
    pub(super) fn stop_reading(&mut self, inbox: &Arc<Inbox>) {
        let call = inbox.call();
        if self.is_ours(call) {
            return self.cancel_replies(inbox);
        }
        if self.is_current(inbox) {
            self.incoming.drop_requests(call);
            // The number of unread messages is not known here, so all of the stream's credit is returned.
            self.connection.consume(call, usize::MAX, usize::MAX);
        }
    }

    fn is_current(&mut self, inbox: &Arc<Inbox>) -> bool {
        let call = inbox.call();
        let current = match self.is_ours(call) {
            true => self.replies_of(call),
            false => self.incoming.requests(call),
        };
        current.is_some_and(|current| Arc::ptr_eq(current, inbox))
    }

    /// Sends the next messages of a stream of this side.
    pub(super) fn send_messages(&mut self, outbox: &Arc<Outbox>, messages: Batch) {
        let call = outbox.call();
        if !self.is_current_outbox(outbox) {
            return;
        }
        let sent = (messages.len(), messages.message_bytes());
        let all = cost(sent.0, sent.1);
        match self.connection.send_batch(call, messages) {
            Ok(left) => {
                if let Some(observation) = &mut self.observation {
                    observation.add_replies(call, sent.0, sent.1);
                }
                let left = cost(left.messages, left.bytes);
                self.wakers.extend(outbox.handled(left, all - left));
            }
            Err(refusal) => {
                if self.is_ours(call) {
                    self.handle.report_refusal(&refusal);
                }
                self.end_stream(call, Err(Status::from_refused_message(&refusal)));
            }
        }
    }

    pub(super) fn finish_stream(&mut self, outbox: &Arc<Outbox>, result: Result<Metadata>) {
        if self.is_current_outbox(outbox) {
            self.end_stream(outbox.call(), result);
        }
    }

    fn end_stream(&mut self, call: CallId, result: Result<Metadata>) {
        if self.is_ours(call) {
            return self.requests_ended(call, result.map(drop));
        }
        match result {
            Ok(metadata) => {
                self.incoming.remove(call);
                let end = End {
                    call,
                    code: Code::Ok,
                    refused: false,
                    metadata,
                    text: String::new(),
                    details: Bytes::new(),
                };
                self.connection.end(end);
                if let Some(observation) = &mut self.observation {
                    observation.end(call, &CallOutcome::OK);
                }
            }
            Err(status) => {
                if let Some(ids) = self.incoming.method(call) {
                    self.end_call(call, ids, &status);
                }
            }
        }
    }

    /// Unblocks a stream whose messages waited for credit and have all left.
    pub(super) fn writable(&mut self, call: CallId) {
        let sending = self.stream_task(call);
        let waker = sending.and_then(|sending| sending.outbox.unblock());
        self.wakers.extend(waker);
    }

    fn is_current_outbox(&mut self, outbox: &Arc<Outbox>) -> bool {
        let sending = self.stream_task(outbox.call());
        sending.is_some_and(|sending| Arc::ptr_eq(&sending.outbox, outbox))
    }

    fn stream_task(&mut self, call: CallId) -> Option<&StreamTask> {
        match self.is_ours(call) {
            true => self.requests_of(call),
            false => self.incoming.replies(call),
        }
    }

    fn is_ours(&self, call: CallId) -> bool {
        self.handle.is_ours(call)
    }
}
