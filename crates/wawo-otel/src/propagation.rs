//! The trace of a call in its metadata: `traceparent` and `tracestate`, as in the W3C recommendation "Trace Context".

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use wawo::{Metadata, observe::TraceContext};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// The span of another process that the metadata of a call names.
pub(crate) fn extract(trace: &TraceContext, metadata: &Metadata) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(trace.trace_id),
        SpanId::from_bytes(trace.span_id),
        TraceFlags::new(trace.flags) & TraceFlags::SAMPLED,
        true,
        trace_state(metadata),
    )
}

/// The trace state may be in several entries, which are parts of one list. One that cannot be read is left out, and
/// the trace goes on without it, as the recommendation says.
fn trace_state(metadata: &Metadata) -> TraceState {
    let entries = metadata.iter().filter(|(key, _)| *key == TRACESTATE);
    let texts = entries.filter_map(|(_, value)| std::str::from_utf8(value).ok());
    let list = texts.collect::<Vec<_>>().join(",");
    list.parse().unwrap_or_default()
}

/// Makes the metadata of a call name this span, in place of any other.
pub(crate) fn inject(span: &SpanContext, metadata: &mut Metadata) {
    let Some(trace) = trace_context(span) else {
        return;
    };
    replace(metadata, TRACEPARENT, trace.to_string());
    replace(metadata, TRACESTATE, span.trace_state().header());
}

/// The contents of `traceparent` for this span; `None` if it is none of OpenTelemetry.
pub(crate) fn trace_context(span: &SpanContext) -> Option<TraceContext> {
    let (trace_id, span_id) = (span.trace_id().to_bytes(), span.span_id().to_bytes());
    TraceContext::new(trace_id, span_id, span.is_sampled())
}

fn replace(metadata: &mut Metadata, key: &'static str, value: String) {
    metadata.remove(key);
    if !value.is_empty() {
        // Values of the trace state are printable ASCII, or they could not have come as metadata.
        let _ = metadata.append(key, value);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
    use wawo::{Metadata, observe::TraceContext};

    use super::{extract, inject};

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn metadata(entries: &[(&'static str, &'static str)]) -> Metadata {
        let mut metadata = Metadata::new();
        for (key, value) in entries {
            metadata.append(*key, *value).unwrap();
        }
        metadata
    }

    fn extracted(metadata: &Metadata) -> SpanContext {
        extract(&TraceContext::of(metadata).unwrap(), metadata)
    }

    #[test]
    fn a_span_goes_through_metadata_with_its_state() {
        let parts = [
            ("traceparent", PARENT),
            ("tracestate", "a=1"),
            ("tracestate", "b=2,c=3"),
        ];
        let span = extracted(&metadata(&parts));
        assert!(span.is_remote() && span.is_sampled());
        assert_eq!(span.trace_state().header(), "a=1,b=2,c=3");

        let mut injected = metadata(&[]);
        inject(&span, &mut injected);
        assert_eq!(injected.text("traceparent"), Some(PARENT));
        assert_eq!(injected.text("tracestate"), Some("a=1,b=2,c=3"));
        assert_eq!(extracted(&injected), span);
    }

    #[test]
    fn an_injected_span_takes_the_place_of_an_inherited_one() {
        let other = PARENT.replace("4bf", "111");
        let mut metadata = metadata(&[("tracestate", "old=1"), ("other", "kept")]);
        metadata.append("traceparent", other).unwrap();
        let span = SpanContext::new(
            TraceId::from(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
            SpanId::from(0x00f0_67aa_0ba9_02b7),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        );
        inject(&span, &mut metadata);
        let entries: Vec<_> = metadata
            .iter()
            .map(|(key, value)| (key, &value[..]))
            .collect();
        assert_eq!(
            entries,
            [("other", &b"kept"[..]), ("traceparent", PARENT.as_bytes())]
        );
    }

    #[test]
    fn a_state_that_cannot_be_read_is_left_out() {
        let span = extracted(&metadata(&[
            ("traceparent", PARENT),
            ("tracestate", "no list"),
        ]));
        assert_eq!(span.trace_state(), &TraceState::NONE);
        assert!(span.is_valid());
    }
}
