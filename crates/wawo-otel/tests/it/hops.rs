//! Traces over connections, on which both ends call each other.

use opentelemetry_proto::{
    tonic::{
        collector::trace::v1::ExportTraceServiceRequest,
        trace::v1::{Span, span::SpanKind},
    },
    transform::trace::tonic::group_spans_by_resource_and_scope,
};
use opentelemetry_sdk::{Resource, trace::SpanData};
use prost::Message as _;

use crate::support::{Connection, Exported, Node, attribute, kinds, script};

const THREE_HOPS: &str = "client server client server client server";

#[tokio::test]
async fn three_hops_over_three_programs_are_one_chain_in_otlp_too() {
    let exported = Exported::begin();
    let second = Connection::between(Node::default(), Node::default()).await;
    let first = Connection::between(Node::default(), Node::before(second.stub())).await;
    // The first program calls the second, which calls the third, which calls the second back.
    first.stub().act(script("next back")).await.unwrap();

    let spans = exported.chain();
    assert_eq!(kinds(&spans), THREE_HOPS);
    let depths = spans
        .iter()
        .map(|span| attribute(span, "wawo.depth").unwrap());
    assert_eq!(depths.collect::<Vec<_>>(), ["0", "0", "1", "1", "2", "2"]);

    let decoded = through_otlp(spans);
    let root = &decoded[0];
    assert!(root.parent_span_id.is_empty());
    for pair in decoded.windows(2) {
        assert_eq!(pair[1].parent_span_id, pair[0].span_id);
        assert_eq!(pair[1].trace_id, root.trace_id);
    }
    let kinds = decoded.iter().map(Span::kind);
    let both = [SpanKind::Client, SpanKind::Server];
    assert!(kinds.eq(both.into_iter().cycle().take(6)));
}

#[tokio::test]
async fn three_hops_in_both_directions_of_a_connection_are_one_chain() {
    let exported = Exported::begin();
    let connection = Connection::between(Node::default(), Node::default()).await;
    connection.stub().act(script("back back")).await.unwrap();
    assert_eq!(kinds(&exported.chain()), THREE_HOPS);
}

/// The spans, as a collector gets them.
fn through_otlp(spans: Vec<SpanData>) -> Vec<Span> {
    let resource = (&Resource::builder_empty().build()).into();
    let request = ExportTraceServiceRequest {
        resource_spans: group_spans_by_resource_and_scope(spans, &resource),
    };
    let decoded = ExportTraceServiceRequest::decode(&*request.encode_to_vec()).unwrap();
    assert_eq!(decoded, request);
    let scopes = decoded
        .resource_spans
        .into_iter()
        .flat_map(|it| it.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}
