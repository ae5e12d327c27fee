//! Serves the calls that the other side starts.

use std::{sync::Arc, task::Context, time::Instant};

use bytes::Bytes;
use wawo_protocol::{CallId, Code, InboundCall, packet::End};

use crate::{
    backstop::Timer,
    body::{Body, MessageBatch, Streaming},
    connection::{
        driver::Driver,
        inbox::Inbox,
        mailbox::{Command, HandlerId},
        reader::InboxReader,
        stream_task::StreamTask,
    },
    descriptor::{MethodIds, Shape},
    observe::CallOutcome,
    request::{Caller, ReceivedHead, Request, StreamDeadline},
    response::Response,
    serve::inbound::{ExpiringStream, FirstPoll, InboundFuture, Outcome},
    status::{Result, Status},
};

/// The text, for observers, of a call that this side has ended.
const STOPPED: &str = "the deadline of the call passed, or a limit has ended it";

impl Driver {
    /// Serves a call. Its handler is polled once here, and becomes a task only if it has to wait. The
    /// handler may keep the message of the call for long.
    pub(super) fn serve(&mut self, cx: &mut Context<'_>, called: InboundCall) {
        let Some(peer) = self.peer.upgrade() else {
            // The last handle of the peer was dropped, so the connection is about to be closed.
            return;
        };
        let (call, cost, deadline) = (called.call, called.cost, called.deadline);
        let ids = MethodIds {
            service: called.service,
            method: called.method,
        };
        let request = self.request(called, ids, peer);
        match (call, self.inbound.serve(cx, request)) {
            (Some(call), FirstPoll::Ended(result)) => self.respond(call, ids, result),
            (Some(call), FirstPoll::Waits(reply)) => self.spawn(call, ids, reply),
            (None, FirstPoll::Waits(reply)) => self.spawn_one_way(ids, reply, cost, deadline),
            (None, FirstPoll::Ended(result)) => {
                if let Err(status) = result {
                    self.fail_one_way(ids, &status);
                }
                self.connection.one_way_served(cost);
            }
        }
    }

    fn request(&mut self, called: InboundCall, ids: MethodIds, caller: Arc<dyn Caller>) -> Request {
        let (body, deadline) = match (called.call, called.message, called.end) {
            (_, Some(message), true) => (Body::One(message.into()), called.deadline),
            (None, message, _) => {
                let message = message.unwrap_or_default();
                (Body::One(message.into()), called.deadline)
            }
            (Some(call), message, _) => {
                let (requests, deadline) = self.requests(call, ids, message, caller.clone());
                (Body::Many(requests), deadline)
            }
        };
        let received = ReceivedHead {
            caller,
            one_way: called.call.is_none(),
            metadata: called.metadata,
            deadline,
        };
        let mut request = Request::of_connection(ids, received, body);
        if self.extends_requests {
            self.extend(&mut request, called.call);
        }
        request
    }

    /// Adds the parts to a request that most connections have not. It is a function of its own, so that the
    /// others do not pay for it.
    #[inline(never)]
    fn extend(&mut self, request: &mut Request, call: Option<CallId>) {
        if let Some(caller) = self.own_caller.as_ref().and_then(|make| make()) {
            request.head_mut().caller = Some(caller);
        }
        if let (true, Some(call)) = (self.has_stream_time, call) {
            let deadline = self.connection.stream_deadline(call);
            request.extensions_mut().insert(StreamDeadline(deadline));
        }
        if let Some(observation) = &mut self.observation {
            observation.begin(call, request);
        }
    }

    /// The requests of a call that come one after the other, with the first one if it has come, and the
    /// deadline of the call. It is a function of its own, so that whole requests do not pay for it.
    #[inline(never)]
    fn requests(
        &mut self,
        call: CallId,
        ids: MethodIds,
        first: Option<Bytes>,
        caller: Arc<dyn Caller>,
    ) -> (Streaming<Bytes>, Option<Instant>) {
        let inbox = Inbox::new(call, self.credit);
        if let Some(message) = first {
            if let Some(observation) = &mut self.observation {
                observation.set_first_request(message.len());
            }
            inbox.push(MessageBatch::One(message));
        }
        self.incoming.begin_requests(call, ids, inbox.clone());
        let handle = self.handle.clone();
        let shape = handle.descriptor(ids).map(|method| method.shape());
        let deadline = match shape {
            Some(Shape::Unary) => self.connection.bound_as_unary(call),
            _ => self.connection.stream_deadline(call),
        };
        let requests = match shape.is_some_and(|shape| !shape.streams_requests()) {
            true => InboxReader::only_request(inbox, handle, caller),
            false => InboxReader::stream(inbox, handle, caller),
        };
        (requests, deadline)
    }

    /// Logs how a one-way message failed, as no reply carries its status.
    #[cold]
    fn fail_one_way(&mut self, ids: MethodIds, status: &Status) {
        self.handle.log_one_way(ids, status);
        if let Some(observation) = &mut self.observation {
            observation.end_in_place(&CallOutcome::failed(status));
        }
    }

    fn spawn(&mut self, call: CallId, ids: MethodIds, reply: InboundFuture) {
        let id = self.incoming.begin_handler(call, ids);
        if let Some(observation) = &mut self.observation {
            observation.keep(call);
        }
        let handle = self.handle.clone();
        let task = tokio::spawn(async move {
            let result = reply.await;
            handle.mailbox().push_end(Command::HandlerEnd(id, result));
        });
        self.incoming.set_handler(call, task.abort_handle());
    }

    fn spawn_one_way(
        &mut self,
        ids: MethodIds,
        reply: InboundFuture,
        cost: u64,
        deadline: Option<Instant>,
    ) {
        self.incoming.begin_one_way();
        let handle = self.handle.clone();
        let observation = self.observation.as_mut();
        let record = observation.and_then(|observation| observation.take_one_way());
        let served = move |result: Result<Response>| {
            if let Some(mut record) = record {
                record.end(&CallOutcome::of(&result));
            }
            // A one-way message has no reply to carry a status, so it is logged.
            if let Err(status) = result {
                handle.log_one_way(ids, &status);
            }
            handle.mailbox().push_end(Command::OneWayHandled(cost));
        };
        let Some(deadline) = deadline else {
            let end = self.incoming.end_of_one_way();
            tokio::spawn(end.run_until_cancelled_owned(async move {
                served(reply.await);
            }));
            return;
        };
        // The task runs to its end even if the connection ends: the sender of a one-way message does not
        // wait.
        tokio::spawn(async move {
            let (Outcome::Ended(result) | Outcome::Expired(result)) =
                reply.until(deadline, Timer::new).await;
            served(result);
        });
    }

    /// Frees the credit of a one-way message whose task has ended.
    pub(super) fn one_way_handled(&mut self, cost: u64) {
        self.incoming.end_one_way();
        self.connection.one_way_served(cost);
    }

    /// Sends the reply of a handler that ran as a task.
    pub(super) fn handler_ended(&mut self, handler: HandlerId, result: Result<Response>) {
        if let Some(ids) = self.incoming.method_of(handler) {
            self.respond(handler.call, ids, result);
        }
    }

    fn respond(&mut self, call: CallId, ids: MethodIds, result: Result<Response>) {
        match result.map(Response::into_wire_parts) {
            Ok((metadata, Body::One(message))) => {
                self.incoming.remove(call);
                let bytes = message.len();
                let is_sent = self.connection.reply(call, metadata, message);
                if let Some(observation) = &mut self.observation {
                    observation.replied(call, bytes, is_sent);
                }
            }
            Ok((metadata, Body::Many(replies))) => {
                if !self.connection.open_reply(call, metadata) {
                    self.incoming.remove(call);
                    if let Some(observation) = &mut self.observation {
                        observation.not_replied(call);
                    }
                    return;
                }
                let deadline = self.connection.stream_deadline(call);
                if let Some(observation) = &mut self.observation {
                    observation.begin_replies(call, deadline);
                }
                let replies = ExpiringStream::replies_of_connection(replies, deadline);
                let task = StreamTask::new(call, replies, self.handle.clone());
                self.incoming.begin_replies(call, ids, task);
            }
            Err(status) => self.end_call(call, ids, &status),
        }
    }

    pub(super) fn end_call(&mut self, call: CallId, ids: MethodIds, status: &Status) {
        self.handle.log(ids, status);
        self.incoming.remove(call);
        if let Some(observation) = &mut self.observation {
            observation.end(call, &CallOutcome::failed(status));
        }
        self.connection.end(End {
            call,
            code: status.code(),
            refused: status.is_refusal(),
            metadata: status.metadata().clone(),
            text: status.message().to_owned(),
            details: status.encoded_details(),
        });
    }

    /// Ends the work on a call that its caller has cancelled, or that this side has ended with a code.
    pub(super) fn stop_handler(&mut self, call: CallId, code: Option<Code>) {
        if let Some(observation) = &mut self.observation {
            match code {
                None => observation.cancelled(call),
                Some(code) => observation.end(call, &CallOutcome::of_code(code, STOPPED)),
            }
        }
        let status = Status::from_cancel();
        self.wakers.extend(self.incoming.cancel(call, status));
    }
}
