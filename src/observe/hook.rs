//! The hook itself.

use tracing::Span;
use wawo_protocol::Metadata;

use crate::observe::{
    call::{CallSummary, ObservedCall},
    trace_context::TraceContext,
};

/// Observes the calls of a server, a peer or an [`InProcess`](crate::InProcess).
///
/// Its functions run where the call is begun, served or dropped, so they must not block. A panic in one of
/// them is logged, and changes nothing for the call.
///
/// ```
/// use wawo::observe::{CallSummary, Observe, ObservedCall};
///
/// struct SlowCalls;
///
/// impl Observe for SlowCalls {
///     fn ended(&self, call: &ObservedCall<'_>, end: &CallSummary<'_>) {
///         if end.took.as_millis() > 500 {
///             eprintln!("{} took {:?}", call.path(), end.took);
///         }
///     }
/// }
///
/// let server = wawo::Server::builder().observe(SlowCalls);
/// ```
pub trait Observe: Send + Sync + 'static {
    /// The parts of calls that the observer needs. It is asked once, when the observer is given to a builder.
    /// Default: the ends of all.
    fn wants(&self) -> Wants {
        Wants::ENDS
    }

    /// A call begins: on the client when it is started, on the server when its first packet was read.
    /// Called only if [`wants`](Self::wants) says so.
    ///
    /// The handler and its stream of replies are polled inside of the span that this returns. A call has one
    /// span: that of the first observer that returns one; those after it are not asked.
    fn began(&self, call: &ObservedCall<'_>) -> Option<Span> {
        let _ = call;
        None
    }

    /// Adds metadata to a call of this side, such as the trace that `span` belongs to. Only for the
    /// observer that has made the span, on the client.
    fn inject(&self, span: &Span, metadata: &mut Metadata) {
        let _ = (span, metadata);
    }

    /// The trace that a span belongs to, for the [`ended`](Self::ended) of all observers. `None` by
    /// default; then they get that of the metadata, if there is one.
    fn trace_context(&self, span: &Span) -> Option<TraceContext> {
        let _ = span;
        None
    }

    /// A call has ended. It is called exactly once: for each call that began, or for each that got a span of
    /// this observer, as [`wants`](Self::wants) says. A call that is dropped ends in that drop, which may be in a
    /// thread that ends.
    fn ended(&self, call: &ObservedCall<'_>, end: &CallSummary<'_>) {
        let _ = (call, end);
    }
}

/// The parts of calls that an [`Observe`] needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wants {
    pub(crate) ends: bool,
    pub(crate) begins: bool,
    pub(crate) metadata: bool,
}

impl Wants {
    /// The ends of all calls.
    pub const ENDS: Self = Self {
        ends: true,
        begins: false,
        metadata: false,
    };

    /// The begins of all calls, and the ends of those for which it has made a span. A call without a span
    /// costs less than one whose end is wanted.
    pub const SPANS: Self = Self {
        ends: false,
        begins: true,
        metadata: false,
    };

    /// Also the begins: [`Observe::began`] and [`Observe::inject`] are called.
    #[must_use = "returns the changed value"]
    pub const fn begins(self) -> Self {
        Self {
            begins: true,
            ..self
        }
    }

    /// Also the metadata of the request at the end: [`ObservedCall::metadata`], which is empty there
    /// otherwise.
    #[must_use = "returns the changed value"]
    pub const fn metadata(self) -> Self {
        Self {
            metadata: true,
            ..self
        }
    }

    /// All that either wants.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            ends: self.ends || other.ends,
            begins: self.begins || other.begins,
            metadata: self.metadata || other.metadata,
        }
    }
}
