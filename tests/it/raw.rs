//! Services and calls of which only a descriptor is known, with encoded messages.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use prost::Message as _;
use wawo::{
    Body, Code, Context, Delivery, InProcess, MethodDescriptor, Peer, RawClient, RawService,
    Result, Serve, Server, ServiceDescriptor, ServiceId, Shape, Status, Streaming,
};

use crate::support::{
    EchoClient, EchoServer, Message, Parrot, RepeatRequest, client_of, echo, echo_service::method,
    message, pair,
};

/// The echo service, as a program knows it that reads descriptor sets.
fn described() -> ServiceDescriptor {
    let mut services = ServiceDescriptor::all_in(echo::FILE_DESCRIPTOR_SET).unwrap();
    services.remove(0)
}

/// Serves the echo service without its types.
fn raw_echo() -> impl Serve {
    RawService::new(described(), |cx: Context, request: Body| async move {
        match (cx.method().name(), request) {
            ("Say", Body::One(request)) => Ok(Body::One(request)),
            ("Act", Body::One(request)) => act(&cx, request.into_bytes()).await,
            ("Repeat", Body::One(request)) => {
                let request = RepeatRequest::decode(request.into_bytes()).unwrap();
                let reply = message(request.data).encode_to_vec();
                let times = usize::try_from(request.times).unwrap();
                let replies = vec![Ok(Bytes::from(reply)); times];
                Ok(Body::Many(Streaming::new(stream::iter(replies))))
            }
            ("Join", Body::Many(mut requests)) => {
                let mut all = Vec::new();
                // A message that follows another one is merged into it, or appended: here it is read.
                while let Some(request) = requests.message().await? {
                    all.extend_from_slice(&Message::decode(request).unwrap().data);
                }
                Ok(Body::One(Bytes::from(message(all).encode_to_vec()).into()))
            }
            ("Talk", Body::Many(requests)) => Ok(Body::Many(requests)),
            (name, body) => panic!("{name} got {body:?}"),
        }
    })
}

async fn act(cx: &Context, request: Bytes) -> Result<Body> {
    let request = Message::decode(request).unwrap();
    match &request.data[..] {
        b"panic" => panic!("as asked"),
        b"wait" => std::future::pending().await,
        b"stream" => Ok(Body::Many(Streaming::empty())),
        b"call back" => {
            let say = described().method_by_name("Say").unwrap().clone();
            let client = RawClient::new(&cx.peer());
            Ok(Body::One(client.call(&say, Bytes::new()).await?.into()))
        }
        _ => {
            cx.set_reply_metadata("method", cx.method().path().to_owned())?;
            Err(Status::failed_precondition("as asked"))
        }
    }
}

async fn serving(service: impl Serve) -> (Server, Peer) {
    let mut server = Server::builder().add_service(service).build().unwrap();
    let peer = client_of(&mut server).await;
    (server, peer)
}

#[tokio::test]
async fn a_raw_service_serves_generated_stubs_in_every_shape() {
    let (_server, peer) = serving(raw_echo()).await;
    for echo in [
        EchoClient::new(&peer),
        EchoClient::new(&InProcess::new(raw_echo())),
    ] {
        assert_eq!(echo.say(message("hi")).await.unwrap().data, "hi");
        let request = RepeatRequest {
            data: "x".into(),
            times: 300,
        };
        assert_eq!(echo.repeat(request).await.unwrap().count().await, 300);
        let parts = || stream::iter(["a", "b", "c"].map(message));
        assert_eq!(echo.join(parts()).await.unwrap().data, "abc");
        let talked: Vec<_> = echo.talk(parts()).await.unwrap().collect().await;
        assert_eq!(talked[2].as_ref().unwrap().data, "c");
    }
}

#[tokio::test]
async fn a_raw_handler_fails_as_any_handler_does() {
    let (_server, peer) = serving(raw_echo()).await;
    let echo = EchoClient::new(&peer);
    let status = echo.act(message("fail")).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(
        status.metadata().text("method"),
        Some("tests.echo.Echo/Act")
    );
    let status = echo.act(message("panic")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    let status = echo.act(message("stream")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    let text = "the handler of `tests.echo.Echo/Act` returned a stream, not one reply";
    assert_eq!(status.message(), text);
    let call = echo.act(message("wait")).timeout(Duration::from_millis(20));
    assert_eq!(call.await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_raw_service_answers_methods_and_streams_that_it_does_not_take() {
    let (_server, peer) = serving(raw_echo()).await;
    let client = RawClient::new(&peer);
    let shout = ServiceDescriptor::builder("tests.echo.Echo")
        .id(ServiceId(7))
        .method(MethodDescriptor::builder("Shout", Shape::Unary))
        .method(MethodDescriptor::builder("Say", Shape::ClientStreaming).id(method::SAY.id()))
        .build()
        .unwrap();
    let unknown = shout.method_by_name("Shout").unwrap();
    let status = client.call(unknown, "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("it has Say, Act"), "{status}");
    let streamed = shout.method_by_name("Say").unwrap();
    let requests = stream::iter([Bytes::new(), Bytes::new()]);
    let call = client.call_client_streaming(streamed, requests);
    let status = call.await.unwrap_err();
    let text = "`tests.echo.Echo/Say` takes one request, and got several";
    assert_eq!(status.message(), text);
}

#[tokio::test]
async fn a_raw_client_calls_every_shape_with_all_settings_of_a_call() {
    let pair = pair().await;
    let service = described();
    let method = |name: &str| service.method_by_name(name).unwrap();
    let client = RawClient::new(&pair.to_server);
    let hello = Bytes::from(message("hi").encode_to_vec());
    let reply = client.call(method("Say"), hello.clone()).await.unwrap();
    assert_eq!(reply, hello);
    let request = RepeatRequest {
        data: "hi".into(),
        times: 3,
    };
    let replies = client.call_server_streaming(method("Repeat"), request.encode_to_vec());
    let replies: Vec<_> = replies.await.unwrap().collect().await;
    assert_eq!(replies.len(), 3);
    assert_eq!(replies[2].as_ref().unwrap(), &hello);
    let requests = stream::iter([hello.clone(), hello.clone()]);
    let joined = client.call_client_streaming(method("Join"), requests.clone());
    assert_eq!(Message::decode(joined.await.unwrap()).unwrap().data, "hihi");
    let talked = client.call_bidi_streaming(method("Talk"), requests);
    assert_eq!(talked.await.unwrap().count().await, 2);
    client.send(method("Note"), hello).await.unwrap();
    let seen = &pair.at_server;
    seen.until(|seen| seen.notes.load(Ordering::SeqCst) == 1)
        .await;
    let asked = client.call(method("Act"), message("metadata").encode_to_vec());
    let asked = asked.metadata("asked", "this").with_metadata();
    assert_eq!(asked.await.unwrap().1.text("answered"), Some("this"));
    let waiting = client.call(method("Act"), message("wait").encode_to_vec());
    let status = waiting
        .timeout(Duration::from_millis(20))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.method(), Some(method("Act")));
}

#[tokio::test]
async fn a_raw_call_of_another_shape_is_not_sent() {
    let pair = pair().await;
    let client = RawClient::new(&pair.to_server);
    let status = client.call(&method::REPEAT, "").await.unwrap_err();
    assert_eq!(
        (status.code(), status.delivery()),
        (Code::InvalidArgument, Delivery::NotSent)
    );
    let text = "a Unary call of `tests.echo.Echo/Repeat`, whose shape is ServerStreaming";
    assert_eq!(status.message(), text);
    let status = client.send(&method::SAY, "").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn calls_of_a_raw_handler_inherit_what_those_of_any_handler_do() {
    let depths = Arc::new(Mutex::new(Vec::new()));
    let (_server, peer) = serving(raw_echo()).await;
    let seen = depths.clone();
    let service = RawService::new(described(), move |cx: Context, request| {
        seen.lock().unwrap().push(cx.time_left().is_some());
        async { Ok(request) }
    });
    // The handler of the first server calls back to the second one, which stands at the client.
    let mut server = Server::builder().add_service(raw_echo()).build().unwrap();
    drop(peer);
    let (here, there) = tokio::io::duplex(64 * 1024);
    let _ = server.accept_over(there).unwrap();
    let builder = Peer::builder("").add_service(service);
    let peer = builder.connect_over(here).await.unwrap();
    let call = EchoClient::new(&peer).act(message("call back"));
    call.timeout(Duration::from_secs(60)).await.unwrap();
    assert_eq!(*depths.lock().unwrap(), [true]);
}

#[tokio::test]
async fn two_services_with_one_name_are_an_error_at_start() {
    let other = ServiceDescriptor::builder("tests.echo.Echo").id(ServiceId(8));
    let other = other.build().unwrap();
    let twice = Server::builder()
        .add_service(EchoServer::new(Parrot::default()))
        .add_service(RawService::new(other, |_, request| async { Ok(request) }));
    let error = twice.build().unwrap_err().to_string();
    let expected = "two services are named `tests.echo.Echo`, one with the id 7 and one with the id 8; \
                    rename one of them (they were added at ";
    assert!(error.starts_with(expected), "{error}");
}
