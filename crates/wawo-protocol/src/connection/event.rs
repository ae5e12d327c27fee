//! The calls that a driver starts, and the events that it gets from a connection.

use std::time::Instant;

use bytes::Bytes;

use crate::{
    code::Code,
    connection::{
        refusal::{Overload, Refusal},
        timeout_cause::DeadlineSource,
    },
    hello::Hello,
    id::{CallId, MethodId, ServiceId},
    message::MessageBytes,
    metadata::Metadata,
    relocation::Relocation,
};

/// A call to be started.
#[derive(Debug, Clone)]
#[allow(
    clippy::exhaustive_structs,
    reason = "the driver gives every part of a call"
)]
pub struct NewCall {
    /// The service to call.
    pub service: ServiceId,
    /// Its method.
    pub method: MethodId,
    /// When the call fails if it has not ended; `None` for no deadline.
    pub deadline: Option<Instant>,
    /// The setting that the deadline comes from.
    pub deadline_source: DeadlineSource,
    /// The number of calls that led to this one, each made by the handler of the one before. A call of depth
    /// 2 or more does not wait for a slot, and calls of depth 0 leave a sixteenth of the slots to the
    /// others.
    pub depth: u32,
    /// Metadata of the call.
    pub metadata: Metadata,
    /// The first message.
    pub message: Option<MessageBytes>,
    /// Whether no message follows it.
    pub end: bool,
    /// Whether nothing shall come back, not even a status. Such a call needs a message, and `end`.
    pub one_way: bool,
}

impl NewCall {
    /// A one-way message of a batch, whose deadline is the default.
    pub(crate) fn of_batch(
        (service, method, message): (ServiceId, MethodId, Bytes),
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            service,
            method,
            deadline,
            deadline_source: DeadlineSource::DefaultTimeout,
            depth: 0,
            metadata: Metadata::new(),
            message: Some(message.into()),
            end: true,
            one_way: true,
        }
    }

    /// The length of the first message.
    pub(crate) fn message_len(&self) -> usize {
        self.message.as_ref().map_or(0, MessageBytes::len)
    }
}

/// An event on a connection.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<T> {
    /// The other side's hello has come. This is the first event, and comes once. The accepting side has
    /// to [`accept`](crate::Connection::accept) it, or to close the connection.
    Opened(Box<Hello>),
    /// The other side calls.
    Called(InboundCall),
    /// The next message of a stream: a request of theirs, or a reply to ours.
    Message {
        /// The call.
        call: CallId,
        /// The message.
        message: Bytes,
    },
    /// The other side sends no more requests for its call.
    Finished(CallId),
    /// The other side no longer wants the reply to its call, which is over.
    Cancelled(CallId),
    /// This side has ended a call of the other side, at its deadline or for a limit. The call is over: its
    /// caller was sent a status with this code.
    Stopped(CallId, Code),
    /// The reply to our call, which is a stream, has begun.
    Replied {
        /// The call.
        call: CallId,
        /// Metadata of the reply.
        metadata: Metadata,
        /// The first message, if one came with it.
        message: Option<Bytes>,
    },
    /// A call of ours that waited has been sent.
    Started(CallId),
    /// Our call is over.
    Ended(CallOutcome<T>),
    /// Our call was not started, or certainly not served: it may be sent elsewhere.
    Refused(T, Refusal),
    /// A call of the other side was refused or ended for a limit. Its caller was sent a status, and an event
    /// of its own ends it if the driver serves it: this one is for the log and for metrics. Calls that end
    /// at their deadline, or with the connection, have none.
    Overloaded {
        /// The method of the call; `None` if the driver got the call, and so knows it.
        method: Option<(ServiceId, MethodId)>,
        /// The limit.
        overload: Overload,
    },
    /// All messages that waited in this call have left, so there is room for more.
    Writable(CallId),
    /// The other side takes no more calls.
    Draining,
    /// The other side asks this one to connect anew. Only the connecting side gets it.
    Move(Relocation),
}

/// A call of the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InboundCall {
    /// Its id; `None` if it is one-way, and so gets no reply.
    pub call: Option<CallId>,
    /// The service called.
    pub service: ServiceId,
    /// Its method.
    pub method: MethodId,
    /// When the call ends if its reply has not come before; for a stream of requests, if the call has not
    /// ended before.
    pub deadline: Option<Instant>,
    /// Metadata of the call.
    pub metadata: Metadata,
    /// The first message, if one came with the call.
    pub message: Option<Bytes>,
    /// Whether no message follows.
    pub end: bool,
    /// The cost of a one-way message, to be given back by
    /// [`one_way_served`](crate::Connection::one_way_served) when it was served; else 0.
    pub cost: u64,
}

/// The end of a call of ours.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallOutcome<T> {
    /// The token that the driver gave when it started the call.
    pub token: T,
    /// The call, unless it never got an id.
    pub call: Option<CallId>,
    /// A last message that came with the end.
    pub message: Option<Bytes>,
    /// The outcome.
    pub code: Code,
    /// Metadata of the reply, if the reply ended with its first packet; else the metadata after its last
    /// message.
    pub metadata: Metadata,
    /// The outcome in words.
    pub text: String,
    /// More about the outcome.
    pub details: Bytes,
    /// Whether any byte of the call was given to the transport, or will be.
    pub sent: bool,
    /// Whether the other side ended the call; if not, this side cancelled it.
    pub ended_by_peer: bool,
    /// Whether the other side says that the call was certainly not served.
    pub refused: bool,
}

impl<T> CallOutcome<T> {
    /// The outcome of a call that this side has ended.
    pub(crate) fn here(
        token: T,
        call: Option<CallId>,
        code: Code,
        text: String,
        sent: bool,
    ) -> Self {
        Self {
            token,
            call,
            message: None,
            code,
            metadata: Metadata::new(),
            text,
            details: Bytes::new(),
            sent,
            ended_by_peer: false,
            refused: false,
        }
    }
}
