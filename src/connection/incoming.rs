//! The calls of the other side, as a driver keeps them.

use std::{sync::Arc, task::Waker};

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use wawo_protocol::{CallId, ConnectionError};

use crate::{
    connection::{inbox::Inbox, mailbox::HandlerId, stream_task::StreamTask},
    descriptor::MethodIds,
    status::Status,
};

/// The calls of the other side that have not ended.
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

/// A call that is being served. Dropping it ends the work on it, also that of a task which still
/// reads requests.
#[derive(Debug)]
struct IncomingCall {
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

    fn call_or_begin(&mut self, call: CallId, ids: MethodIds) -> &mut IncomingCall {
        let index = call.index();
        match matches!(self.calls.get(index), Some(Some(_))) {
            true => self.calls[index].as_mut().expect("it was just seen"),
            false => self.begin(call, ids),
        }
    }

    /// A call with a stream of requests has begun.
    pub(super) fn begin_requests(&mut self, call: CallId, ids: MethodIds, requests: Arc<Inbox>) {
        self.begin(call, ids).requests = Some(requests);
    }

    /// The handler of a call is about to become a task.
    pub(super) fn begin_handler(&mut self, call: CallId, ids: MethodIds) -> HandlerId {
        let serial = self.call_or_begin(call, ids).serial;
        HandlerId { call, serial }
    }

    /// The handler of a call is this task.
    pub(super) fn set_handler(&mut self, call: CallId, task: AbortHandle) {
        if let Some(running) = self.call_mut(call) {
            running.handler = Some(task);
        }
    }

    /// The method of the call that a handler works on; `None` if that call has ended.
    pub(super) fn method_of(&mut self, handler: HandlerId) -> Option<MethodIds> {
        let running = self.call_mut(handler.call)?;
        (running.serial == handler.serial).then_some(running.ids)
    }

    /// The handler of a call has ended, with a stream of replies.
    pub(super) fn begin_replies(&mut self, call: CallId, ids: MethodIds, replies: StreamTask) {
        let running = self.call_or_begin(call, ids);
        running.handler = None;
        running.replies = Some(replies);
    }

    /// A call has ended: so does the work on it.
    pub(super) fn remove(&mut self, call: CallId) {
        if let Some(place) = self.calls.get_mut(call.index()) {
            *place = None;
        }
    }

    /// A call is cancelled: the work on it ends, and the reader of its requests with this status.
    pub(super) fn cancel(&mut self, call: CallId, status: Status) -> Option<Waker> {
        let running = self.calls.get_mut(call.index())?.take()?;
        running.requests.as_ref()?.cancel(status)
    }

    /// A one-way message waits, in a task.
    pub(super) fn begin_one_way(&mut self) {
        self.one_way_messages += 1;
    }

    /// A one-way message that waited has been handled.
    pub(super) fn end_one_way(&mut self) {
        self.one_way_messages -= 1;
    }

    /// Is cancelled when the connection ends.
    pub(super) fn end_of_one_way(&mut self) -> CancellationToken {
        self.end_of_one_way.get_or_insert_default().clone()
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

    /// The connection is over: handlers are dropped, and tasks of theirs
    /// that read requests get a status.
    pub(super) fn end(&mut self, error: &ConnectionError, wakers: &mut Vec<Waker>) {
        if let Some(end) = self.end_of_one_way.take() {
            end.cancel();
        }
        for running in std::mem::take(&mut self.calls).into_iter().flatten() {
            if let Some(requests) = &running.requests {
                wakers.extend(requests.cancel(Status::from_lost_requests(error)));
            }
        }
    }
}
