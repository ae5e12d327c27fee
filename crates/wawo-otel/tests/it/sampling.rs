//! Calls that are not traced.

use opentelemetry_sdk::trace::Sampler;
use wawo_otel::Traces;

use crate::support::{Connection, Exported, Node, Seen, kinds, script};

/// A span of another process, which is not sampled.
const NOT_SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// A ratio below 1 that leaves out one call in 2^53.
const NEARLY_ALL: f64 = 1.0 - f64::EPSILON / 2.0;

const NOTHING: Seen = Seen {
    traceparent: None,
    tracestate: None,
};

#[tokio::test]
async fn a_call_that_is_left_out_makes_no_span_and_carries_nothing() {
    let exported = Exported::begin();
    let node = Node::default();
    let connection = Connection::sampled(Node::default(), node.clone(), 0.0).await;
    let in_process = node.traced(Traces::new().sample_ratio(0.0));
    for echo in [connection.stub(), in_process] {
        echo.act(script("")).await.unwrap();
    }
    assert_eq!(kinds(&exported.spans()), "");
    assert_eq!(node.seen(), [NOTHING, NOTHING]);
}

#[tokio::test]
async fn calls_of_a_handler_whose_call_was_left_out_begin_no_trace() {
    let exported = Exported::begin();
    let last = Node::default();
    let node = Node::before(last.traced(Traces::new().sample_ratio(NEARLY_ALL)));
    let echo = node.traced(Traces::new().sample_ratio(0.0));
    echo.act(script("next")).await.unwrap();
    // The server of the second call decides about it: it cannot know that the first was left out.
    assert_eq!(kinds(&exported.spans()), "server");
    assert_eq!(last.seen(), [NOTHING]);
    echo.act(script("detached")).await.unwrap();
    assert_eq!(kinds(&exported.spans()), "server client server");
}

#[tokio::test]
async fn at_the_ratio_1_a_call_of_a_handler_without_traces_begins_one() {
    let exported = Exported::begin();
    let node = Node::before(Node::default().traced(Traces::new()));
    node.untraced().act(script("next")).await.unwrap();
    assert_eq!(kinds(&exported.chain()), "client server");
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_elsewhere_is_not_traced_here_and_goes_on_as_it_came() {
    let exported = Exported::begin();
    let (last, traces) = (Node::default(), || Traces::new());
    let node = Node::before(last.traced(traces()));
    let echo = node.traced(traces());
    let call = echo
        .act(script("next"))
        .metadata("traceparent", NOT_SAMPLED);
    call.await.unwrap();
    assert_eq!(kinds(&exported.spans()), "");
    for node in [node, last] {
        let seen = node.seen();
        assert_eq!(seen[0].traceparent.as_deref(), Some(NOT_SAMPLED));
    }
}

#[tokio::test]
async fn a_sampler_of_the_sdk_that_drops_a_trace_drops_all_of_it() {
    let exported = Exported::sampled(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)));
    let last = Node::default();
    let node = Node::before(last.traced(Traces::new()));
    let echo = node.traced(Traces::new());
    echo.act(script("next")).await.unwrap();
    assert_eq!(kinds(&exported.spans()), "");
    assert_eq!((node.seen(), last.seen()), (vec![NOTHING], vec![NOTHING]));
}

#[tokio::test]
async fn without_a_subscriber_nothing_happens() {
    let node = Node::default();
    let none = tracing::subscriber::NoSubscriber::new();
    let _guard = tracing::subscriber::set_default(none);
    node.traced(Traces::new()).act(script("")).await.unwrap();
    assert_eq!(node.seen(), [NOTHING]);
}
