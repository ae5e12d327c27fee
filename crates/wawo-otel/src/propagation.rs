//! The trace of a call in its metadata: `traceparent` and `tracestate`, as in the W3C recommendation "Trace Context".

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use wawo::{Metadata, observe::TraceContext};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// How long a trace state may be. The recommendation asks for no more, and every call of a handler carries it on, so
/// that a longer one would fill the metadata of these calls.
const MAX_STATE_BYTES: usize = 512;

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
    bounded(&list).parse().unwrap_or_default()
}

/// The first members of a list, up to [`MAX_STATE_BYTES`].
fn bounded(list: &str) -> &str {
    if list.len() <= MAX_STATE_BYTES {
        return list;
    }
    let head = list.get(..=MAX_STATE_BYTES).unwrap_or("");
    &list[..head.rfind(',').unwrap_or(0)]
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

    use super::{bounded, extract, inject};

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
    fn a_state_is_cut_between_two_members_at_its_limit() {
        let member = |key: char, bytes: usize| format!("{key}={}", "x".repeat(bytes - 2));
        let fits = format!("{},{}", member('a', 255), member('b', 256));
        assert_eq!((fits.len(), bounded(&fits)), (512, &*fits));
        assert_eq!(bounded(&format!("{fits},c=1")), fits);
        let too_long = format!("{},{}", member('a', 256), member('b', 256));
        assert_eq!(bounded(&too_long), member('a', 256));
        assert_eq!(bounded(&member('a', 513)), "");
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
