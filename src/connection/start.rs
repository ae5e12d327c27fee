//! Starts calls over a connection: in its mailbox, or in the line before it.
//!
//! Calls and messages go to the mailbox unchanged. A caller that finds no room there
//! [waits](ConnectionHandle::wait_for_room). A call that cannot be made fails here, before the driver
//! gets it.

use std::sync::Arc;

use bytes::Bytes;
use wawo_protocol::{MessageBytes, MethodId, ServiceId, time::after};

use crate::{
    backstop::timeout_at,
    body::Body,
    call_side::CallSide,
    clock,
    connection::{
        handle::ConnectionHandle,
        mailbox::{Command, PlainRequest, PushError, no_room, no_room_within},
    },
    descriptor::MethodDescriptor,
    request::{Request, WaitsSince},
    response_future::{Canceller, ResponseFuture, ResponseSlot},
    status::{Delivery, Status},
};

/// Why a call has not begun.
pub(crate) enum StartError {
    /// The mailbox is full: [wait for room](ConnectionHandle::wait_for_room).
    NoRoom(Request),
    /// The call has failed.
    Failed(Status),
}

/// A one-way message up to this length in bytes is copied into a batch in the mailbox. A longer one is
/// not copied.
const MAX_SHORT_BYTES: usize = 1024;

impl ConnectionHandle {
    /// Starts a call that has a reply.
    pub(crate) fn call(&self, request: Request) -> Result<Arc<ResponseSlot>, StartError> {
        let bytes = request.body().message_bytes();
        let pushed = self.mailbox().push_call(request, bytes, Command::Call);
        pushed.map_err(push_failed)
    }

    /// Starts a call that has a reply, and no metadata or deadline.
    pub(crate) fn call_plain(
        &self,
        method: &MethodDescriptor,
        message: MessageBytes,
    ) -> Result<Arc<ResponseSlot>, StartError> {
        let bytes = message.len();
        let call = PlainRequest {
            service: method.service(),
            method: method.id(),
            message,
            is_stream: method.shape().is_stream(),
        };
        let pushed = self.mailbox().push_call(call, bytes, Command::PlainCall);
        pushed.map_err(push_failed)
    }

    /// Sends a one-way message.
    pub(crate) fn send(&self, request: Request) -> Result<(), StartError> {
        if let Some(message) = short_message(&request) {
            let message = message.clone().into_bytes();
            return self.send_short(request.service(), request.method(), message);
        }
        if let Body::Many(_) = request.body() {
            return Err(StartError::Failed(Status::from_one_way_stream()));
        }
        let bytes = request.body().message_bytes();
        self.check_length(bytes)?;
        match self.mailbox().push(Command::OneWay(request), bytes) {
            Ok(()) => Ok(()),
            Err(PushError::Full(Command::OneWay(request))) => Err(StartError::NoRoom(request)),
            Err(PushError::Closed(error)) => Err(StartError::Failed(Status::from_closed(&error))),
            // `push` gives back the command that it was given.
            Err(PushError::Full(_)) => Err(StartError::Failed(no_room("default_timeout"))),
        }
    }

    /// Sends a one-way message that has no metadata or deadline.
    pub(crate) fn send_plain(
        &self,
        method: &MethodDescriptor,
        message: MessageBytes,
    ) -> Result<(), StartError> {
        match message.len() <= MAX_SHORT_BYTES {
            true => self.send_short(method.service(), method.id(), message.into_bytes()),
            false => self.send(Request::new(method, Body::One(message))),
        }
    }

    /// Sends a short one-way message, as part of a batch, without keeping it as a request.
    fn send_short(
        &self,
        service: ServiceId,
        method: MethodId,
        message: Bytes,
    ) -> Result<(), StartError> {
        self.check_length(message.len())?;
        let pushed = self.mailbox().push_one_way(service, method, &message);
        pushed.map_err(|error| match error {
            PushError::Closed(error) => StartError::Failed(Status::from_closed(&error)),
            PushError::Full(()) => {
                let body = Body::One(message.into());
                StartError::NoRoom(Request::by_id(service, method, true, body))
            }
        })
    }

    /// Fails a one-way message that is too long for the peer. Its sender gets no status later, so it must
    /// get it now.
    fn check_length(&self, bytes: usize) -> Result<(), StartError> {
        let Some(hello) = self.hello() else {
            return Ok(());
        };
        let max = hello.limits.max_message_bytes;
        if bytes <= max as usize {
            return Ok(());
        }
        let text = format!(
            "the call was not sent: a message of {bytes} bytes; \
             the peer takes at most {max} (its max_message_bytes)"
        );
        let status = Status::resource_exhausted(text).with_delivery(Delivery::NotSent);
        Err(StartError::Failed(status))
    }

    /// Starts a call once there is room, if that comes before its deadline, or, without a deadline,
    /// within `stall_timeout`. `canceller` is told when the caller no longer wants the reply.
    pub(crate) fn wait_for_room(
        self: Arc<Self>,
        mut request: Request,
        canceller: Arc<dyn Canceller>,
    ) -> ResponseFuture {
        let bytes = request.body().message_bytes();
        // The driver gives a call its default deadline when it takes it. The wait before that has to be
        // counted here.
        let defaults = self.default_timeouts();
        let now = clock::now();
        request.head_mut().take_default(now, defaults);
        let stall_timeout = self.stall_timeout();
        let (end, late) = match request.deadline() {
            Some(deadline) => {
                let source = request.head().deadline_source;
                (deadline, no_room(&defaults.describe(source)))
            }
            None => (after(now, stall_timeout), no_room_within(stall_timeout)),
        };
        let slot = Arc::new(ResponseSlot::default());
        ResponseFuture::boxed(async move {
            let mut reply = ResponseFuture::from_slot(slot.clone(), canceller);
            // The place is dropped before the reply, which then has nothing to cancel.
            let place = self.mailbox().line_up(request, bytes, slot);
            match timeout_at(end, &mut reply).await {
                Some(result) => return result,
                None => {
                    self.report_no_room(&late);
                    place.leave(late);
                }
            }
            reply.await
        })
    }

    /// Reports a call that has waited for room until its end.
    fn report_no_room(&self, late: &Status) {
        self.report_limit(CallSide::Client, "max_waiting_calls", None, &late.message());
    }

    /// Cancels a call whose reply is no longer wanted.
    pub(crate) fn cancel(&self, slot: &Arc<ResponseSlot>) {
        self.mailbox().push_end(Command::Cancel(slot.clone()));
    }

    /// How many bytes a decoded reply may take, at most.
    pub(crate) fn max_decoded_bytes(&self) -> usize {
        self.decoded().max_message()
    }
}

fn push_failed(error: PushError<impl Into<Request>>) -> StartError {
    match error {
        PushError::Closed(error) => StartError::Failed(Status::from_closed(&error)),
        PushError::Full(call) => StartError::NoRoom(call.into()),
    }
}

/// The message of a one-way call, if it is short and the call has nothing else.
fn short_message(request: &Request) -> Option<&MessageBytes> {
    let head = request.head();
    let has_default = head.takes_default && head.deadline.is_none();
    let is_plain = has_default
        && head.extensions.get::<WaitsSince>().is_none()
        && head.metadata.is_empty()
        && head.call_depth == 0;
    match request.body() {
        Body::One(message) if is_plain && message.len() <= MAX_SHORT_BYTES => Some(message),
        _ => None,
    }
}
