//! The table of the other side's calls, which the driver keeps.

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
    /// The calls, by the index of the call.
    calls: Vec<Option<IncomingCall>>,
    /// The serial number of the last call. Each call has one, so that a handler that ends late is not
    /// taken for the handler of another call with the same id.
    serial: u64,
    /// How many one-way messages are being handled.
    one_way_messages: usize,
    /// Ends one-way messages without a deadline when the connection ends. Messages that are handled leave
    /// nothing in it.
    end_of_one_way: Option<CancellationToken>,
}

/// A call that is being served. Dropping it ends the work on it, and the task that still reads its
/// requests.
#[derive(Debug)]
struct IncomingCall {
    serial: u64,
    /// The method that is called, for the log.
    ids: MethodIds,
    handler: Option<AbortHandle>,
    requests: Option<Arc<Inbox>>,
    /// The inbox of requests after the last one came. Its reads are still counted.
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

    /// Adds a call with a stream of requests.
    pub(super) fn begin_requests(&mut self, call: CallId, ids: MethodIds, requests: Arc<Inbox>) {
        self.begin(call, ids).requests = Some(requests);
    }

    /// Adds a call whose handler is about to become a task; returns the handler's id.
    pub(super) fn begin_handler(&mut self, call: CallId, ids: MethodIds) -> HandlerId {
        let serial = self.call_or_begin(call, ids).serial;
        HandlerId { call, serial }
    }

    /// Records the task of a call's handler.
    pub(super) fn set_handler(&mut self, call: CallId, task: AbortHandle) {
        if let Some(running) = self.call_mut(call) {
            running.handler = Some(task);
        }
    }

    /// The method of the call that this handler serves; `None` if that call has ended.
    pub(super) fn method_of(&mut self, handler: HandlerId) -> Option<MethodIds> {
        let running = self.call_mut(handler.call)?;
        (running.serial == handler.serial).then_some(running.ids)
    }

    /// Records that the handler of a call has ended, and replies with a stream.
    pub(super) fn begin_replies(&mut self, call: CallId, ids: MethodIds, replies: StreamTask) {
        let running = self.call_or_begin(call, ids);
        running.handler = None;
        running.replies = Some(replies);
    }

    /// Removes a call that has ended, which ends the work on it.
    pub(super) fn remove(&mut self, call: CallId) {
        if let Some(place) = self.calls.get_mut(call.index()) {
            *place = None;
        }
    }

    /// Cancels a call: the work on it ends, and the reader of its requests gets this status.
    pub(super) fn cancel(&mut self, call: CallId, status: Status) -> Option<Waker> {
        let running = self.calls.get_mut(call.index())?.take()?;
        running.requests.as_ref()?.cancel(status)
    }

    /// Counts a one-way message whose handler waits, as a task.
    pub(super) fn begin_one_way(&mut self) {
        self.one_way_messages += 1;
    }

    /// Counts off a one-way message whose task has ended.
    pub(super) fn end_one_way(&mut self) {
        self.one_way_messages -= 1;
    }

    /// The token that is cancelled when the connection ends.
    pub(super) fn end_of_one_way(&mut self) -> CancellationToken {
        self.end_of_one_way.get_or_insert_default().clone()
    }

    /// The method of a call, for the log.
    pub(super) fn method(&mut self, call: CallId) -> Option<MethodIds> {
        self.call_mut(call).map(|running| running.ids)
    }

    /// The inbox of a call's requests, if more may come.
    pub(super) fn open_requests(&mut self, call: CallId) -> Option<&Arc<Inbox>> {
        self.call_mut(call)?.requests.as_ref()
    }

    /// The inbox of a call's requests, whether more may come or not.
    pub(super) fn requests(&mut self, call: CallId) -> Option<&Arc<Inbox>> {
        let running = self.call_mut(call)?;
        running.requests.as_ref().or(running.finished.as_ref())
    }

    /// Records that no more requests come; returns their inbox.
    pub(super) fn finish_requests(&mut self, call: CallId) -> Option<Arc<Inbox>> {
        let running = self.call_mut(call)?;
        running.finished = Some(running.requests.take()?);
        running.finished.clone()
    }

    /// Records that the requests of a call are no longer read.
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

    /// The number of one-way messages that are being handled.
    pub(super) fn one_way_messages(&self) -> usize {
        self.one_way_messages
    }

    /// Ends all calls with the connection: handlers are dropped, and their tasks that read requests get a
    /// status.
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
