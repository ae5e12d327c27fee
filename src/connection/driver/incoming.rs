//! The calls that the other side starts, in the driver of this side.

use std::{
    sync::Arc,
    task::{Context, Waker},
    time::Instant,
};

use bytes::Bytes;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use wawo_protocol::{
    CallId, Code, ConnectionError, InboundCall, Metadata,
    packet::{Batch, End},
};

use crate::{
    backstop::Timer,
    body::{Body, MessageBatch},
    connection::{
        driver::Driver,
        driver::outgoing::StreamTask,
        mailbox::{Command, HandlerId},
        stream::{self, Inbox, Outbox, ReadCount, SMALL_BYTES},
    },
    descriptor::MethodIds,
    peer::Handle,
    request::{Request, StreamDeadline},
    response::Response,
    serve::inbound::{ExpiringStream, InboundFuture, Outcome, Served},
    status::{Delivery, Result, Status},
};

/// The calls of the other side that are not answered yet.
#[derive(Debug, Default)]
pub(crate) struct IncomingCalls {
    /// By the index of the call.
    calls: Vec<Option<IncomingCall>>,
    /// Given to each, so that what comes late is not taken for another call with the same id.
    serial: u64,
    /// How many one-way messages are being handled.
    one_way_messages: usize,
    /// Ends those of them without a deadline, with the connection. Nothing is kept of those that are
    /// over.
    end_of_one_way: Option<CancellationToken>,
}

/// A call that is being answered. Dropping it ends the work on it, also that of a task which still
/// reads requests.
#[derive(Debug)]
struct IncomingCall {
    serial: u64,
    /// The method that is called, for the log.
    ids: MethodIds,
    handler: Option<AbortHandle>,
    requests: Option<Arc<Inbox>>,
    /// Requests of which no more come: what is read of them is still counted.
    finished: Option<Arc<Inbox>>,
    replies: Option<StreamTask>,
}

impl Drop for IncomingCall {
    fn drop(&mut self) {
        if let Some(handler) = self.handler.take() {
            handler.abort();
        }
        if let Some(requests) = self.requests.take() {
            let reader = requests.cancel(Status::cancelled("the call is over"));
            reader.into_iter().for_each(Waker::wake);
        }
    }
}

impl IncomingCalls {
    fn begin(&mut self, call: CallId, ids: MethodIds) -> &mut IncomingCall {
        self.serial += 1;
        let index = call.index();
        if index >= self.calls.len() {
            self.calls.resize_with(index + 1, || None);
        }
        self.calls[index].insert(IncomingCall {
            serial: self.serial,
            ids,
            handler: None,
            requests: None,
            finished: None,
            replies: None,
        })
    }

    fn call_mut(&mut self, call: CallId) -> Option<&mut IncomingCall> {
        self.calls.get_mut(call.index())?.as_mut()
    }

    fn remove(&mut self, call: CallId) -> Option<IncomingCall> {
        self.calls.get_mut(call.index())?.take()
    }

    /// How many one-way messages are being handled.
    pub(crate) fn one_way_messages(&self) -> usize {
        self.one_way_messages
    }

    /// The connection is over: handlers are dropped, and those that read requests in tasks of
    /// their own hear of it.
    pub(crate) fn end(&mut self, error: &ConnectionError, wakers: &mut Vec<Waker>) {
        if let Some(end) = self.end_of_one_way.take() {
            end.cancel();
        }
        for running in std::mem::take(&mut self.calls).into_iter().flatten() {
            if let Some(requests) = &running.requests {
                let status = Status::unavailable(format!("no more requests: {error}"));
                let status = status.with_delivery(Delivery::Unknown);
                wakers.extend(requests.cancel(status));
            }
        }
    }
}

impl Driver {
    /// Serves a call: its handler is polled once here, and becomes a task only if it waits. The message
    /// of the call may be kept for long.
    pub(crate) fn serve(&mut self, cx: &mut Context<'_>, called: InboundCall) {
        let Some(handle) = self.handle.upgrade() else {
            // The last peer was dropped: the connection is about to be closed.
            return;
        };
        let (call, cost, deadline) = (called.call, called.cost, called.deadline);
        let ids = MethodIds {
            service: called.service,
            method: called.method,
        };
        let request = self.request(called, handle);
        match (call, self.inbound.serve(cx, request)) {
            (Some(call), Served::Ended(result)) => self.respond(call, ids, result),
            (Some(call), Served::Waits(reply)) => self.spawn(call, ids, reply),
            (None, Served::Waits(reply)) => self.spawn_one_way(ids, reply, cost, deadline),
            (None, Served::Ended(result)) => {
                if let Err(status) = result {
                    self.shared.log_one_way(ids, &status);
                }
                self.connection.one_way_served(cost);
            }
        }
    }

    fn request(&mut self, called: InboundCall, handle: Arc<Handle>) -> Request {
        let body = match (called.call, called.message, called.end) {
            (_, Some(message), true) => Body::One(message.into()),
            (None, message, _) => Body::One(message.unwrap_or_default().into()),
            (Some(call), message, _) => {
                let ids = MethodIds {
                    service: called.service,
                    method: called.method,
                };
                let requests = Inbox::new(call, self.credit);
                if let Some(message) = message {
                    requests.push(MessageBatch::One(message));
                }
                self.incoming.begin(call, ids).requests = Some(requests.clone());
                Body::Many(requests.reader(handle.clone()))
            }
        };
        let one_way = called.call.is_none();
        let mut request = Request::by_id(called.service, called.method, one_way, body);
        let head = request.head_mut();
        head.deadline = called.deadline;
        if let (true, Some(call)) = (self.has_stream_time, called.call) {
            let deadline = self.connection.stream_deadline(call);
            head.extensions.insert(StreamDeadline(deadline));
        }
        head.metadata = called.metadata;
        head.caller = Some(handle.as_caller());
        request
    }

    fn spawn(&mut self, call: CallId, ids: MethodIds, reply: InboundFuture) {
        let running = match self.incoming.call_mut(call) {
            Some(running) => running,
            None => self.incoming.begin(call, ids),
        };
        let id = HandlerId {
            call,
            serial: running.serial,
        };
        let shared = self.shared.clone();
        let task = tokio::spawn(async move {
            let result = reply.await;
            shared.mailbox.push_end(Command::HandlerEnd(id, result));
        });
        running.handler = Some(task.abort_handle());
    }

    fn spawn_one_way(
        &mut self,
        ids: MethodIds,
        reply: InboundFuture,
        cost: u64,
        deadline: Option<Instant>,
    ) {
        self.incoming.one_way_messages += 1;
        let shared = self.shared.clone();
        let served = move |result| {
            // There is nobody to be told of a status.
            if let Err(status) = result {
                shared.log_one_way(ids, &status);
            }
            shared.mailbox.push_end(Command::OneWayHandled(cost));
        };
        let Some(deadline) = deadline else {
            let end = self.incoming.end_of_one_way.get_or_insert_default().clone();
            tokio::spawn(end.run_until_cancelled_owned(async move {
                served(reply.await);
            }));
            return;
        };
        // It runs to its end even if the connection does not: its sender has no part in it.
        tokio::spawn(async move {
            let (Outcome::Ended(result) | Outcome::Expired(result)) =
                reply.until(deadline, Timer::new).await;
            served(result);
        });
    }

    /// A one-way message that waited has been handled.
    pub(crate) fn one_way_handled(&mut self, cost: u64) {
        self.incoming.one_way_messages -= 1;
        self.connection.one_way_served(cost);
    }

    /// A handler that was spawned has ended.
    pub(crate) fn handler_ended(&mut self, handler: HandlerId, result: Result<Response>) {
        if let Some(running) = self.incoming.call_mut(handler.call)
            && running.serial == handler.serial
        {
            let ids = running.ids;
            self.respond(handler.call, ids, result);
        }
    }

    fn respond(&mut self, call: CallId, ids: MethodIds, result: Result<Response>) {
        match result.map(Response::into_parts) {
            Ok((metadata, Body::One(message))) => {
                self.incoming.remove(call);
                self.connection.reply(call, metadata, message);
            }
            Ok((metadata, Body::Many(replies))) => {
                if !self.connection.open_reply(call, metadata) {
                    self.incoming.remove(call);
                    return;
                }
                let running = match self.incoming.call_mut(call) {
                    Some(running) => running,
                    None => self.incoming.begin(call, ids),
                };
                running.handler = None;
                let deadline = self.connection.stream_deadline(call);
                let replies = ExpiringStream::replies_of_connection(replies, deadline);
                running.replies = Some(StreamTask::new(call, replies, self.shared.clone()));
            }
            Err(status) => self.end_call(call, ids, &status),
        }
    }

    fn end_call(&mut self, call: CallId, ids: MethodIds, status: &Status) {
        self.shared.log(ids, status);
        self.incoming.remove(call);
        self.connection.end(End {
            call,
            code: status.code(),
            refused: status.is_refusal(),
            metadata: status.metadata().clone(),
            text: status.message().to_owned(),
            details: status.encoded_details(),
        });
    }

    /// The caller gave up, or the deadline passed: the work on the call ends.
    pub(crate) fn stop_handler(&mut self, call: CallId) {
        if let Some(running) = self.incoming.remove(call)
            && let Some(requests) = &running.requests
        {
            let status = Status::cancelled("the call was given up");
            self.wakers.extend(requests.cancel(status));
        }
    }

    /// A message of a stream has come; those of the same stream that come right after it are
    /// taken along.
    pub(crate) fn received(&mut self, call: CallId, message: Bytes) {
        let bytes = message.len();
        let message = match bytes < SMALL_BYTES {
            // An inbox copies such messages by itself.
            true => message,
            false => self.input.kept(message),
        };
        let inbox = match self.is_ours(call) {
            true => self.replies_of(call).cloned(),
            false => {
                let running = self.incoming.call_mut(call);
                running.and_then(|running| running.requests.clone())
            }
        };
        let Some(inbox) = inbox else {
            // The handler let its requests go, and still works: the caller may go on sending.
            return self.connection.consume(call, 1, bytes);
        };
        let more = self.connection.poll_batch(call, &mut self.input.bytes);
        self.wakers.extend(inbox.push(MessageBatch::One(message)));
        if let Some(messages) = more {
            self.wakers.extend(inbox.push(MessageBatch::Many(messages)));
        }
    }

    /// The caller sends no more requests.
    pub(crate) fn requests_finished(&mut self, call: CallId) {
        let running = self.incoming.call_mut(call);
        if let Some(running) = running
            && let Some(requests) = running.requests.take()
        {
            running.finished = Some(requests.clone());
            self.wakers.extend(requests.end(Ok(())));
        }
    }

    pub(crate) fn consumed(&mut self, inbox: &Arc<Inbox>, read: ReadCount) {
        if self.is_current(inbox) {
            let ReadCount { messages, bytes } = read;
            self.connection.consume(inbox.call(), messages, bytes);
        }
    }

    /// A stream is no longer read: our call is cancelled; requests to us are thrown away, for the
    /// handler may still answer.
    pub(crate) fn stop_reading(&mut self, inbox: &Arc<Inbox>) {
        let call = inbox.call();
        if self.is_ours(call) {
            return self.cancel_replies(inbox);
        }
        if self.is_current(inbox)
            && let Some(running) = self.incoming.call_mut(call)
        {
            running.requests = None;
            running.finished = None;
            // Nobody counts what was not read: all of it is granted again.
            self.connection.consume(call, usize::MAX, usize::MAX);
        }
    }

    fn is_current(&mut self, inbox: &Arc<Inbox>) -> bool {
        let call = inbox.call();
        let current = match self.is_ours(call) {
            true => self.replies_of(call),
            false => {
                let running = self.incoming.call_mut(call);
                running.and_then(|running| running.requests.as_ref().or(running.finished.as_ref()))
            }
        };
        current.is_some_and(|current| Arc::ptr_eq(current, inbox))
    }

    /// The next messages of a stream of ours.
    pub(crate) fn send_messages(&mut self, outbox: &Arc<Outbox>, messages: Batch) {
        let call = outbox.call();
        if !self.is_current_outbox(outbox) {
            return;
        }
        let all = stream::cost(messages.len(), messages.message_bytes());
        match self.connection.send_batch(call, messages) {
            Ok(left) => {
                let left = stream::cost(left.messages, left.bytes);
                self.wakers.extend(outbox.handled(left, all - left));
            }
            Err(reason) => {
                let text = format!("a message of the stream is too large: {reason}");
                let status = Status::resource_exhausted(text);
                self.end_stream(call, Err(status));
            }
        }
    }

    pub(crate) fn finish_stream(&mut self, outbox: &Arc<Outbox>, result: Result<()>) {
        if self.is_current_outbox(outbox) {
            self.end_stream(outbox.call(), result);
        }
    }

    fn end_stream(&mut self, call: CallId, result: Result<()>) {
        if self.is_ours(call) {
            return self.requests_ended(call, result);
        }
        match result {
            Ok(()) => {
                self.incoming.remove(call);
                let end = End {
                    call,
                    code: Code::Ok,
                    refused: false,
                    metadata: Metadata::new(),
                    text: String::new(),
                    details: Bytes::new(),
                };
                self.connection.end(end);
            }
            Err(status) => {
                if let Some(running) = self.incoming.call_mut(call) {
                    let ids = running.ids;
                    self.end_call(call, ids, &status);
                }
            }
        }
    }

    /// What waited for credit has left.
    pub(crate) fn writable(&mut self, call: CallId) {
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
            false => self.incoming.call_mut(call)?.replies.as_ref(),
        }
    }

    fn is_ours(&self, call: CallId) -> bool {
        call.side() == self.shared.side
    }
}
