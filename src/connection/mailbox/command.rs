//! The commands that are left in a mailbox for the driver.

use std::sync::Arc;

use tokio::sync::oneshot;
use wawo_protocol::{
    CallId, CloseCode, MessageBytes, Metadata, MethodId, Relocation, ServiceId,
    packet::{Batch, OneWayBatch},
};

use crate::{
    body::Body,
    connection::{
        inbox::{Inbox, ReadCount},
        outbox::Outbox,
        snapshot::PeerSnapshot,
    },
    request::Request,
    response::Response,
    response_future::ResponseSlot,
    status::Result,
};

/// A request to a driver.
#[derive(Debug)]
pub(crate) enum Command {
    /// Start a call, and put the reply into the slot.
    Call(Request, Arc<ResponseSlot>),
    /// Start a call that has nothing but a message, as most calls do.
    PlainCall(PlainRequest, Arc<ResponseSlot>),
    /// Send a one-way message.
    OneWay(Request),
    /// Send one-way messages that were already encoded as packets.
    OneWayBatch(OneWayBatch),
    /// Cancel a call: nobody waits for its reply any more.
    Cancel(Arc<ResponseSlot>),
    /// Send the reply of a handler that has ended.
    HandlerEnd(HandlerId, Result<Response>),
    /// Free this much credit: the handler of the one-way message that had cost it has ended.
    OneWayHandled(u64),
    /// Send the next messages of a stream.
    Messages(Arc<Outbox>, Batch),
    /// End a stream.
    Finish(Arc<Outbox>, Result<Metadata>),
    /// Return the credit of messages of a stream that were read.
    Consumed(Arc<Inbox>, ReadCount),
    /// Stop a stream that is no longer read.
    StopReading(Arc<Inbox>),
    /// Ask the other side to connect anew.
    Move(Relocation),
    /// Take no more calls, and close the connection when all calls have ended.
    Drain,
    /// Report how much the connection holds.
    Snapshot(oneshot::Sender<PeerSnapshot>),
    /// Close the connection.
    Close(CloseCode, String),
}

/// A call with the default timeout and nothing but a message.
#[derive(Debug)]
pub(crate) struct PlainRequest {
    pub(crate) service: ServiceId,
    pub(crate) method: MethodId,
    pub(crate) message: MessageBytes,
    /// Whether the reply is a stream.
    pub(crate) is_stream: bool,
}

impl From<PlainRequest> for Request {
    fn from(call: PlainRequest) -> Self {
        let body = Body::One(call.message);
        let mut request = Self::by_id(call.service, call.method, false, body);
        request.head_mut().is_stream = call.is_stream;
        request
    }
}

/// The handler that a [`Command::HandlerEnd`] is about. Ids of calls are used again, so the serial number
/// tells whether the call with that id is still the one that the handler served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HandlerId {
    pub(crate) call: CallId,
    pub(crate) serial: u64,
}
