//! The observer that makes traces.

use opentelemetry::Context;
use tracing::{Level, Span, level_filters::LevelFilter};
use tracing_opentelemetry::{OpenTelemetrySpanExt as _, SetParentError};
use wawo::{
    Metadata,
    observe::{CallSide, CallSummary, Observe, ObservedCall, Spans, TraceContext, Wants},
};

use crate::{
    parent::{self, span_of},
    propagation,
    sampling::{SampleRatio, random},
    setup::SetupReport,
};

/// Makes the spans of [`Spans`], links them to those of other processes, and passes them on with calls.
///
/// A server and each peer get one of their own, by `.observe(Traces::new())`.
///
/// # Parents
///
/// On the server, the parent of a span is in the metadata `traceparent` and `tracestate` of the call, as the W3C
/// recommendation "Trace Context" has it. On the client, it is the current span where the call begins: at the first
/// poll of its future. In a handler that is the span of the handler's call, or one inside of it. A task that the
/// handler spawns has it if the task is instrumented with the current span.
///
/// # Sampling
///
/// A call whose parent is sampled is traced. If its parent is not sampled, here or in another process, it gets no
/// span, and nothing is added to its metadata. A call without a parent may begin a trace:
///
/// | call without a parent | begins a trace |
/// |---|---|
/// | on a server, or made outside of handlers | as often as the [ratio](Self::sample_ratio) says |
/// | made by a handler | never: the call of its handler was left out |
/// | any, at the ratio 1 | always: no call is left out, so its caller makes no traces |
///
/// Calls that are not traced carry nothing. So the next server decides about them anew, at its own ratio. A call that
/// a handler makes [detached](wawo::Call::detached), or in a task without its context, counts as made outside.
///
/// The sampler of the SDK decides about the calls that are left. Its default is right: it records them all. A ratio
/// here costs less than one there, because it makes no span for the other calls.
#[derive(Debug)]
pub struct Traces {
    ratio: SampleRatio,
    setup: SetupReport,
}

impl Traces {
    /// Traces all calls, unless their callers decided otherwise.
    pub fn new() -> Self {
        Self {
            ratio: SampleRatio::ALL,
            setup: SetupReport::default(),
        }
    }

    /// The share of new traces that are recorded, chosen at random. Default 1: all. Numbers below 0 and NaN are taken
    /// for 0, and those above 1 for 1.
    #[must_use = "returns the changed value"]
    pub fn sample_ratio(mut self, ratio: f64) -> Self {
        self.ratio = SampleRatio::new(ratio);
        self
    }

    /// Whether a call without a parent begins a trace.
    fn begins_trace(&self, call: &ObservedCall<'_>) -> bool {
        let is_of_handler = call.side() == CallSide::Client && call.call_depth() > 0;
        self.ratio.is_all() || (!is_of_handler && self.ratio.includes(random()))
    }

    /// The parent of a call that is traced.
    fn sampled_parent(&self, call: &ObservedCall<'_>) -> Option<Context> {
        match parent::of(call) {
            Some(parent) => span_of(&parent).is_sampled().then_some(parent),
            None => self.begins_trace(call).then(Context::new),
        }
    }

    fn link(&self, span: &Span, parent: Context) {
        if let Err(SetParentError::LayerNotFound) = span.set_parent(parent) {
            self.setup.no_layer();
        }
    }
}

impl Default for Traces {
    fn default() -> Self {
        Self::new()
    }
}

impl Observe for Traces {
    fn wants(&self) -> Wants {
        Spans.wants()
    }

    fn began(&self, call: &ObservedCall<'_>) -> Option<Span> {
        if LevelFilter::current() < Level::DEBUG {
            self.setup.level_filter();
            return None;
        }
        let parent = self.sampled_parent(call)?;
        let Some(span) = Spans.began(call) else {
            // Not every filter tells its level.
            self.setup.level_filter();
            return None;
        };
        self.link(&span, parent);
        Some(span)
    }

    fn inject(&self, span: &Span, metadata: &mut Metadata) {
        let span = span_of(&span.context());
        if span.is_sampled() {
            propagation::inject(&span, metadata);
        }
    }

    fn trace_context(&self, span: &Span) -> Option<TraceContext> {
        propagation::trace_context(&span_of(&span.context()))
    }

    fn ended(&self, call: &ObservedCall<'_>, end: &CallSummary<'_>) {
        Spans.ended(call, end);
    }
}
