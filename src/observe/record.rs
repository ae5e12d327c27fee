//! The record of a call, from its begin to its end.

use std::time::Instant;

use tracing::Span;
use wawo_protocol::{Code, Metadata, MethodId, ServiceId};

use crate::{
    call_side::CallSide,
    clock::DEADLINE_TOLERANCE,
    descriptor::{MethodDescriptor, MethodIds},
    identity::Identity,
    metrics::Series,
    observe::{call::ObservedCall, trace_context::TraceContext},
    peer_id::PeerId,
    transport::Address,
};

/// The other end of calls, as observers see it.
#[derive(Debug, Clone)]
pub(crate) struct FarEnd {
    /// `None` in the same process.
    pub(crate) peer: Option<PeerId>,
    pub(crate) address: Option<Address>,
    /// See [`ObservedCall::protocol`].
    pub(crate) protocol: &'static str,
}

impl FarEnd {
    /// The other end of calls in the same process.
    pub(crate) fn in_process() -> Self {
        Self::native(None, None)
    }

    /// The other end of a connection that speaks wawo's own protocol, as far as its driver sees.
    pub(crate) fn native(peer: Option<PeerId>, address: Option<&Address>) -> Self {
        Self {
            peer,
            address: address.cloned(),
            protocol: "wawo",
        }
    }
}

/// The record of a call that has begun and not ended. Metrics need no more than this, so most calls allocate
/// nothing for it.
#[derive(Debug)]
pub(crate) struct CallRecord {
    pub(super) side: CallSide,
    pub(super) ids: MethodIds,
    pub(super) series: Series,
    /// Whether nothing goes back.
    one_way: bool,
    /// Whether the metrics count the call as in flight.
    pub(super) is_counted: bool,
    pub(crate) call_depth: u32,
    /// When the call came, or was made.
    pub(super) came: Instant,
    pub(super) started: Instant,
    deadline: Option<Instant>,
    pub(super) first_reply: Option<Instant>,
    pub(super) requests: MessageFigures,
    pub(crate) replies: MessageFigures,
    /// `None` for most calls.
    pub(super) extras: Option<Box<RecordExtras>>,
}

/// The messages of one direction of a call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MessageFigures {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl MessageFigures {
    /// One message of this length.
    #[inline]
    pub(crate) fn of_one(bytes: usize) -> Self {
        Self {
            messages: 1,
            bytes: bytes as u64,
        }
    }
}

/// The parts of a record that few calls have.
#[derive(Debug, Default)]
pub(crate) struct RecordExtras {
    /// The identity of the call, if the owner of the record does not have it.
    identity: Option<Identity>,
    /// Empty unless an observer wants it.
    metadata: Metadata,
    pub(super) trace: Option<TraceContext>,
    /// The span, and the index of the observer that has made it.
    pub(super) span: Option<(usize, Span)>,
}

/// The span in which a call is served: an extension of its request, on the way from the connection to the
/// service.
#[derive(Debug)]
pub(crate) struct CallSpan(pub(crate) Span);

/// The facts about a call that its record does not keep, because the owner of the record has them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallFacts<'a> {
    pub(crate) descriptor: Option<&'a MethodDescriptor>,
    pub(crate) far_end: &'a FarEnd,
    /// The identity of the connection.
    pub(crate) identity: Option<&'a Identity>,
}

/// The metadata of a record that keeps none.
static NO_METADATA: Metadata = Metadata::new();

impl CallRecord {
    /// The record of a call that came at this time, and starts now.
    #[inline(always)]
    pub(crate) fn new(
        side: CallSide,
        ids: MethodIds,
        series: Series,
        came: Instant,
        started: Instant,
    ) -> Self {
        Self {
            side,
            ids,
            series,
            one_way: false,
            is_counted: false,
            call_depth: 0,
            came,
            started,
            deadline: None,
            first_reply: None,
            requests: MessageFigures::default(),
            replies: MessageFigures::default(),
            extras: None,
        }
    }

    /// The record of a call of this side that only metrics observe.
    pub(super) fn of_measure(series: Series, started: Instant, one_way: bool) -> Self {
        // Only other observers read the ids.
        let ids = MethodIds {
            service: ServiceId(0),
            method: MethodId(0),
        };
        Self {
            one_way,
            ..Self::new(CallSide::Client, ids, series, started, started)
        }
    }

    pub(crate) fn side(&self) -> CallSide {
        self.side
    }

    #[inline]
    pub(crate) fn ids(&self) -> MethodIds {
        self.ids
    }

    /// Sets the facts that the request tells.
    #[inline(always)]
    pub(crate) fn with_request(
        mut self,
        one_way: bool,
        deadline: Option<Instant>,
        requests: MessageFigures,
    ) -> Self {
        (self.one_way, self.deadline, self.requests) = (one_way, deadline, requests);
        self
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Sets another deadline: that of a call whose replies turn out to be a stream.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    pub(crate) fn with_extras(mut self, extras: Option<Box<RecordExtras>>) -> Self {
        self.extras = extras;
        self
    }

    /// Takes the parts that metrics do not need, to be given to a record of the same call later.
    pub(crate) fn take_extras(&mut self) -> Option<Box<RecordExtras>> {
        self.extras.take()
    }

    /// Counts requests.
    #[inline]
    pub(crate) fn add_requests(&mut self, messages: u64, bytes: u64) {
        self.requests.messages += messages;
        self.requests.bytes += bytes;
    }

    /// Counts replies of a stream; `now` is called for the first one.
    pub(crate) fn add_replies(&mut self, messages: u64, bytes: u64, now: impl FnOnce() -> Instant) {
        self.replies.messages += messages;
        self.replies.bytes += bytes;
        if self.first_reply.is_none() && messages > 0 {
            self.first_reply = Some(now());
        }
    }

    /// Counts the only reply, which ends the call.
    #[inline]
    pub(crate) fn add_reply(&mut self, bytes: usize, now: Instant) {
        if !self.one_way {
            self.replies = MessageFigures::of_one(bytes);
            self.first_reply = Some(now);
        }
    }

    /// The code of a call that was dropped, or cancelled by its caller. A caller that has waited in vain
    /// cancels too, so after the deadline that is the reason.
    pub(crate) fn code_of_drop(&self, now: Instant) -> Code {
        let early = self
            .deadline
            .and_then(|at| at.checked_sub(DEADLINE_TOLERANCE));
        match early.is_some_and(|at| at <= now) {
            true => Code::DeadlineExceeded,
            false => Code::Cancelled,
        }
    }

    /// The span in which the call is served.
    pub(crate) fn span(&self) -> Option<&Span> {
        let (_, span) = self.extras.as_ref()?.span.as_ref()?;
        Some(span)
    }

    /// Keeps an identity, as the owner of the record does not have it.
    pub(crate) fn keep_identity(&mut self, identity: Option<&Identity>) {
        if let Some(identity) = identity {
            self.extras.get_or_insert_default().identity = Some(identity.clone());
        }
    }

    /// Keeps the trace in the metadata of the request, or all of it.
    pub(super) fn keep_metadata(&mut self, metadata: &Metadata, keeps_all: bool) {
        if metadata.is_empty() {
            return;
        }
        let trace = TraceContext::of(metadata);
        if trace.is_some() || keeps_all {
            let extras = self.extras.get_or_insert_default();
            extras.trace = extras.trace.or(trace);
            if keeps_all {
                extras.metadata = metadata.clone();
            }
        }
    }

    /// The call, as observers see it. `metadata` is that of the request, if it is still there.
    pub(super) fn call<'a>(
        &'a self,
        facts: CallFacts<'a>,
        metadata: Option<&'a Metadata>,
    ) -> ObservedCall<'a> {
        let extras = self.extras.as_deref();
        let identity = extras.and_then(|extras| extras.identity.as_ref());
        let kept = extras.map_or(&NO_METADATA, |extras| &extras.metadata);
        ObservedCall {
            side: self.side,
            ids: self.ids,
            descriptor: facts.descriptor,
            protocol: facts.far_end.protocol,
            peer: facts.far_end.peer,
            address: facts.far_end.address.as_ref(),
            identity: identity.or(facts.identity),
            metadata: metadata.unwrap_or(kept),
            started: self.started,
            deadline: self.deadline,
            call_depth: self.call_depth,
            trace: extras.and_then(|extras| extras.trace.as_ref()),
            span: None,
        }
    }
}
