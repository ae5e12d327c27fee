//! Layers and callers learn more of a call than its messages: method, peer, trailing metadata, end.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, stream};
use tower::{Layer, ServiceExt, layer::layer_fn, service_fn, util::MapRequestLayer};
use wawo::{
    Body, CallService, Code, Context, InProcess, MethodId, Peer, Request, Response, Result, Server,
    ServiceId, Status, Streaming,
    layer::{InFlightLayer, MaxTimeLayer},
};

use crate::support::{
    Echo, EchoClient, EchoServer, Message, Parrot, RepeatRequest, client_of, echo_service::method,
    message,
};

/// Sets trailing metadata, before and behind its replies.
struct Trailing;

impl Echo for Trailing {
    async fn say(&self, cx: Context, message: Message) -> Result<Message> {
        assert_eq!(cx.method(), &method::SAY);
        cx.set_reply_metadata("at", "first")?;
        cx.set_trailing_metadata("at", "last")?;
        Ok(message)
    }

    async fn act(&self, cx: Context, _: Message) -> Result<Message> {
        cx.set_reply_metadata("at", "first")?;
        cx.set_trailing_metadata("at", "last")?;
        Err(Status::aborted("as asked"))
    }

    async fn note(&self, _: Context, _: Message) {}

    async fn repeat(&self, cx: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        cx.set_reply_metadata("at", "first")?;
        let context = cx;
        let replies = stream::iter(0..=request.times).map(move |index| {
            if index < request.times {
                return Some(Ok(message(request.data.clone())));
            }
            context.set_trailing_metadata("at", "last").unwrap();
            (request.data == "fail").then(|| Err(Status::aborted("as asked")))
        });
        Ok(Streaming::new(replies.filter_map(std::future::ready)))
    }

    async fn join(&self, _: Context, _: Streaming<Message>) -> Result<Message> {
        Ok(message(""))
    }

    async fn talk(&self, _: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(requests)
    }
}

fn repeat(data: &'static str, times: u32) -> RepeatRequest {
    let data = data.into();
    RepeatRequest { data, times }
}

/// Clients of the same service: over a connection, in process, behind a proxy, and under a layer.
async fn trailing_clients() -> (Vec<EchoClient>, Vec<Server>) {
    let near = Server::builder().add_service(EchoServer::new(Trailing));
    let mut near = near.build().unwrap();
    let peer = client_of(&mut near).await;
    let mut proxy = Server::builder().fallback(peer.clone()).build().unwrap();
    let proxied = client_of(&mut proxy).await;
    let limited = EchoServer::new(Trailing)
        .layer(InFlightLayer::new(5))
        .layer(MaxTimeLayer::new(Duration::from_secs(60)));
    let limited = InProcess::new(limited);
    let clients = vec![
        EchoClient::new(&peer),
        EchoClient::new(&proxied),
        EchoClient::new(&InProcess::new(EchoServer::new(Trailing))),
        EchoClient::new(&limited),
    ];
    (clients, vec![near, proxy])
}

#[tokio::test]
async fn trailing_metadata_comes_behind_a_stream_and_with_a_single_reply() {
    let (clients, _servers) = trailing_clients().await;
    for echo in clients {
        let (_, metadata) = echo.say(message("")).with_metadata().await.unwrap();
        let values: Vec<_> = metadata.iter().map(|(_, value)| value.clone()).collect();
        assert_eq!(values, ["first", "last"]);
        let call = echo.repeat(repeat("x", 40)).with_metadata();
        let (mut replies, metadata) = call.await.unwrap();
        assert_eq!((metadata.len(), metadata.text("at")), (1, Some("first")));
        let mut count = 0;
        while replies.message().await.unwrap().is_some() {
            assert!(replies.trailing_metadata().is_empty());
            count += 1;
        }
        assert_eq!(count, 40);
        assert_eq!(replies.trailing_metadata().text("at"), Some("last"));
        assert_eq!(replies.trailing_metadata().len(), 1);
    }
}

#[tokio::test]
async fn metadata_of_both_kinds_is_kept_beside_an_error() {
    let (clients, _servers) = trailing_clients().await;
    for echo in clients {
        let status = echo.act(message("")).await.unwrap_err();
        let values: Vec<_> = status
            .metadata()
            .iter()
            .map(|(_, value)| value.clone())
            .collect();
        assert_eq!(values, ["first", "last"]);
        let mut replies = echo.repeat(repeat("fail", 1)).await.unwrap();
        replies.message().await.unwrap();
        let status = replies.message().await.unwrap_err();
        assert_eq!(status.metadata().text("at"), Some("last"));
        assert!(replies.trailing_metadata().is_empty());
    }
}

/// A call, as the measuring layer sees it: its method, whether it has a peer, and how it ended.
type Measured = (Option<String>, bool, Code, u64, u64);

/// A layer that measures all calls by method.
#[derive(Clone, Default)]
struct Measure(Arc<Mutex<Vec<Measured>>>);

impl Measure {
    fn layer<S: CallService>(&self) -> impl Layer<S, Service: CallService> + Clone {
        let all = self.0.clone();
        layer_fn(move |inner: S| {
            let all = all.clone();
            service_fn(move |request: Request| {
                let method = request.descriptor().map(|method| method.path().to_owned());
                let has_peer = request.peer().is_some();
                let (inner, all) = (inner.clone(), all.clone());
                async move {
                    let response = inner.oneshot(request).await;
                    response.map(|response: Response| {
                        response.on_end(move |end| {
                            let end = (method, has_peer, end.code(), end.messages(), end.bytes());
                            all.lock().unwrap().push(end);
                        })
                    })
                }
            })
        })
    }

    /// Waits until a number of calls have ended.
    async fn ended(&self, count: usize) -> Vec<Measured> {
        while self.0.lock().unwrap().len() < count {
            tokio::task::yield_now().await;
        }
        self.0.lock().unwrap().drain(..).collect()
    }
}

#[tokio::test]
async fn a_layer_measures_each_call_once_by_method_and_peer() {
    let measure = Measure::default();
    let server = Server::builder().layer(measure.layer());
    let server = server.add_service(EchoServer::new(Parrot::default()));
    let mut server = server.build().unwrap();
    let echo = EchoClient::new(&client_of(&mut server).await);
    let path = |name: &str| Some(format!("tests.echo.Echo/{name}"));
    echo.say(message("1234")).await.unwrap();
    let end = (path("Say"), true, Code::Ok, 1, 6);
    assert_eq!(measure.ended(1).await, [end]);
    let replies = echo.repeat(repeat("1234", 500)).await.unwrap();
    assert_eq!(replies.count().await, 500);
    let end = (path("Repeat"), true, Code::Ok, 500, 3_000);
    assert_eq!(measure.ended(1).await, [end]);
    let mut replies = echo.repeat(repeat("panic", 1)).await.unwrap();
    replies.message().await.unwrap_err();
    let end = measure.ended(1).await.remove(0);
    assert_eq!((end.0, end.3), (path("Repeat"), 0));
    // One that is dropped, and one whose deadline passes while its stream waits.
    let (_sender, requests) = futures::channel::mpsc::unbounded::<Message>();
    let talk = echo.talk(requests).await.unwrap();
    drop(talk);
    assert_eq!(
        measure.ended(1).await,
        [(path("Talk"), true, Code::Cancelled, 0, 0)]
    );
    let (_sender, requests) = futures::channel::mpsc::unbounded::<Message>();
    let talk = echo.talk(requests).timeout(Duration::from_millis(50));
    talk.await.unwrap().message().await.unwrap_err();
    let end = (path("Talk"), true, Code::DeadlineExceeded, 0, 0);
    assert_eq!(measure.ended(1).await, [end]);
    assert!(measure.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_layer_of_a_caller_knows_the_method_and_no_peer() {
    let measure = Measure::default();
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let mut server = server.build().unwrap();
    let peer = client_of(&mut server).await;
    let echo = EchoClient::new(&wawo::Channel::new(measure.layer().layer(peer)));
    let replies = echo.repeat(repeat("1234", 500)).await.unwrap();
    assert_eq!(replies.count().await, 500);
    let path = Some("tests.echo.Echo/Repeat".to_owned());
    assert_eq!(
        measure.ended(1).await,
        [(path, false, Code::Ok, 500, 3_000)]
    );
    let path = Some("tests.echo.Echo/Say".to_owned());
    echo.say(message("")).await.unwrap();
    assert_eq!(measure.ended(1).await, [(path, false, Code::Ok, 1, 0)]);
}

#[tokio::test]
async fn a_request_is_taken_apart_and_put_together_with_another_body() {
    let layer = MapRequestLayer::new(|request: Request| {
        let peer = request.peer().unwrap().id();
        let (mut parts, body) = request.into_parts();
        assert_eq!(parts.peer().unwrap().id(), peer);
        assert_eq!(
            (parts.service(), parts.method()),
            (ServiceId(7), MethodId(1))
        );
        assert_eq!(parts.descriptor(), Some(&method::SAY));
        assert!(parts.deadline().is_some() && matches!(body, Body::One(_)));
        parts.metadata_mut().append("added", "here").unwrap();
        let other = prost::Message::encode_to_vec(&message("another"));
        Request::from_parts(parts, Body::One(bytes::Bytes::from(other).into()))
    });
    let server = Server::builder().layer(layer);
    let server = server.add_service(EchoServer::new(Parrot::default()));
    let mut server = server.build().unwrap();
    let peer: Peer = client_of(&mut server).await;
    let reply = EchoClient::new(&peer).say(message("one")).await.unwrap();
    assert_eq!(reply.data, "another");
}
