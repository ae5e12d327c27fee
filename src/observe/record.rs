//! The record of a call, from its begin to its end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::Span;
use wawo_protocol::{Code, Metadata};

use crate::{
    call_side::CallSide,
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

/// A call that begins.
pub(crate) struct CallBegin<'a> {
    pub(crate) side: CallSide,
    pub(crate) ids: MethodIds,
    pub(crate) descriptor: Option<&'a MethodDescriptor>,
    pub(crate) far_end: &'a Arc<FarEnd>,
    pub(crate) identity: Option<&'a Identity>,
    pub(crate) metadata: &'a Metadata,
    pub(crate) started: Instant,
    pub(crate) queued: Duration,
    pub(crate) deadline: Option<Instant>,
    pub(crate) call_depth: u32,
    /// Whether nothing goes back.
    pub(crate) one_way: bool,
    /// The length of the only request; `None` if the requests are a stream.
    pub(crate) request: Option<usize>,
}

/// The span in which a call is served: an extension of its request, on the way from the connection to the
/// service.
#[derive(Debug)]
pub(crate) struct CallSpan(pub(crate) Span);

/// The record of a call that has begun and not ended.
#[derive(Debug)]
pub(crate) struct CallRecord {
    pub(super) series: Series,
    one_way: bool,
    /// Whether the metrics count the call as in flight.
    pub(super) is_counted: bool,
    pub(super) started: Instant,
    pub(super) queued: Duration,
    pub(super) deadline: Option<Instant>,
    pub(super) first_reply: Option<Duration>,
    pub(super) request_messages: u64,
    pub(super) request_bytes: u64,
    pub(super) reply_messages: u64,
    pub(super) reply_bytes: u64,
    pub(super) attempts: u32,
    /// `None` if there are only metrics.
    pub(super) details: Option<Box<RecordDetails>>,
}

/// How much before its deadline a call may end because of that deadline: its other side has another clock,
/// and looks at it in steps. See `serve/inbound/future.rs`, which has the same time.
const EARLY: Duration = Duration::from_millis(10);

impl CallRecord {
    pub(super) fn new(series: Series, begin: &CallBegin<'_>) -> Self {
        Self {
            series,
            one_way: begin.one_way,
            is_counted: false,
            started: begin.started,
            queued: begin.queued,
            deadline: begin.deadline,
            first_reply: None,
            request_messages: u64::from(begin.request.is_some()),
            request_bytes: begin.request.unwrap_or(0) as u64,
            reply_messages: 0,
            reply_bytes: 0,
            attempts: 1,
            details: None,
        }
    }

    /// Counts requests of a stream.
    pub(crate) fn add_requests(&mut self, messages: u64, bytes: u64) {
        self.request_messages += messages;
        self.request_bytes += bytes;
    }

    /// Counts replies; `now` is called for the first one.
    pub(crate) fn add_replies(&mut self, messages: u64, bytes: u64, now: impl FnOnce() -> Instant) {
        self.reply_messages += messages;
        self.reply_bytes += bytes;
        if self.first_reply.is_none() && messages > 0 {
            self.first_reply = Some(now().saturating_duration_since(self.started));
        }
    }

    /// Counts the only reply, which ends the call.
    #[inline]
    pub(crate) fn add_reply(&mut self, bytes: usize, now: Instant) {
        if !self.one_way {
            self.add_replies(1, bytes as u64, || now);
        }
    }

    /// Counts further tries to send the call.
    pub(super) fn add_attempts(&mut self, attempts: u32) {
        self.attempts += attempts;
    }

    /// The code of a call that was dropped, or cancelled by its caller. A caller that has waited in vain
    /// cancels too, so after the deadline that is the reason.
    pub(crate) fn code_of_drop(&self, now: Instant) -> Code {
        let early = self.deadline.and_then(|at| at.checked_sub(EARLY));
        match early.is_some_and(|at| at <= now) {
            true => Code::DeadlineExceeded,
            false => Code::Cancelled,
        }
    }

    /// The span in which the call is served.
    pub(crate) fn span(&self) -> Option<&Span> {
        let details = self.details.as_ref()?;
        details.span.as_ref().map(|(_, span)| span)
    }
}

/// The parts of a record that observers need, and metrics do not.
#[derive(Debug)]
pub(super) struct RecordDetails {
    pub(super) side: CallSide,
    ids: MethodIds,
    descriptor: Option<MethodDescriptor>,
    far_end: Arc<FarEnd>,
    identity: Option<Identity>,
    call_depth: u32,
    /// Empty unless an observer wants it.
    pub(super) metadata: Metadata,
    pub(super) trace: Option<TraceContext>,
    /// The span, and the index of the observer that has made it.
    pub(super) span: Option<(usize, Span)>,
}

impl RecordDetails {
    pub(super) fn new(begin: &CallBegin<'_>, keeps_metadata: bool) -> Self {
        let mut details = Self {
            side: begin.side,
            ids: begin.ids,
            descriptor: begin.descriptor.cloned(),
            far_end: begin.far_end.clone(),
            identity: begin.identity.cloned(),
            call_depth: begin.call_depth,
            metadata: Metadata::new(),
            trace: None,
            span: None,
        };
        details.keep_metadata(begin.metadata, keeps_metadata);
        details
    }

    /// Keeps the metadata of the request, or only the trace in it.
    pub(super) fn keep_metadata(&mut self, metadata: &Metadata, keeps_all: bool) {
        if metadata.is_empty() {
            return;
        }
        self.trace = self.trace.take().or_else(|| TraceContext::of(metadata));
        if keeps_all {
            self.metadata = metadata.clone();
        }
    }

    pub(super) fn call<'a>(
        &'a self,
        metadata: &'a Metadata,
        started: Instant,
        deadline: Option<Instant>,
        span: Option<&'a Span>,
    ) -> ObservedCall<'a> {
        ObservedCall {
            side: self.side,
            ids: self.ids,
            descriptor: self.descriptor.as_ref(),
            protocol: self.far_end.protocol,
            peer: self.far_end.peer,
            address: self.far_end.address.as_ref(),
            identity: self.identity.as_ref(),
            metadata,
            started,
            deadline,
            call_depth: self.call_depth,
            trace: self.trace.as_ref(),
            span,
        }
    }
}
