//! Parents of spans, in this process and from others.

use opentelemetry::trace::SpanId;
use tracing::{Instrument as _, info_span};
use wawo_otel::Traces;

use crate::support::{Connection, Exported, Node, attribute, kinds, script};

/// A span of another process, which is sampled.
const REMOTE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn the_calls_of_handlers_are_one_chain_and_metadata_names_the_span_that_made_the_call() {
    let exported = Exported::begin();
    let last = Node::default();
    let first = Node::before(last.traced(Traces::new()));
    let echo = first.traced(Traces::new());
    echo.act(script("next")).await.unwrap();

    let spans = exported.chain();
    assert_eq!(kinds(&spans), "client server client server");
    assert_eq!(spans[0].parent_span_id, SpanId::INVALID);
    let depths = spans
        .iter()
        .map(|span| attribute(span, "wawo.depth").unwrap());
    assert_eq!(depths.collect::<Vec<_>>(), ["0", "0", "1", "1"]);
    for (node, span) in [(first, &spans[0]), (last, &spans[2])] {
        let context = &span.span_context;
        let parent = format!("00-{}-{}-01", context.trace_id(), context.span_id());
        assert_eq!(node.seen()[0].traceparent, Some(parent));
    }
}

#[tokio::test]
async fn a_call_is_a_child_of_the_span_in_which_it_is_made() {
    let exported = Exported::begin();
    let node = Node::before(Node::default().traced(Traces::new()));
    let echo = node.traced(Traces::new());
    let call = echo.act(script("inside")).instrument(info_span!("outside"));
    call.await.unwrap();
    let spans = exported.chain();
    assert_eq!(kinds(&spans), "other client server other client server");
    assert_eq!((&*spans[0].name, &*spans[3].name), ("outside", "inside"));
}

#[tokio::test]
async fn a_span_of_another_process_is_the_parent_and_its_state_goes_on() {
    let exported = Exported::begin();
    let last = Node::default();
    let echo = Node::before(last.traced(Traces::new())).traced(Traces::new());
    let call = echo.act(script("next"));
    let call = call
        .metadata("traceparent", REMOTE)
        .metadata("tracestate", "vendor=1");
    call.await.unwrap();
    let spans = exported.chain();
    assert_eq!(kinds(&spans), "client server client server");
    assert!(spans[0].parent_span_is_remote);
    assert_eq!(spans[0].parent_span_id.to_string(), "00f067aa0ba902b7");
    let trace = spans[3].span_context.trace_id().to_string();
    assert_eq!(trace, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(last.seen()[0].tracestate.as_deref(), Some("vendor=1"));
    let id = attribute(&spans[1], "trace_id");
    assert_eq!(id, Some(trace));
}

#[tokio::test]
async fn a_task_of_a_handler_calls_within_the_span_of_the_handler() {
    let exported = Exported::begin();
    let node = Node::before(Node::default().traced(Traces::new()));
    let connection = Connection::between(Node::default(), node).await;
    connection.stub().act(script("spawned")).await.unwrap();
    assert_eq!(kinds(&exported.chain()), "client server client server");
}
