//! A call as observers see it.

use std::time::{Duration, Instant};

use tracing::Span;
use wawo_protocol::{Code, Metadata, MethodId, ServiceId};

use crate::{
    call_side::CallSide,
    descriptor::{MethodDescriptor, MethodIds},
    identity::Identity,
    observe::trace_context::TraceContext,
    peer_id::PeerId,
    status::Delivery,
    transport::Address,
};

/// A call, as far as it is known when it begins.
#[derive(Debug)]
pub struct ObservedCall<'a> {
    pub(crate) side: CallSide,
    pub(crate) ids: MethodIds,
    pub(crate) descriptor: Option<&'a MethodDescriptor>,
    pub(crate) protocol: &'static str,
    pub(crate) peer: Option<PeerId>,
    pub(crate) address: Option<&'a Address>,
    pub(crate) identity: Option<&'a Identity>,
    pub(crate) metadata: &'a Metadata,
    pub(crate) started: Instant,
    pub(crate) deadline: Option<Instant>,
    pub(crate) call_depth: u32,
    pub(crate) trace: Option<&'a TraceContext>,
    pub(crate) span: Option<&'a Span>,
}

/// How a call ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct CallSummary<'a> {
    /// The outcome. It is the same on both sides of a call, as far as both can know it.
    pub code: Code,
    /// The text of the status; empty if the call succeeded.
    pub text: &'a str,
    /// How far a failed call of this side had come; `None` on the server, and if the call succeeded.
    pub delivery: Option<Delivery>,
    /// How long the call waited on the server, after it was read, before its service was called; zero on
    /// the client.
    pub queued: Duration,
    /// The time from the begin to the first reply; `None` without a reply.
    pub first_reply: Option<Duration>,
    /// The time from the begin to the end, with the whole stream if the call has one.
    pub took: Duration,
    /// The number of messages of the requests.
    pub request_messages: u64,
    /// The bytes of these messages, encoded and without the headers of packets.
    pub request_bytes: u64,
    /// The number of messages of the replies.
    pub reply_messages: u64,
    /// The bytes of these messages, encoded and without the headers of packets.
    pub reply_bytes: u64,
    /// How often the call was sent, or tried to be: more than 1 if a peer that reconnects made it again.
    pub attempts: u32,
}

impl ObservedCall<'_> {
    /// The side on which the call is observed.
    pub fn side(&self) -> CallSide {
        self.side
    }

    /// The service that is called.
    pub fn service(&self) -> ServiceId {
        self.ids.service
    }

    /// The method that is called.
    pub fn method(&self) -> MethodId {
        self.ids.method
    }

    /// The schema of the method; `None` if this side does not have it.
    pub fn descriptor(&self) -> Option<&MethodDescriptor> {
        self.descriptor
    }

    /// The full name of the method, such as `chat.v1.Chat/Join`; `_OTHER` if this side does not have its
    /// schema.
    pub fn path(&self) -> &str {
        self.descriptor.map_or("_OTHER", MethodDescriptor::path)
    }

    /// The protocol that carries the call, as OpenTelemetry's `rpc.system.name` has it: `wawo` for wawo's
    /// own, for [custom protocols](crate::CustomProtocol) and in the same process.
    pub fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// The number of the peer at the other end; `None` in the same process.
    pub fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    /// The address of the other end, if it has one.
    pub fn address(&self) -> Option<&Address> {
        self.address
    }

    /// The identity that the caller has proven; `None` on the client.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity
    }

    /// The metadata of the request. At the end of a call it is empty, unless an observer
    /// [wants](crate::observe::Wants::metadata) it.
    pub fn metadata(&self) -> &Metadata {
        self.metadata
    }

    /// The time at which the call began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The deadline of the call, if it is known here and there is one.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The number of calls that led to this one.
    pub fn call_depth(&self) -> u32 {
        self.call_depth
    }

    /// The trace that the call belongs to: that of its span, or that of the metadata.
    pub fn trace_context(&self) -> Option<&TraceContext> {
        self.trace
    }

    /// The span of the call, for the [`ended`](crate::observe::Observe::ended) of the observer that has made
    /// it, which may record there what only the end shows. `None` for other observers, and at the begin.
    pub fn span(&self) -> Option<&Span> {
        self.span
    }
}
