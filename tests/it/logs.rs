//! The log of failed calls: the method, the peer, and one line per failure.

use std::{io, task::Poll};

use futures::{StreamExt as _, stream};
use tower::Service as _;
use tower::util::MapRequestLayer;
use wawo::{
    Body, Code, Context, InProcess, MessageBytes, MethodId, OrStatus, Request, Result, Server,
    ServiceId, Status, Streaming,
};

use crate::{
    logged::Log,
    support::{
        Echo, EchoClient, EchoServer, Message, Parrot, RepeatRequest, client_of, message, pair,
    },
};

/// Fails with an error of the system, or with the requested error.
#[derive(Clone)]
struct Disk;

impl Echo for Disk {
    async fn say(&self, _: Context, _: Message) -> Result<Message> {
        Err(io::Error::other("disk full")).or_status(Code::Unavailable, "cannot save")
    }

    async fn act(&self, _: Context, _: Message) -> Result<Message> {
        Err(io::Error::other("disk gone")).or_status(Code::Internal, "cannot load")
    }

    async fn note(&self, _: Context, message: Message) {
        if message.data == "yield" {
            tokio::task::yield_now().await;
        }
        panic!("as asked");
    }

    async fn repeat(&self, _: Context, _: RepeatRequest) -> Result<Streaming<Message>> {
        Err("x".parse::<u8>().unwrap_err()).or_status(Code::InvalidArgument, "no number")
    }

    async fn join(&self, _: Context, _: Streaming<Message>) -> Result<Message> {
        Ok(message(""))
    }

    async fn talk(&self, _: Context, _: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(Streaming::empty())
    }
}

fn repeat(data: &'static str) -> RepeatRequest {
    RepeatRequest {
        data: data.into(),
        times: 1,
    }
}

#[tokio::test]
async fn a_panic_of_a_handler_is_logged_once_with_method_peer_and_text() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let peer = pair.to_client.id();
    for what in ["panic", "yield and panic"] {
        let (log, _guard) = Log::begin();
        echo.act(message(what)).await.unwrap_err();
        let line = format!(
            "ERROR a call failed method=tests.echo.Echo/Act peer=peer {peer} \
             status=Internal: the handler panicked: as asked"
        );
        assert_eq!(log.lines("panic"), [line]);
    }
}

#[tokio::test]
async fn a_panic_in_a_stream_of_replies_is_one_of_the_stream_and_logged_once() {
    let (log, _guard) = Log::begin();
    let pair = pair().await;
    let in_process = InProcess::new(EchoServer::new(Parrot::default()));
    for echo in [
        EchoClient::new(&pair.to_server),
        EchoClient::new(&in_process),
    ] {
        let mut replies = echo.repeat(repeat("panic")).await.unwrap();
        let status = replies.next().await.unwrap().unwrap_err();
        assert_eq!(status.message(), "the stream of replies panicked");
    }
    let lines = log.lines("panicked: as asked");
    assert_eq!(lines.len(), 2, "{log:?}");
    let method = |line: &String| line.contains("method=tests.echo.Echo/Repeat");
    assert!(lines.iter().all(method), "{lines:?}");
}

#[tokio::test]
async fn a_panic_in_a_stream_of_requests_is_the_callers_and_not_the_handlers() {
    let (log, _guard) = Log::begin();
    let pair = pair().await;
    let in_process = InProcess::new(EchoServer::new(Parrot::default()));
    for echo in [
        EchoClient::new(&pair.to_server),
        EchoClient::new(&in_process),
    ] {
        let requests = stream::poll_fn(|_| -> Poll<Option<Message>> { panic!("mine") });
        let status = echo.join(requests).await.unwrap_err();
        assert!(!status.message().contains("handler"), "{status}");
    }
    let lines = log.lines("panicked: mine");
    assert_eq!(lines.len(), 2, "{log:?}");
    for line in lines {
        let text = "ERROR a call failed method=tests.echo.Echo/Join peer=this process, which calls \
                    status=Internal: the stream of requests, which the caller sends, panicked: mine";
        assert_eq!(line, text);
    }
    assert!(log.lines("the handler panicked").is_empty(), "{log:?}");
}

#[tokio::test]
async fn a_panic_of_a_layer_is_not_the_handlers() {
    let (log, _guard) = Log::begin();
    let layer = MapRequestLayer::new(|_: Request| -> Request { panic!("in a layer") });
    let echo = EchoServer::new(Parrot::default()).layer(layer);
    let mut server = Server::builder().add_service(echo).build().unwrap();
    let peer = client_of(&mut server).await;
    let status = EchoClient::new(&peer).say(message("")).await.unwrap_err();
    assert_eq!(status.message(), "a layer, or the codec, panicked");
    let lines = log.lines("panicked: in a layer");
    assert_eq!(lines.len(), 1, "{log:?}");
    assert!(lines[0].contains("method=tests.echo.Echo/Say"), "{lines:?}");
}

#[tokio::test]
async fn a_panic_of_a_one_way_handler_is_logged_though_nobody_hears_of_it() {
    let (log, _guard) = Log::begin();
    let server = Server::builder().add_service(EchoServer::new(Disk));
    let mut server = server.build().unwrap();
    let echo = EchoClient::new(&client_of(&mut server).await);
    for (what, count) in [("", 1), ("yield", 2)] {
        echo.note(message(what)).await.unwrap();
        // The reply comes when the message was handled, or one turn later.
        while log.lines("panicked").len() < count {
            echo.join(Streaming::empty()).await.unwrap();
        }
    }
    let lines = log.lines("the handler panicked: as asked");
    assert_eq!(lines.len(), 2, "{log:?}");
    let method = |line: &String| line.contains("method=tests.echo.Echo/Note");
    assert!(lines.iter().all(method), "{lines:?}");
}

#[tokio::test]
async fn an_error_of_the_system_is_logged_with_its_text_and_above_debug() {
    let server = Server::builder().add_service(EchoServer::new(Disk));
    let mut server = server.build().unwrap();
    let peer = client_of(&mut server).await;
    let in_process = InProcess::new(EchoServer::new(Disk));
    for echo in [EchoClient::new(&peer), EchoClient::new(&in_process)] {
        let (log, _guard) = Log::begin();
        echo.say(message("")).await.unwrap_err();
        echo.act(message("")).await.unwrap_err();
        echo.repeat(repeat("")).await.unwrap_err();
        let lines = log.lines("a call failed");
        for (line, level, method, status) in [
            (
                0,
                "WARN",
                "Say",
                "status=Unavailable: cannot save: disk full",
            ),
            (1, "ERROR", "Act", "status=Internal: cannot load: disk gone"),
            (
                2,
                "DEBUG",
                "Repeat",
                "no number: invalid digit found in string",
            ),
        ] {
            let line = &lines[line];
            assert!(line.starts_with(level), "{line}");
            assert!(line.contains(&format!("method=tests.echo.Echo/{method} peer=")));
            assert!(line.ends_with(status), "{line}");
        }
        assert_eq!(lines.len(), 3);
    }
}

#[tokio::test]
async fn a_one_way_message_that_is_not_sent_names_its_method() {
    let (log, _guard) = Log::begin();
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let note = echo.note(message("")).metadata("key", "v".repeat(9_000));
    note.await.unwrap();
    echo.say(message("")).await.unwrap();
    let lines = log.lines("one-way messages were not sent");
    assert_eq!(lines.len(), 1, "{log:?}");
    assert!(
        lines[0].contains("method=\"tests.echo.Echo/Note\" peer=\"peer "),
        "{lines:?}"
    );
}

#[tokio::test]
async fn statuses_of_handlers_are_not_logged() {
    let (log, _guard) = Log::begin();
    let pair = pair().await;
    let status = EchoClient::new(&pair.to_server).act(message("fail")).await;
    assert_eq!(status.unwrap_err().code(), Code::FailedPrecondition);
    assert!(log.lines("a call failed").is_empty(), "{log:?}");
    drop(Status::internal("made, and never sent").with_source("secret"));
    assert!(log.lines("secret").is_empty());
}

#[tokio::test]
async fn one_way_messages_that_no_method_takes_are_logged() {
    let (log, _guard) = Log::begin();
    let pair = pair().await;
    for (service, method) in [(8, 1), (7, 99)] {
        let body = Body::One(MessageBytes::default());
        let request = Request::by_id(ServiceId(service), MethodId(method), true, body);
        pair.to_server.clone().call(request).await.unwrap();
    }
    EchoClient::new(&pair.to_server)
        .say(message(""))
        .await
        .unwrap();
    let lines = log.lines("a one-way message was not served");
    assert_eq!(lines.len(), 2, "{log:?}");
    for (line, text) in lines.iter().zip([
        "method=method 1 of service 8 peer=",
        "method=method 99 of tests.echo.Echo peer=",
    ]) {
        assert!(line.starts_with("DEBUG") && line.contains(text), "{line}");
        assert!(line.contains("status=Unimplemented: "), "{line}");
    }
}
