//! The span that caused a call.

use opentelemetry::{
    Context,
    trace::{SpanContext, TraceContextExt as _},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use wawo::observe::{CallSide, ObservedCall};

use crate::propagation;

/// The context with the span that caused a call, if there is one.
///
/// On the server that is the one in the metadata. On the client it is the span in which the call is made; a span in
/// the metadata is that of the handler's own call, or of a program that does not use this crate.
pub(crate) fn of(call: &ObservedCall<'_>) -> Option<Context> {
    match call.side() {
        CallSide::Server => remote(call).or_else(local),
        CallSide::Client => local().or_else(|| remote(call)),
    }
}

fn remote(call: &ObservedCall<'_>) -> Option<Context> {
    let span = propagation::extract(call.trace_context()?, call.metadata());
    Some(Context::new().with_remote_span_context(span))
}

/// The context of the current span of `tracing`; or that of OpenTelemetry, which code may use without `tracing`.
fn local() -> Option<Context> {
    let contexts = [|| Span::current().context(), Context::current];
    let mut contexts = contexts.into_iter().map(|context| context());
    contexts.find(|context| span_of(context).is_valid())
}

/// The span in a context; one that is not valid, if there is none.
pub(crate) fn span_of(context: &Context) -> SpanContext {
    context.span().span_context().clone()
}
