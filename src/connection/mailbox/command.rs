//! What is left in a mailbox.

use std::sync::Arc;

use tokio::sync::oneshot;
use wawo_protocol::{
    CallId, CloseCode, MessageBytes, Metadata, MethodId, ServiceId,
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

/// What a driver is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Start a call, and put the answer into the slot.
    Call(Request, Arc<ResponseSlot>),
    /// The same for a call with nothing but a message, as most are.
    PlainCall(PlainRequest, Arc<ResponseSlot>),
    /// Send a one-way message.
    OneWay(Request),
    /// Send one-way messages that are packets already.
    OneWayBatch(OneWayBatch),
    /// Nobody waits for the answer any more.
    Cancel(Arc<ResponseSlot>),
    /// A handler has ended.
    HandlerEnd(HandlerId, Result<Response>),
    /// The handler of a one-way message has ended; the credit that the message had cost.
    OneWayHandled(u64),
    /// The next messages of a stream.
    Messages(Arc<Outbox>, Batch),
    /// A stream has ended.
    Finish(Arc<Outbox>, Result<Metadata>),
    /// Messages of a stream were read.
    Consumed(Arc<Inbox>, ReadCount),
    /// A stream is no longer read.
    StopReading(Arc<Inbox>),
    /// Take no more calls, and close when all is done.
    Drain,
    /// Say what the connection holds.
    Snapshot(oneshot::Sender<PeerSnapshot>),
    /// Close the connection.
    Close(CloseCode, String),
    /// The same, if its hello has not come, and nothing else since the last time.
    CloseIfSilent(String),
}

/// A call with the default timeout and nothing but a message.
#[derive(Debug)]
pub(crate) struct PlainRequest {
    pub(crate) service: ServiceId,
    pub(crate) method: MethodId,
    pub(crate) message: MessageBytes,
    /// Its reply is one.
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

/// Which handler a [`Command::HandlerEnd`] is about. Ids are used again, so the serial number tells
/// whether the call it worked on is still the one with that id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HandlerId {
    pub(crate) call: CallId,
    pub(crate) serial: u64,
}
