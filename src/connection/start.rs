//! How calls to a peer begin: in its mailbox, or in the line before it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use wawo_protocol::{MessageBytes, Metadata, MethodId, ServiceId, time::after};

use crate::{
    backstop::timeout_at,
    body::Body,
    call_target::Start,
    clock,
    connection::mailbox::{Command, PlainRequest, PushError},
    descriptor::{MethodDescriptor, ServiceDescriptor, Shape},
    peer::Handle,
    request::Request,
    response::Response,
    response_future::{Canceller, ResponseFuture, ResponseSlot},
    status::{Carrier, Delivery, Status},
    transport::Address,
};

impl Start for Handle {
    fn start(self: Arc<Self>, request: Request) -> ResponseFuture {
        match request.is_one_way() {
            true => self.send(request),
            false => self.call(request),
        }
    }

    fn max_decoded_bytes(&self) -> usize {
        self.shared.decoded.max_message()
    }

    fn start_plain(
        self: Arc<Self>,
        method: &MethodDescriptor,
        message: MessageBytes,
    ) -> ResponseFuture {
        match method.shape() {
            Shape::OneWay if message.len() <= MAX_SHORT_BYTES => {
                self.send_short_one_way(method.service(), method.id(), message.into_bytes())
            }
            Shape::OneWay => self.send(Request::new(method, Body::One(message))),
            _ => self.call_plain(method, message),
        }
    }

    fn expect(self: Arc<Self>, service: &'static ServiceDescriptor) {
        self.expect_schema(service);
    }

    fn address(&self) -> Option<&Address> {
        self.shared.address.as_ref()
    }
}

impl Handle {
    fn call(self: Arc<Self>, request: Request) -> ResponseFuture {
        let bytes = message_bytes(&request);
        match self.shared.mailbox.push_call(request, bytes, Command::Call) {
            Ok(slot) => ResponseFuture::from_slot(slot, self),
            Err(reason) => self.push_failed(reason),
        }
    }

    fn call_plain(
        self: Arc<Self>,
        method: &MethodDescriptor,
        message: MessageBytes,
    ) -> ResponseFuture {
        let bytes = message.len();
        let call = PlainRequest {
            service: method.service(),
            method: method.id(),
            message,
            is_stream: method.shape().is_stream(),
        };
        match self
            .shared
            .mailbox
            .push_call(call, bytes, Command::PlainCall)
        {
            Ok(slot) => ResponseFuture::from_slot(slot, self),
            Err(reason) => self.push_failed(reason),
        }
    }

    fn send(self: Arc<Self>, request: Request) -> ResponseFuture {
        if let Some(message) = short_message(&request) {
            let message = message.clone().into_bytes();
            return self.send_short_one_way(request.service(), request.method(), message);
        }
        let bytes = message_bytes(&request);
        if let Some(status) = self.refuses(bytes) {
            return self.failed(status);
        }
        match self.shared.mailbox.push(Command::OneWay(request), bytes) {
            Ok(()) => ResponseFuture::sent(),
            Err(PushError::Full(Command::OneWay(request))) => self.wait_for_room(request),
            Err(PushError::Closed(error)) => self.closed(&error),
            // `push` gives back what it was given.
            Err(PushError::Full(_)) => self.failed(no_room("default_timeout")),
        }
    }

    /// Sends a short one-way message that has nothing else, and need not be kept as a request.
    fn send_short_one_way(
        self: Arc<Self>,
        service: ServiceId,
        method: MethodId,
        message: Bytes,
    ) -> ResponseFuture {
        if let Some(status) = self.refuses(message.len()) {
            return self.failed(status);
        }
        match self.shared.mailbox.push_one_way(service, method, &message) {
            Ok(()) => ResponseFuture::sent(),
            Err(PushError::Closed(error)) => self.closed(&error),
            Err(PushError::Full(())) => {
                let body = Body::One(message.into());
                self.wait_for_room(Request::by_id(service, method, true, body))
            }
        }
    }

    fn push_failed(self: Arc<Self>, reason: PushError<impl Into<Request>>) -> ResponseFuture {
        match reason {
            PushError::Closed(error) => self.closed(&error),
            PushError::Full(call) => self.wait_for_room(call.into()),
        }
    }

    /// A one-way message that the peer would not take: its sender hears of it here or never.
    fn refuses(&self, bytes: usize) -> Option<Status> {
        let max = self.shared.hello.get()?.limits.max_message_bytes;
        (bytes > max as usize).then(|| {
            let text = format!(
                "the call was not sent: a message of {bytes} bytes; \
                 the peer takes at most {max} (its max_message_bytes)"
            );
            Status::resource_exhausted(text).with_delivery(Delivery::NotSent)
        })
    }

    /// Starts a call once the driver has room for it, if that comes before the deadline, or, without
    /// one, within `stall_timeout`.
    fn wait_for_room(self: Arc<Self>, mut request: Request) -> ResponseFuture {
        let bytes = message_bytes(&request);
        // The driver gives a call its default deadline when it takes it, so the wait before that
        // has to be counted here.
        let defaults = &self.shared.default_timeouts;
        let now = clock::now();
        request.head_mut().take_default(now, defaults);
        let stall_timeout = self.shared.stall_timeout;
        let (end, late) = match request.deadline() {
            Some(deadline) => {
                let source = request.head().deadline_source;
                (deadline, no_room(&defaults.describe(source)))
            }
            None => (after(now, stall_timeout), no_room_within(stall_timeout)),
        };
        let slot = Arc::new(ResponseSlot::default());
        ResponseFuture::boxed(async move {
            let mut reply = ResponseFuture::from_slot(slot.clone(), self.clone());
            // Dropped before the reply is, which then has nothing to cancel.
            let place = self.shared.mailbox.line_up(request, bytes, slot);
            match timeout_at(end, &mut reply).await {
                Some(result) => return result,
                None => place.leave(late),
            }
            reply.await
        })
    }
}

impl Canceller for Handle {
    fn cancel(&self, slot: &Arc<ResponseSlot>) {
        self.shared.mailbox.push_end(Command::Cancel(slot.clone()));
    }

    fn carrier(&self) -> Option<Arc<dyn Carrier>> {
        Some(self.shared.clone())
    }
}

impl ResponseFuture {
    /// The answer to a one-way message that was given to the driver.
    fn sent() -> Self {
        Self::ready(Ok(sent()))
    }
}

pub(crate) fn sent() -> Response {
    Response::new(Metadata::new(), Body::One(MessageBytes::default()))
}

/// A longer one-way message is not copied while it waits for the driver.
const MAX_SHORT_BYTES: usize = 1024;

/// The message of a one-way call that can be sent as a note.
fn short_message(request: &Request) -> Option<&MessageBytes> {
    let head = request.head();
    let has_default = head.takes_default && head.deadline.is_none();
    let is_plain = has_default && head.metadata.is_empty() && head.call_depth == 0;
    match request.body() {
        Body::One(message) if is_plain && message.len() <= MAX_SHORT_BYTES => Some(message),
        _ => None,
    }
}

fn message_bytes(request: &Request) -> usize {
    match request.body() {
        Body::One(bytes) => bytes.len(),
        Body::Many(_) => 0,
    }
}

/// The deadline, which is from this setting, has passed before there was room.
pub(crate) fn no_room(setting: &str) -> Status {
    let text = format!(
        "the deadline passed while the call waited for the connection to take it ({setting})"
    );
    Status::deadline_exceeded(text).with_delivery(Delivery::NotSent)
}

/// A call without a deadline has waited for room for this long.
fn no_room_within(stall_timeout: Duration) -> Status {
    let text = format!(
        "the connection took no more calls within {stall_timeout:?} (stall_timeout): others wait for \
         the limits of the peer"
    );
    Status::resource_exhausted(text).with_delivery(Delivery::NotSent)
}
