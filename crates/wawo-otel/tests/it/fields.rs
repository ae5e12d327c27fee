//! The fields of spans, and their names in OpenTelemetry's conventions.

use opentelemetry::{
    Value,
    trace::{SpanKind, Status},
};
use opentelemetry_semantic_conventions::attribute::{
    ERROR_TYPE, OTEL_STATUS_CODE, RPC_METHOD, RPC_RESPONSE_STATUS_CODE, RPC_SYSTEM_NAME,
};
use wawo_otel::Traces;

use crate::support::{Exported, Node, attribute, kinds, script};

const ACT: &str = "tests.echo.Echo/Act";

#[tokio::test]
async fn a_call_has_a_span_on_both_sides_with_fields_of_the_conventions() {
    let exported = Exported::begin();
    let echo = Node::default().traced(Traces::new());
    echo.act(script("")).await.unwrap();
    let spans = exported.chain();
    assert_eq!(kinds(&spans), "client server");
    for span in &spans {
        assert_eq!(span.name, ACT);
        assert_eq!(span.status, Status::Unset);
        let of = |key| attribute(span, key);
        assert_eq!(of(RPC_METHOD).as_deref(), Some(ACT));
        assert_eq!(of(RPC_SYSTEM_NAME).as_deref(), Some("wawo"));
        assert_eq!(of(RPC_RESPONSE_STATUS_CODE).as_deref(), Some("OK"));
        assert_eq!(of(ERROR_TYPE), None);
        let numbers = span
            .attributes
            .iter()
            .filter(|it| matches!(it.value, Value::I64(_)));
        assert!(
            numbers
                .map(|it| it.key.as_str())
                .any(|key| key == "wawo.depth")
        );
        // The layer makes the status, the name and the kind of the span of these.
        for key in [OTEL_STATUS_CODE, "otel.name", "otel.kind"] {
            assert_eq!(of(key), None);
        }
    }
}

#[tokio::test]
async fn a_failure_is_one_of_the_caller_only_if_the_caller_made_it() {
    let exported = Exported::begin();
    let echo = Node::default().traced(Traces::new());
    echo.act(script("unknown")).await.unwrap_err();
    for span in exported.chain() {
        let of = |key| attribute(&span, key);
        assert_eq!(of(RPC_RESPONSE_STATUS_CODE).as_deref(), Some("NOT_FOUND"));
        let (error, status) = match span.span_kind {
            SpanKind::Client => (Some("NOT_FOUND"), Status::error("no word `unknown`")),
            _ => (None, Status::Unset),
        };
        assert_eq!(of(ERROR_TYPE).as_deref(), error);
        assert_eq!(span.status, status);
    }
}
