//! Starts calls to a peer over its connection. A call to a guest fails.

use std::sync::Arc;

use wawo_protocol::MessageBytes;

use crate::{
    body::Body,
    call_target::Start,
    connection::{Owner, StartError},
    decoding::DEFAULT_MAX_BYTES,
    descriptor::{MethodDescriptor, ServiceDescriptor, Shape},
    peer::{guest::GuestState, handle::Handle, link::Link, redial_calls},
    request::Request,
    response::Response,
    response_future::{Canceller, ResponseFuture, ResponseSlot},
    status::{Carrier, Status},
    transport::Address,
};

impl Start for Handle {
    fn start(self: Arc<Self>, mut request: Request) -> ResponseFuture {
        request.head_mut().send_on();
        match self.observers() {
            None => self.begin(request),
            Some(observers) => self.clone().start_observed(observers, request),
        }
    }

    fn start_plain(
        self: Arc<Self>,
        method: &MethodDescriptor,
        message: MessageBytes,
    ) -> ResponseFuture {
        match self.observers() {
            None => self.begin_plain(method, message),
            Some(_) => self.start_plain_observed(method, message),
        }
    }

    fn expect(self: Arc<Self>, service: &ServiceDescriptor) {
        match self.link() {
            Link::Connection(connection) => connection.expect_schema(service),
            Link::Redial(redial) => redial.expect_schema(service),
            Link::Guest(_) => {}
        }
    }

    fn address(&self) -> Option<&Address> {
        self.state().address()
    }

    fn max_decoded_bytes(&self) -> usize {
        match self.link() {
            Link::Connection(connection) => connection.max_decoded_bytes(),
            Link::Redial(redial) => redial.decoded().max_message(),
            Link::Guest(_) => DEFAULT_MAX_BYTES,
        }
    }
}

impl Handle {
    /// Starts a call.
    pub(super) fn begin(self: Arc<Self>, request: Request) -> ResponseFuture {
        let connection = match self.link() {
            Link::Connection(connection) => connection,
            Link::Redial(redial) => return redial_calls::start(&self, redial, request),
            Link::Guest(guest) => return ResponseFuture::ready(Err(self.not_callable(guest))),
        };
        match request.is_one_way() {
            true => connection
                .send(request)
                .map_or_else(|error| self.not_started(error), |()| sent_response()),
            false => match connection.call(request) {
                Ok(slot) => ResponseFuture::from_slot(slot, self),
                Err(error) => self.not_started(error),
            },
        }
    }

    /// Starts a call with nothing but a message.
    #[inline(always)]
    pub(super) fn begin_plain(
        self: Arc<Self>,
        method: &MethodDescriptor,
        message: MessageBytes,
    ) -> ResponseFuture {
        let connection = match self.link() {
            Link::Connection(connection) => connection,
            Link::Redial(redial) => {
                let request = Request::new(method, Body::One(message));
                return redial_calls::start(&self, redial, request);
            }
            Link::Guest(guest) => return ResponseFuture::ready(Err(self.not_callable(guest))),
        };
        match method.shape() {
            Shape::OneWay => match connection.send_plain(method, message) {
                Ok(()) => sent_response(),
                Err(error) => self.not_started(error),
            },
            _ => match connection.call_plain(method, message) {
                Ok(slot) => ResponseFuture::from_slot(slot, self),
                Err(error) => self.not_started(error),
            },
        }
    }

    /// The response of a call that did not begin: it waits for room, or has failed.
    #[cold]
    fn not_started(self: &Arc<Self>, error: StartError) -> ResponseFuture {
        match (error, self.link()) {
            (StartError::NoRoom(request), Link::Connection(connection)) => {
                connection.clone().wait_for_room(request, self.clone())
            }
            (StartError::Failed(status), _) => {
                ResponseFuture::ready(Err(status.carried_by(self.carrier())))
            }
            // Neither reports here that there is no room.
            (StartError::NoRoom(request), Link::Redial(redial)) => {
                redial_calls::start(self, redial, request)
            }
            (StartError::NoRoom(_), Link::Guest(guest)) => {
                ResponseFuture::ready(Err(self.not_callable(guest)))
            }
        }
    }

    /// The status of a call to a guest.
    #[cold]
    pub(super) fn not_callable(&self, guest: &GuestState) -> Status {
        let status = guest.not_callable();
        match self.state().address() {
            Some(address) => status.at(Some(address)),
            None if guest.is_in_process() => status.in_process(),
            None => status,
        }
    }
}

impl Canceller for Handle {
    fn cancel(&self, slot: &Arc<ResponseSlot>) {
        if let Link::Connection(connection) = self.link() {
            connection.cancel(slot);
        }
    }

    fn carrier(&self) -> Option<Arc<dyn Carrier>> {
        match self.link() {
            Link::Connection(connection) => Some(connection.clone()),
            Link::Redial(_) | Link::Guest(_) => None,
        }
    }
}

/// The reply to a one-way message that was given to the driver.
pub(super) fn sent_response() -> ResponseFuture {
    ResponseFuture::ready(Ok(Response::empty()))
}
