//! Starts the calls of this side, and cancels them.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use wawo_protocol::{
    CallId, Metadata, MethodId, NewCall, Refusal, ServiceId, StartedCall, packet::OneWayBatch,
};

use crate::{
    body::{Body, MessageBatch, Streaming},
    call_depth,
    connection::{
        deadline_watch::WatchedCall,
        driver::Driver,
        handle::ConnectionHandle,
        inbox::Inbox,
        mailbox::{Command, PlainRequest, UnsentMessages},
        outgoing::OutgoingCall,
        reader::InboxReader,
        stream_task::StreamTask,
    },
    descriptor::MethodIds,
    request::Request,
    response::Response,
    response_future::ResponseSlot,
    serve::inbound::ExpiringStream,
    status::{Delivery, Result},
};

impl Driver {
    pub(super) fn start_call(
        &mut self,
        now: Instant,
        mut request: Request,
        slot: Arc<ResponseSlot>,
    ) {
        if slot.is_over() {
            return;
        }
        self.take_default(now, &mut request);
        let (call, requests) = new_call(request);
        self.start(now, call, OutgoingCall::new(slot, requests));
    }

    pub(super) fn start_plain_call(
        &mut self,
        now: Instant,
        call: PlainRequest,
        slot: Arc<ResponseSlot>,
    ) {
        if slot.is_over() {
            return;
        }
        let (timeout, deadline_source) = self.handle.default_timeouts().of(call.is_stream);
        let call = NewCall {
            service: call.service,
            method: call.method,
            // A timeout is at most 49 days, so the addition cannot overflow.
            deadline: timeout.map(|timeout| now + timeout),
            deadline_source,
            depth: 0,
            metadata: Metadata::new(),
            message: Some(call.message),
            end: true,
            one_way: false,
        };
        self.start(now, call, OutgoingCall::new(slot, None));
    }

    fn start(&mut self, now: Instant, call: NewCall, outgoing: OutgoingCall) {
        let slot = call.deadline.map(|at| (at, outgoing.slot().clone()));
        let id = match self.connection.start_call(now, call, outgoing) {
            Ok(StartedCall::Sent(id)) => Some(id),
            Ok(StartedCall::Waiting) => None,
            Err((outgoing, refusal)) => return self.refused(outgoing, &refusal),
        };
        if let Some((deadline, slot)) = slot {
            self.calls_to_watch.push(WatchedCall {
                call: id,
                deadline,
                slot,
            });
        }
        if let Some(id) = id {
            self.started(id);
        }
    }

    /// Ends a call that was not started, or surely not served.
    #[cold]
    pub(super) fn refused(&mut self, outgoing: OutgoingCall, refusal: &Refusal) {
        self.handle.report_refusal(refusal);
        self.observe_refusal(refusal);
        outgoing.refuse(refusal, &mut self.wakers);
    }

    /// Acts on a call that has got its id: from now on it can be cancelled by the id, and its stream of
    /// requests begins.
    pub(super) fn started(&mut self, id: CallId) {
        let Some(outgoing) = self.connection.token(id) else {
            return;
        };
        outgoing.slot().set_call(id);
        if let Some(requests) = outgoing.take_requests() {
            let requests = ExpiringStream::requests(requests);
            let task = StreamTask::new(id, requests, self.handle.clone());
            outgoing.set_request_task(task);
        }
    }

    pub(super) fn send_one_way(&mut self, now: Instant, mut request: Request) {
        self.take_default(now, &mut request);
        let (service, method) = (request.service(), request.method());
        let (call, _) = new_call(request);
        if let Err(reason) = self.connection.send_one_way(now, call) {
            log_not_sent(&self.handle, service, method, &reason);
        }
    }

    pub(super) fn send_one_way_batch(&mut self, now: Instant, messages: OneWayBatch) {
        let handle = &self.handle;
        self.connection
            .send_one_way_batch(now, messages, |service, method, reason| {
                log_not_sent(handle, service, method, &reason);
            });
    }

    /// Leaves one-way messages to another connection of the peer, since the other side takes no more. If the
    /// peer does not keep them, they are refused.
    #[cold]
    pub(super) fn keep_one_way(&mut self, now: Instant, command: Command) {
        let mut messages = UnsentMessages::default();
        messages.add(command);
        let Err(messages) = self.handle.owner().keep_unsent(messages) else {
            return;
        };
        for command in messages.into_commands() {
            match command {
                Command::OneWay(request) => self.send_one_way(now, request),
                Command::OneWayBatch(batch) => self.send_one_way_batch(now, batch),
                _ => {}
            }
        }
    }

    /// Gives a call without a timeout the default timeout, counted from now, as it was just made.
    fn take_default(&self, now: Instant, request: &mut Request) {
        let defaults = self.handle.default_timeouts();
        request.head_mut().take_default(now, defaults);
    }

    /// Cancels a call whose caller no longer waits for the reply.
    pub(super) fn cancel(&mut self, slot: &Arc<ResponseSlot>) {
        let same = |outgoing: &OutgoingCall| Arc::ptr_eq(outgoing.slot(), slot);
        let Some(id) = slot.call() else {
            return self.connection.cancel_waiting(same);
        };
        if self
            .connection
            .token(id)
            .is_some_and(|outgoing| same(outgoing))
        {
            drop(self.connection.cancel(id));
        }
    }

    /// Acts on the beginning of a stream of replies to a call of this side.
    pub(super) fn replied(&mut self, id: CallId, metadata: Metadata, message: Option<Bytes>) {
        let peer = self.peer.upgrade();
        let (Some(peer), Some(outgoing)) = (peer, self.connection.token(id)) else {
            return;
        };
        let replies = Inbox::new(id, self.credit);
        if let Some(message) = message {
            replies.push(MessageBatch::One(message));
        }
        outgoing.begin_replies(replies.clone());
        let mailbox = self.handle.mailbox();
        mailbox.watch_replies(id, outgoing.slot(), &replies);
        let handle = self.handle.clone();
        let body = Body::Many(InboxReader::stream(replies, handle, peer));
        let waker = outgoing.slot().complete(Ok(Response::new(metadata, body)));
        self.wakers.extend(waker);
    }

    /// Cancels a call of this side whose replies are no longer read.
    pub(super) fn cancel_replies(&mut self, inbox: &Arc<Inbox>) {
        let id = inbox.call();
        if self
            .replies_of(id)
            .is_some_and(|replies| Arc::ptr_eq(replies, inbox))
        {
            drop(self.connection.cancel(id));
        }
    }

    pub(super) fn replies_of(&mut self, id: CallId) -> Option<&Arc<Inbox>> {
        self.connection.token(id)?.replies()
    }

    pub(super) fn requests_of(&mut self, id: CallId) -> Option<&StreamTask> {
        self.connection.token(id)?.request_task()
    }

    /// Acts on the end of the stream of requests of a call of this side.
    pub(super) fn requests_ended(&mut self, id: CallId, result: Result<()>) {
        match result {
            Ok(()) => self.connection.finish(id),
            // A caller cannot send a status: it cancels the call, and its own side gets the status.
            Err(status) => {
                if let Some(outgoing) = self.connection.cancel(id) {
                    let status = status.with_delivery(Delivery::Unknown);
                    outgoing.end(Err(status), &mut self.wakers);
                }
            }
        }
    }
}

/// Logs why a one-way message was not sent, as nobody waits for its outcome.
#[cold]
fn log_not_sent(
    handle: &Arc<ConnectionHandle>,
    service: ServiceId,
    method: MethodId,
    refusal: &Refusal,
) {
    handle.report_refusal(refusal);
    let method = handle.schemas().name(MethodIds { service, method });
    let warnings = handle.warnings();
    warnings.one_way_not_sent(handle, &method, refusal);
}

fn new_call(request: Request) -> (NewCall, Option<Streaming<Bytes>>) {
    let (service, method, one_way) = (request.service(), request.method(), request.is_one_way());
    let (mut head, body) = request.into_head();
    call_depth::put(head.call_depth, &mut head.metadata);
    let (message, requests) = match body {
        Body::One(message) => (Some(message), None),
        Body::Many(requests) => (None, Some(requests)),
    };
    let call = NewCall {
        service,
        method,
        deadline: head.deadline,
        deadline_source: head.deadline_source,
        depth: head.call_depth,
        metadata: std::mem::take(&mut head.metadata),
        end: message.is_some(),
        message,
        one_way,
    };
    (call, requests)
}
