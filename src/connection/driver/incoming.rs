//! The calls that the other side starts: a driver serves them, and ends their work.

use std::{
    sync::Arc,
    task::{Context, Waker},
    time::Instant,
};

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use wawo_protocol::{CallId, ConnectionError, InboundCall, packet::End};

use crate::{
    backstop::Timer,
    body::{Body, MessageBatch},
    connection::{
        driver::Driver,
        inbox::Inbox,
        mailbox::{Command, HandlerId},
        reader::InboxReader,
        stream_task::StreamTask,
    },
    descriptor::MethodIds,
    request::{Caller, Request, StreamDeadline},
    response::Response,
    serve::inbound::{ExpiringStream, InboundFuture, Outcome, Served},
    status::{Delivery, Result, Status},
};

/// The calls of the other side that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct IncomingCalls {
    /// By the index of the call.
    calls: Vec<Option<IncomingCall>>,
    /// The number of the last call. Each has one, so that a handler that ends late is not taken for
    /// that of another call with the same id.
    serial: u64,
    /// How many one-way messages are being handled.
    one_way_messages: usize,
    /// Ends one-way messages without a deadline when the connection ends. It keeps nothing of those
    /// that are over.
    end_of_one_way: Option<CancellationToken>,
}

/// A call that is being answered. Dropping it ends the work on it, also that of a task which still
/// reads requests.
#[derive(Debug)]
pub(super) struct IncomingCall {
    serial: u64,
    /// The method that is called, for the log.
    ids: MethodIds,
    handler: Option<AbortHandle>,
    requests: Option<Arc<Inbox>>,
    /// Requests of which no more come. Reads of them are still counted.
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

    pub(super) fn remove(&mut self, call: CallId) -> Option<IncomingCall> {
        self.calls.get_mut(call.index())?.take()
    }

    /// The method of a call, for the log.
    pub(super) fn method(&mut self, call: CallId) -> Option<MethodIds> {
        self.call_mut(call).map(|running| running.ids)
    }

    /// The inbox of a call whose requests still come.
    pub(super) fn open_requests(&mut self, call: CallId) -> Option<&Arc<Inbox>> {
        self.call_mut(call)?.requests.as_ref()
    }

    /// The inbox of a call whose requests are read, whether more come or not.
    pub(super) fn requests(&mut self, call: CallId) -> Option<&Arc<Inbox>> {
        let running = self.call_mut(call)?;
        running.requests.as_ref().or(running.finished.as_ref())
    }

    /// No more requests come; returns their inbox.
    pub(super) fn finish_requests(&mut self, call: CallId) -> Option<Arc<Inbox>> {
        let running = self.call_mut(call)?;
        running.finished = Some(running.requests.take()?);
        running.finished.clone()
    }

    /// The requests of a call are no longer read.
    pub(super) fn drop_requests(&mut self, call: CallId) {
        if let Some(running) = self.call_mut(call) {
            running.requests = None;
            running.finished = None;
        }
    }

    /// The stream of replies of a call.
    pub(super) fn replies(&mut self, call: CallId) -> Option<&StreamTask> {
        self.call_mut(call)?.replies.as_ref()
    }

    /// How many one-way messages are being handled.
    pub(super) fn one_way_messages(&self) -> usize {
        self.one_way_messages
    }

    /// The connection is over: handlers are dropped, and those that read requests in tasks of
    /// their own hear of it.
    pub(super) fn end(&mut self, error: &ConnectionError, wakers: &mut Vec<Waker>) {
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
    pub(super) fn serve(&mut self, cx: &mut Context<'_>, called: InboundCall) {
        let Some(peer) = self.peer.upgrade() else {
            // The last peer was dropped: the connection is about to be closed.
            return;
        };
        let (call, cost, deadline) = (called.call, called.cost, called.deadline);
        let ids = MethodIds {
            service: called.service,
            method: called.method,
        };
        let request = self.request(called, peer);
        match (call, self.inbound.serve(cx, request)) {
            (Some(call), Served::Ended(result)) => self.respond(call, ids, result),
            (Some(call), Served::Waits(reply)) => self.spawn(call, ids, reply),
            (None, Served::Waits(reply)) => self.spawn_one_way(ids, reply, cost, deadline),
            (None, Served::Ended(result)) => {
                if let Err(status) = result {
                    self.handle.log_one_way(ids, &status);
                }
                self.connection.one_way_served(cost);
            }
        }
    }

    fn request(&mut self, called: InboundCall, peer: Arc<dyn Caller>) -> Request {
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
                let handle = self.handle.clone();
                Body::Many(InboxReader::stream(requests, handle, peer.clone()))
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
        // Its caller has given it all the time that it has. Sent on, it gets no default.
        head.takes_default = false;
        head.metadata = called.metadata;
        head.caller = Some(peer);
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
        let handle = self.handle.clone();
        let task = tokio::spawn(async move {
            let result = reply.await;
            handle.mailbox().push_end(Command::HandlerEnd(id, result));
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
        let handle = self.handle.clone();
        let served = move |result| {
            // There is nobody to be told of a status.
            if let Err(status) = result {
                handle.log_one_way(ids, &status);
            }
            handle.mailbox().push_end(Command::OneWayHandled(cost));
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
    pub(super) fn one_way_handled(&mut self, cost: u64) {
        self.incoming.one_way_messages -= 1;
        self.connection.one_way_served(cost);
    }

    /// A handler that was spawned has ended.
    pub(super) fn handler_ended(&mut self, handler: HandlerId, result: Result<Response>) {
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
                running.replies = Some(StreamTask::new(call, replies, self.handle.clone()));
            }
            Err(status) => self.end_call(call, ids, &status),
        }
    }

    pub(super) fn end_call(&mut self, call: CallId, ids: MethodIds, status: &Status) {
        self.handle.log(ids, status);
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
    pub(super) fn stop_handler(&mut self, call: CallId) {
        if let Some(running) = self.incoming.remove(call)
            && let Some(requests) = &running.requests
        {
            let status = Status::cancelled("the call was given up");
            self.wakers.extend(requests.cancel(status));
        }
    }
}
