//! The fields of spans, and their names in OpenTelemetry's conventions.

use opentelemetry::{
    Value,
    trace::{SpanKind, Status},
};
use opentelemetry_semantic_conventions::attribute::{
    ERROR_TYPE, NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT, OTEL_STATUS_CODE, RPC_METHOD,
    RPC_METHOD_ORIGINAL, RPC_RESPONSE_STATUS_CODE, RPC_SYSTEM_NAME, SERVER_ADDRESS, SERVER_PORT,
};
use wawo::{
    MethodDescriptor, MethodId, Peer, RawClient, Server, ServiceDescriptor, ServiceId, Shape,
};
use wawo_otel::Traces;

use crate::support::{
    Connection, EchoClient, EchoServer, Exported, Node, attribute, kinds, script,
};

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

#[tokio::test]
async fn over_tcp_a_span_has_addresses_and_ports() {
    let exported = Exported::begin();
    let service = EchoServer::new(Node::default());
    let server = Server::builder()
        .add_service(service)
        .observe(Traces::new());
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let address = server.addresses()[0].to_string();
    tokio::spawn(server.run());
    let peer = Peer::builder(&*address).observe(Traces::new()).connect();
    let peer = peer.await.unwrap();
    EchoClient::new(&peer).act(script("")).await.unwrap();

    let port = address.rsplit(':').next().map(str::to_owned);
    let host = Some("127.0.0.1".to_owned());
    for span in exported.chain() {
        let of = |key| attribute(&span, key);
        assert_eq!(of(NETWORK_PEER_ADDRESS), host);
        let (server, peer) = ((of(SERVER_ADDRESS), of(SERVER_PORT)), of(NETWORK_PEER_PORT));
        match span.span_kind {
            SpanKind::Client => assert_eq!((server, &peer), ((host.clone(), port.clone()), &port)),
            _ => assert!(server == (None, None) && peer.is_some() && peer != port),
        }
        assert!(of("wawo.peer.id").is_some());
    }
}

#[tokio::test]
async fn a_method_without_a_name_here_has_its_ids() {
    let exported = Exported::begin();
    let method = MethodDescriptor::builder("Unknown", Shape::Unary).id(MethodId(99));
    let service = ServiceDescriptor::builder("tests.echo.Echo").id(ServiceId(7));
    let service = service.method(method).build().unwrap();
    let connection = Connection::between(Node::default(), Node::default()).await;
    let method = service.method_by_name("Unknown").unwrap();
    let call = RawClient::new(&connection.to_server).call(method, "");
    call.await.unwrap_err();
    let spans = exported.chain();
    let names = spans
        .iter()
        .map(|span| (&*span.name, attribute(span, RPC_METHOD_ORIGINAL)));
    let original = Some("7/99".to_owned());
    assert!(names.eq([("tests.echo.Echo/Unknown", None), ("_OTHER", original)]));
}
