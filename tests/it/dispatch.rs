//! The status that a caller gets when its call cannot be served.

use std::{
    sync::{Arc, Mutex},
    task,
};

use bytes::Bytes;
use prost::Message as _;
use tower::{Service, ServiceExt};
use wawo::{
    Body, CallTarget, Code, Config, InProcess, MessageBytes, Metadata, MethodId, Peer, Request,
    Response, ResponseFuture, Result, Serve, Server, ServiceDescriptor, ServiceId, Status,
    Streaming,
};

use crate::support::{
    EchoClient, EchoServer, Message, Parrot, client_of, echo_service, message, pair, pair_with,
};

async fn call(peer: &Peer, service: u32, method: u32, body: Body) -> Status {
    let request = Request::by_id(ServiceId(service), MethodId(method), false, body);
    let mut peer = peer.clone();
    let reply = peer.ready().await.unwrap().call(request).await;
    reply.expect_err("the call cannot be served")
}

fn nothing() -> Body {
    Body::One(MessageBytes::default())
}

#[tokio::test]
async fn a_one_way_message_that_is_a_stream_is_refused_and_harms_no_other_call() {
    let pair = pair().await;
    let in_process = InProcess::new(EchoServer::new(Parrot::default()));
    let starts = [
        CallTarget::handle(&pair.to_server),
        CallTarget::handle(&in_process),
    ];
    for start in starts {
        let stream = Streaming::once(Bytes::new());
        let request = Request::new(&echo_service::method::NOTE, Body::Many(stream));
        let status = start.start(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.is_safe_to_retry());
        let text =
            "a one-way message is a single message, and this body is a stream: use `Body::One`";
        assert_eq!(status.message(), text);
    }
    let echo = EchoClient::new(&pair.to_server);
    assert_eq!(echo.say(message("a")).await.unwrap().data, "a");
}

#[tokio::test]
async fn an_unknown_service_or_method_is_named() {
    let pair = pair().await;
    let status = call(&pair.to_server, 8, 1, nothing()).await;
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(
        status.message(),
        "no service with id 8 is served by the callee; served: tests.echo.Echo"
    );
    assert!(status.is_safe_to_retry());
    let status = call(&pair.to_server, 7, 99, nothing()).await;
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(
        status.message(),
        "`tests.echo.Echo` has no method with id 99; it has Say, Act, Note, Repeat, Join, Talk"
    );
    assert!(status.is_safe_to_retry());
}

#[tokio::test]
async fn a_message_that_cannot_be_decoded_names_its_method() {
    let pair = pair().await;
    let garbage = Body::One(Bytes::from_static(b"\xff\xff").into());
    let status = call(&pair.to_server, 7, 1, garbage).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    let text = "the request of 2 bytes for `tests.echo.Echo/Say` cannot be decoded: ";
    assert!(status.message().starts_with(text), "{status}");
    // The connection still works.
    let echo = EchoClient::new(&pair.to_server);
    assert_eq!(echo.say(message("fine")).await.unwrap().data, "fine");
}

#[tokio::test]
async fn a_method_that_takes_one_request_gets_neither_none_nor_two() {
    let pair = pair().await;
    for (requests, got) in [(vec![], "none"), (vec![Ok(Bytes::new()); 2], "several")] {
        let requests = Streaming::new(futures::stream::iter(requests));
        let status = call(&pair.to_server, 7, 1, Body::Many(requests)).await;
        assert_eq!(status.code(), Code::Unimplemented);
        let text = format!("`tests.echo.Echo/Say` takes one request, and got {got}");
        assert_eq!(status.message(), text);
    }
}

/// A proxy sends a call on in the form in which it came, and so does any program that makes requests of
/// encoded messages: one message may be a stream.
#[tokio::test]
async fn one_request_may_come_as_a_stream_over_any_medium() {
    let pair = pair().await;
    let in_process = InProcess::new(EchoServer::new(Parrot::default()));
    let starts = [
        CallTarget::handle(&pair.to_server),
        CallTarget::handle(&in_process),
    ];
    for start in starts {
        let hello = Bytes::from(message("hi").encode_to_vec());
        let body = Body::Many(Streaming::once(hello.clone()));
        let request = Request::new(&echo_service::method::SAY, body);
        let Body::One(reply) = start.start(request).await.unwrap().into_body() else {
            panic!("`say` has one reply");
        };
        assert_eq!(reply.into_bytes(), hello);
    }
}

/// A service whose one reply is a stream of as many messages as its request has bytes.
async fn replies_in_streams(request: Request) -> Result<Response, Status> {
    let (_, Body::One(request)) = request.into_parts() else {
        panic!("one request");
    };
    let request = Message::decode(request.into_bytes()).unwrap();
    let replies = vec![Ok(Bytes::from_static(b"")); request.data.len()];
    let replies = Streaming::new(futures::stream::iter(replies));
    let mut metadata = Metadata::new();
    metadata.append("kind", "apart").unwrap();
    Ok(Response::new(metadata, Body::Many(replies)))
}

#[tokio::test]
async fn one_reply_may_come_as_a_stream_and_must_be_one() {
    let server = Server::builder().fallback(tower::service_fn(replies_in_streams));
    let mut server = server.build().unwrap();
    let echo = EchoClient::new(&client_of(&mut server).await);
    let (reply, metadata) = echo.say(message("1")).with_metadata().await.unwrap();
    assert_eq!(
        (&*reply.data, metadata.text("kind")),
        (&b""[..], Some("apart"))
    );
    for (data, sent) in [("", "none"), ("12", "several")] {
        let status = echo.say(message(data)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        let text = format!("`tests.echo.Echo/Say` has one reply, and the callee sent {sent}");
        assert_eq!(status.message(), text);
    }
}

#[tokio::test]
async fn a_stream_where_one_reply_was_expected_is_an_error() {
    let pair = pair().await;
    let mut peer = pair.to_server.clone();
    let request = Request::new(
        &echo_service::method::REPEAT,
        Body::One(MessageBytes::default()),
    );
    let reply = peer.ready().await.unwrap().call(request).await.unwrap();
    assert!(matches!(reply.body(), Body::Many(_)));
}

#[tokio::test]
async fn a_message_over_the_limit_of_the_peer_is_refused_before_it_is_sent() {
    let config = Config::builder()
        .max_message_bytes(100_000)
        .build()
        .unwrap();
    let pair = pair_with(Config::default(), config).await;
    let echo = EchoClient::new(&pair.to_server);
    let status = echo.say(message(vec![0; 100_001])).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(
        status.message(),
        "the call was not sent: a message of 100005 bytes; \
         the peer takes at most 100000 (its max_message_bytes)"
    );
    assert!(status.is_safe_to_retry());
    // A message of exactly the maximum fits.
    let data = vec![7; 100_000 - 4];
    assert_eq!(echo.say(message(data.clone())).await.unwrap().data, data);
}

#[tokio::test]
async fn a_reply_over_the_limit_of_the_caller_is_refused_by_its_handler_side() {
    let config = Config::builder()
        .max_message_bytes(100_000)
        .build()
        .unwrap();
    let pair = pair_with(config, Config::default()).await;
    let echo = EchoClient::new(&pair.to_server);
    let status = echo.say(message(vec![0; 100_001])).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let text = "the reply has a message of 100005 bytes; the peer takes at most 100000";
    assert!(status.message().starts_with(text), "{status}");
}

#[tokio::test]
async fn a_connection_has_its_own_clones_of_the_services_that_it_calls_and_of_no_others() {
    let clones = Clones::default();
    let mut server = Server::builder();
    for id in 1..=300 {
        server = server.add_service(Counted::new(id, &clones));
    }
    let mut server = server.build().unwrap();
    let mut peers = Vec::new();
    clones.lock().unwrap().clear();
    for _ in 0..2 {
        let (here, there) = tokio::io::duplex(64 * 1024);
        let _ = server.accept_over(there).unwrap();
        peers.push(Peer::builder("").connect_over(here).await.unwrap());
    }
    assert!(clones.lock().unwrap().is_empty());
    for peer in &mut peers {
        for id in [300, 1, 150, 1, 300] {
            let request = Request::by_id(ServiceId(id), MethodId(1), false, nothing());
            peer.ready().await.unwrap().call(request).await.unwrap();
        }
        let status = call(peer, 301, 1, nothing()).await;
        assert_eq!(status.code(), Code::Unimplemented);
    }
    // The clones are listed in the order of their first calls; further calls go to the same clone.
    let of_a_connection = [(300, 2), (1, 2), (150, 1)];
    assert_eq!(*clones.lock().unwrap(), [of_a_connection; 2].concat());
}

/// The service of each clone that was made, and the number of calls of the clone.
type Clones = Arc<Mutex<Vec<(u32, usize)>>>;

/// A service that records its clones.
struct Counted {
    inner: EchoServer<Parrot>,
    descriptor: ServiceDescriptor,
    clones: Clones,
    /// The index of this clone in `clones`.
    index: Option<usize>,
}

impl Counted {
    fn new(id: u32, clones: &Clones) -> Self {
        let descriptor = ServiceDescriptor::builder(format!("tests.Counted{id}"));
        Self {
            inner: EchoServer::new(Parrot::default()),
            descriptor: descriptor.id(ServiceId(id)).build().unwrap(),
            clones: clones.clone(),
            index: None,
        }
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        let mut clones = self.clones.lock().unwrap();
        clones.push((self.descriptor.id().0, 0));
        Self {
            inner: self.inner.clone(),
            descriptor: self.descriptor.clone(),
            clones: self.clones.clone(),
            index: Some(clones.len() - 1),
        }
    }
}

impl Service<Request> for Counted {
    type Response = Response;
    type Error = Status;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> task::Poll<Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> ResponseFuture {
        let index = self.index.expect("the table itself is not called");
        self.clones.lock().unwrap()[index].1 += 1;
        self.inner.call(request)
    }
}

impl Serve for Counted {
    fn descriptor(&self) -> &ServiceDescriptor {
        &self.descriptor
    }
}
