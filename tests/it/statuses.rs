//! The status of a failed call: it identifies the call, and contains everything that the callee
//! sent.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use tower::ServiceBuilder;
use wawo::{Channel, Code, Context, InProcess, Metadata, Peer, Result, Server, Status, Streaming};

use crate::support::{
    Echo, EchoClient, EchoServer, Message, Parrot, RepeatRequest, client_of, echo_service, message,
    pair, serve,
};

fn request(data: &'static str) -> RepeatRequest {
    RepeatRequest {
        data: data.into(),
        times: 1,
    }
}

#[tokio::test]
async fn a_status_that_a_call_returned_names_its_method_and_the_address() {
    let (_running, address, _) = serve("tcp://127.0.0.1:0").await;
    let peer = Peer::connect(&address).await.unwrap();
    let status = EchoClient::new(&peer).act(message("fail")).await;
    let status = status.unwrap_err();
    assert_eq!(
        status.to_string(),
        format!("tests.echo.Echo/Act at {address}: FailedPrecondition: as asked")
    );
    assert_eq!(status.method(), Some(&echo_service::method::ACT));
    assert_eq!(status.address().unwrap().to_string(), address);
    assert_eq!(status.message(), "as asked");
    assert_eq!(format!("{status:?}"), status.to_string());
}

#[tokio::test]
async fn every_way_in_which_a_call_fails_names_it() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let id = pair.to_server.id();
    let said = |method: &str, text: &str| format!("tests.echo.Echo/{method} at peer {id}: {text}");

    // The call ends before it is sent, by the caller, at its deadline, by its stream, and by the
    // connection.
    let unsent = echo.act(message("")).timeout(Duration::ZERO).await;
    let text = unsent.unwrap_err().to_string();
    assert!(
        text.starts_with("tests.echo.Echo/Act: DeadlineExceeded"),
        "{text}"
    );
    let (call, token) = echo.act(message("wait")).with_cancel_guard();
    let call = tokio::spawn(async { call.await.unwrap_err() });
    tokio::task::yield_now().await;
    token.cancel();
    let text = call.await.unwrap().to_string();
    assert!(text.starts_with(&said("Act", "Cancelled")), "{text}");
    let late = echo.act(message("wait")).timeout(Duration::from_millis(20));
    let text = late.await.unwrap_err().to_string();
    assert!(text.starts_with(&said("Act", "DeadlineExceeded")), "{text}");
    let mut replies = echo.repeat(request("panic")).await.unwrap();
    let text = replies.next().await.unwrap().unwrap_err().to_string();
    assert_eq!(
        text,
        said("Repeat", "Internal: the stream of replies panicked")
    );
    let large = echo.say(message(vec![0; 5 << 20])).await.unwrap_err();
    let text = large.to_string();
    assert!(
        text.starts_with(&said("Say", "ResourceExhausted")),
        "{text}"
    );
    pair.to_server.close("");
    pair.to_server.closed().await;
    let text = echo.act(message("")).await.unwrap_err().to_string();
    assert!(text.starts_with(&said("Act", "Unavailable")), "{text}");
    let text = echo.note(message("")).await.unwrap_err().to_string();
    assert!(text.starts_with(&said("Note", "Unavailable")), "{text}");
}

#[tokio::test]
async fn calls_in_process_and_through_layers_are_named_too() {
    let here = InProcess::new(EchoServer::new(Parrot::default()));
    let status = EchoClient::new(&here).act(message("fail")).await;
    let text = "tests.echo.Echo/Act in this process: FailedPrecondition: as asked";
    assert_eq!(status.unwrap_err().to_string(), text);

    let (_running, address, _) = serve("tcp://127.0.0.1:0").await;
    let peer = Peer::connect(&address).await.unwrap();
    let layers = ServiceBuilder::new().timeout(Duration::from_millis(50));
    let echo = EchoClient::new(&Channel::new(layers.service(peer)));
    let text = echo.act(message("fail")).await.unwrap_err().to_string();
    let said = format!("tests.echo.Echo/Act at {address}: FailedPrecondition: as asked");
    assert_eq!(text, said);
    // This text does not come from a peer.
    let text = echo.act(message("wait")).await.unwrap_err().to_string();
    assert!(
        text.starts_with("tests.echo.Echo/Act: DeadlineExceeded"),
        "{text}"
    );
}

#[tokio::test]
async fn the_call_of_a_handler_is_not_told_to_its_caller() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    for what in ["leak", "forward"] {
        let status = echo.act(message(what)).await.unwrap_err();
        assert!(!status.message().contains("tests.echo"), "{status}");
        assert_eq!(
            status.to_string().matches("tests.echo").count(),
            1,
            "{status}"
        );
    }
}

/// Sets metadata, and fails in the requested shape.
#[derive(Clone)]
struct Telling;

fn enough(cx: &Context) -> Status {
    cx.set_reply_metadata("retry-after", "7").unwrap();
    cx.set_reply_metadata("both", "of the reply").unwrap();
    let status = Status::resource_exhausted("enough");
    status.with_metadata("both", "of the status").unwrap()
}

impl Echo for Telling {
    async fn say(&self, cx: Context, _: Message) -> Result<Message> {
        Err(enough(&cx))
    }

    async fn act(&self, cx: Context, request: Message) -> Result<Message> {
        cx.set_reply_metadata("retry-after", "7")?;
        Err(Status::aborted(format!("not {:?}", request.data)))
    }

    async fn note(&self, _: Context, _: Message) {}

    async fn repeat(&self, cx: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        if request.data == "at once" {
            return Err(enough(&cx));
        }
        cx.set_reply_metadata("begun", "yes")?;
        let items = stream::iter([Ok(()), Err(())]);
        Ok(Streaming::new(items.map(move |item| match item {
            Ok(()) => Ok(message("")),
            Err(()) => Err(enough(&cx)),
        })))
    }

    async fn join(&self, cx: Context, _: Streaming<Message>) -> Result<Message> {
        Err(enough(&cx))
    }

    async fn talk(&self, _: Context, _: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(Streaming::empty())
    }
}

#[tokio::test]
async fn metadata_that_was_set_before_an_error_goes_with_the_status() {
    let server = Server::builder().add_service(EchoServer::new(Telling));
    let mut server = server.build().unwrap();
    let peer = client_of(&mut server).await;
    let here = InProcess::new(EchoServer::new(Telling));
    for echo in [EchoClient::new(&peer), EchoClient::new(&here)] {
        let metadata = |status: Status| -> Vec<String> {
            let entries = status.metadata().iter();
            let entries = entries.map(|(key, value)| format!("{key}: {}", value.escape_ascii()));
            entries.collect()
        };
        let both = ["retry-after: 7", "both: of the status"];
        let status = echo.say(message("")).await.unwrap_err();
        assert_eq!(metadata(status), both);
        let status = echo.act(message("")).await.unwrap_err();
        assert_eq!(metadata(status), both[..1]);
        let status = echo.repeat(request("at once")).await.unwrap_err();
        assert_eq!(metadata(status), both);
        let status = echo.join(Streaming::empty()).await.unwrap_err();
        assert_eq!(metadata(status), both);
        let (mut replies, opening) = echo.repeat(request("")).with_metadata().await.unwrap();
        assert_eq!(opening.text("begun"), Some("yes"));
        replies.next().await.unwrap().unwrap();
        let status = replies.next().await.unwrap().unwrap_err();
        assert_eq!(metadata(status), both);
    }
}

/// Fails with a status that does not fit into a packet.
#[derive(Clone)]
struct Wordy;

impl Wordy {
    fn fail(what: &[u8]) -> Status {
        let text = match what {
            b"text" => "é".repeat(4_500),
            _ => "no".to_owned(),
        };
        let status = Status::not_found(text);
        match what {
            b"metadata" => status.with_metadata("key", "v".repeat(9_000)).unwrap(),
            b"details" => status.with_detail("type/a", vec![0; 200_000]),
            _ => status,
        }
    }
}

impl Echo for Wordy {
    async fn say(&self, _: Context, message: Message) -> Result<Message> {
        Err(Self::fail(&message.data))
    }

    async fn act(&self, _: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn note(&self, _: Context, _: Message) {}

    async fn repeat(&self, _: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        let first = [Ok(message("")), Err(Self::fail(&request.data))];
        Ok(Streaming::new(stream::iter(first)))
    }

    async fn join(&self, _: Context, _: Streaming<Message>) -> Result<Message> {
        Ok(message(""))
    }

    async fn talk(&self, _: Context, _: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(Streaming::empty())
    }
}

#[tokio::test]
async fn the_text_of_a_status_names_the_parts_left_out() {
    let server = Server::builder().add_service(EchoServer::new(Wordy));
    let mut server = server.build().unwrap();
    let echo = EchoClient::new(&client_of(&mut server).await);
    for (what, mark) in [
        ("text", "é… [cut: a text with 9000 bytes]"),
        (
            "metadata",
            "no [left out: 1 entry of metadata with 9008 bytes]",
        ),
        ("details", "no [left out: details with 200016 bytes]"),
    ] {
        let unary = echo.say(message(what)).await.unwrap_err();
        let mut replies = echo.repeat(request(what)).await.unwrap();
        replies.next().await.unwrap().unwrap();
        let streamed = replies.next().await.unwrap().unwrap_err();
        for status in [unary, streamed] {
            assert_eq!(status.code(), Code::NotFound);
            assert!(status.message().ends_with(mark), "{status}");
            assert!(status.message().len() <= 4_096);
            assert!(status.metadata().is_empty() && status.details().is_empty());
        }
    }
}

#[tokio::test]
async fn in_process_nothing_is_cut() {
    let echo = EchoClient::new(&InProcess::new(EchoServer::new(Wordy)));
    let status = echo.say(message("text")).await.unwrap_err();
    assert_eq!(status.message().len(), 9_000);
    let status = echo.say(message("metadata")).await.unwrap_err();
    assert_ne!(status.metadata(), &Metadata::new());
    let status = echo.say(message("details")).await.unwrap_err();
    assert_eq!(status.details()[0].value.len(), 200_000);
}
