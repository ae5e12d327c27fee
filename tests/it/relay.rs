//! Streams that are handed on as they came, and streams of requests that end with an error.

use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use wawo::{Code, Context, OrStatus, Peer, Result, Server, Status, Streaming};

use crate::support::{
    Echo, EchoClient, EchoServer, Message, RepeatRequest, client_of, message, pair,
};

/// The relay forwards the status of a stream that repeats its message so often.
const FORWARDED: u32 = 2;

/// Hands every stream on to the next service, with one line for each method.
struct Relay(EchoClient);

impl Echo for Relay {
    async fn say(&self, _: Context, message: Message) -> Result<Message> {
        self.0.say(message).await
    }

    async fn act(&self, _: Context, message: Message) -> Result<Message> {
        self.0.act(message).await
    }

    async fn note(&self, _: Context, _: Message) {}

    async fn repeat(&self, _: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        let replies = self.0.repeat(request.clone()).await;
        match request.times {
            FORWARDED => Ok(replies.map_err(Status::forward)?.forward()),
            _ => replies,
        }
    }

    async fn join(&self, _: Context, requests: Streaming<Message>) -> Result<Message> {
        self.0.join(requests).await
    }

    async fn talk(&self, _: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        self.0.talk(requests).await
    }
}

/// Reports the messages of each stream of requests, and its end.
struct Recorder(mpsc::UnboundedSender<Result<Option<Message>>>);

impl Recorder {
    /// Reports in a task of its own, because the handler is dropped when its call is cancelled.
    async fn record(&self, mut requests: Streaming<Message>) -> Result<()> {
        let reports = self.0.clone();
        let task = tokio::spawn(async move {
            loop {
                let request = requests.message().await;
                let is_last = !matches!(request, Ok(Some(_)));
                reports.send(request).unwrap();
                if is_last {
                    return;
                }
            }
        });
        task.await.or_status(Code::Internal, "the task panicked")
    }
}

impl Echo for Recorder {
    async fn say(&self, _: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn act(&self, _: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn note(&self, _: Context, _: Message) {}

    async fn repeat(&self, _: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        let cut = [
            Ok(message(request.data)),
            Err(Status::data_loss("the disk broke")),
        ];
        Ok(Streaming::new(stream::iter(cut)))
    }

    async fn join(&self, _: Context, requests: Streaming<Message>) -> Result<Message> {
        self.record(requests).await?;
        Ok(Message::default())
    }

    async fn talk(&self, _: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        self.record(requests).await?;
        Ok(Streaming::empty())
    }
}

/// A server, and a peer of it.
async fn served(echo: impl Echo) -> (Server, Peer) {
    let builder = Server::builder().add_service(EchoServer::new(echo));
    let mut server = builder.build().unwrap();
    let peer = client_of(&mut server).await;
    (server, peer)
}

/// A recorder behind a relay: the servers, the client of the relay, and the reports.
async fn recorded() -> (
    [Server; 2],
    Peer,
    mpsc::UnboundedReceiver<Result<Option<Message>>>,
) {
    let (sender, reports) = mpsc::unbounded_channel();
    let (recorder, to_recorder) = served(Recorder(sender)).await;
    let (relay, to_relay) = served(Relay(EchoClient::new(&to_recorder))).await;
    ([recorder, relay], to_relay, reports)
}

#[tokio::test]
async fn streams_are_handed_on_as_they_are() {
    let pair = pair().await;
    let (_server, to_relay) = served(Relay(EchoClient::new(&pair.to_server))).await;
    let echo = EchoClient::new(&to_relay);
    let numbers = || stream::iter((0..100_u8).map(|n| message(vec![n])));
    let joined = echo.join(numbers()).await.unwrap();
    assert_eq!(joined.data, (0..100).collect::<Vec<u8>>());
    let mut replies = echo.talk(numbers()).await.unwrap();
    for n in 0..100 {
        assert_eq!(replies.message().await.unwrap().unwrap().data, vec![n]);
    }
    assert!(replies.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_stream_of_requests_that_is_cut_does_not_end_well_where_it_is_handed_on() {
    let (_servers, to_relay, mut reports) = recorded().await;
    let (sender, requests) = Streaming::channel(1);
    let call = tokio::spawn(EchoClient::new(&to_relay).join(requests));
    sender.send(message("a")).await.unwrap();
    let first = reports.recv().await.unwrap().unwrap().unwrap();
    assert_eq!(first.data, "a");
    to_relay.close("cut");
    let cut = reports.recv().await.unwrap().unwrap_err();
    assert_eq!(cut.code(), Code::Cancelled);
    call.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_stream_of_replies_that_is_cut_does_not_end_well_where_it_is_handed_on() {
    let pair = pair().await;
    let (_server, to_relay) = served(Relay(EchoClient::new(&pair.to_server))).await;
    let (sender, requests) = Streaming::channel(1);
    let call = EchoClient::new(&to_relay).talk(requests);
    sender.send(message("a")).await.unwrap();
    let mut replies = call.await.unwrap();
    assert_eq!(replies.message().await.unwrap().unwrap().data, "a");
    pair.to_client.close("cut");
    let status = replies.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn an_error_in_a_stream_of_requests_cancels_the_call_and_is_its_status() {
    let (_servers, to_relay, mut reports) = recorded().await;
    let echo = EchoClient::new(&to_relay);
    let requests = || stream::iter([Ok(message("a")), Err(Status::data_loss("the disk broke"))]);
    for is_join in [true, false] {
        let status = match is_join {
            true => echo.join(requests()).await.unwrap_err(),
            false => match echo.talk(requests()).await {
                Ok(mut replies) => replies.message().await.unwrap_err(),
                Err(status) => status,
            },
        };
        assert_eq!(status.code(), Code::DataLoss);
        assert_eq!(status.message(), "the disk broke");
        let mut report = reports.recv().await.unwrap();
        if let Ok(Some(first)) = report {
            assert_eq!(first.data, "a");
            report = reports.recv().await.unwrap();
        }
        assert_eq!(report.unwrap_err().code(), Code::Cancelled);
    }
}

#[tokio::test]
async fn a_sender_of_requests_learns_that_its_call_is_over() {
    let (_servers, to_relay, mut reports) = recorded().await;
    let (sender, requests) = Streaming::channel(1);
    let (call, guard) = EchoClient::new(&to_relay)
        .join(requests)
        .with_cancel_guard();
    let call = tokio::spawn(call);
    sender.send(message("a")).await.unwrap();
    reports.recv().await.unwrap().unwrap();
    assert!(!sender.is_closed());
    guard.cancel();
    sender.closed().await;
    assert_eq!(
        sender.send(message("b")).await.unwrap_err().code(),
        Code::Cancelled
    );
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Cancelled);
}

#[tokio::test]
async fn a_status_of_a_stream_that_is_handed_on_is_shown_only_if_it_is_forwarded() {
    let (_servers, to_relay, _reports) = recorded().await;
    let echo = EchoClient::new(&to_relay);
    for (times, code) in [(FORWARDED, Code::DataLoss), (1, Code::Internal)] {
        let data = "a".into();
        let mut replies = echo.repeat(RepeatRequest { data, times }).await.unwrap();
        assert_eq!(replies.message().await.unwrap().unwrap().data, "a");
        assert_eq!(replies.message().await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn a_sender_that_a_caught_panic_drops_fails_its_stream() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let (tee, mut copies) = Streaming::channel(8);
    let requests = stream::iter(0..3_u8).map(move |n| {
        assert!(n < 2, "planned");
        tee.try_send(n).unwrap();
        message(vec![n])
    });
    let status = echo.join(requests).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(copies.message().await.unwrap(), Some(0));
    assert_eq!(copies.message().await.unwrap(), Some(1));
    assert_eq!(copies.message().await.unwrap_err().code(), Code::Internal);
}
