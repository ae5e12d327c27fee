//! Handlers, streams and peers that misbehave: each call still ends, with a true status.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::{
    io::{AsyncWriteExt, DuplexStream},
    sync::mpsc,
    time::{Instant, timeout},
};
use wawo::{
    Code, Config, Context, Delivery, InProcess, Peer, Result, Server, Status, StreamEnd, Streaming,
};

use crate::support::{
    Echo, EchoClient, EchoServer, Message, Parrot, RepeatRequest, message, pair, pair_with,
};

/// A service with misbehaving handlers.
#[derive(Clone)]
struct Odd {
    told: mpsc::UnboundedSender<&'static str>,
    /// The number of items that were requested from its endless stream.
    items: Arc<AtomicUsize>,
}

impl Odd {
    fn new() -> (Self, mpsc::UnboundedReceiver<&'static str>) {
        let (told, hear) = mpsc::unbounded_channel();
        let items = Arc::default();
        (Self { told, items }, hear)
    }
}

impl Echo for Odd {
    /// Fails with a status whose code is `Ok`.
    async fn say(&self, _cx: Context, _: Message) -> Result<Message> {
        Err(Status::new(Code::Ok, "fine"))
    }

    async fn act(&self, _cx: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    /// Never ends.
    async fn note(&self, _cx: Context, _: Message) {
        let _told = OnDrop(self.told.clone());
        std::future::pending().await
    }

    /// Returns an endless stream, a reply with too much metadata, or panics.
    async fn repeat(&self, cx: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        if request.data == "metadata" {
            for _ in 0..100 {
                cx.set_reply_metadata("key", "value")?;
            }
        }
        let (items, panics) = (self.items.clone(), request.data == "panic");
        let item = move || match items.fetch_add(1, Ordering::SeqCst) {
            1 if panics => panic!("as asked"),
            _ => Ok(message("item")),
        };
        Ok(Streaming::new(stream::repeat_with(item)))
    }

    /// Replies at once, and a task continues reading.
    async fn join(&self, _cx: Context, mut requests: Streaming<Message>) -> Result<Message> {
        let told = self.told.clone();
        tokio::spawn(async move {
            while let Ok(Some(_)) = requests.message().await {}
            told.send("requests ended")
        });
        Ok(message("early"))
    }

    async fn talk(&self, _cx: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(requests)
    }
}

struct OnDrop(mpsc::UnboundedSender<&'static str>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        // The receiver may be gone.
        let _ = self.0.send("note dropped");
    }
}

struct World {
    server: Server,
    to_server: Peer,
    odd: Odd,
    hear: mpsc::UnboundedReceiver<&'static str>,
}

async fn world() -> World {
    let (odd, hear) = Odd::new();
    let (here, there) = tokio::io::duplex(64 * 1024);
    let server = Server::builder().add_service(EchoServer::new(odd.clone()));
    let mut server = server.build().unwrap();
    let _ = server.accept_over(there).unwrap();
    World {
        server,
        to_server: Peer::builder("").connect_over(here).await.unwrap(),
        odd,
        hear,
    }
}

fn asked(data: &'static str) -> RepeatRequest {
    RepeatRequest {
        data: data.into(),
        times: 0,
    }
}

#[tokio::test(start_paused = true)]
async fn requests_end_for_a_task_of_a_handler_that_answered_early() {
    let mut world = world().await;
    let echo = EchoClient::new(&world.to_server);
    let reply = echo.join(Streaming::pending()).await.unwrap();
    assert_eq!(reply.data, "early");
    let told = timeout(Duration::from_secs(1), world.hear.recv()).await;
    assert_eq!(told, Ok(Some("requests ended")));
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_call_that_is_over_does_not_keep_the_connection() {
    let (odd, mut hear) = Odd::new();
    let (here, there) = tokio::io::duplex(64 * 1024);
    let mut server = Server::builder().build().unwrap();
    let to_client = server.accept_over(there).unwrap();
    let peer = Peer::builder("").add_service(EchoServer::new(odd));
    let peer = peer.connect_over(here).await.unwrap();
    let echo = EchoClient::new(&to_client);
    echo.join(Streaming::pending()).await.unwrap();
    assert_eq!(hear.recv().await, Some("requests ended"));
    drop(peer);
    let closed = timeout(Duration::from_secs(60), to_client.closed()).await;
    assert!(closed.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_reply_cannot_begin_is_not_read_on() {
    let world = world().await;
    let echo = EchoClient::new(&world.to_server);
    let status = echo.repeat(asked("metadata")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let items = world.odd.items.load(Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(60)).await;
    echo.act(message("")).await.unwrap();
    assert_eq!(world.odd.items.load(Ordering::SeqCst), items);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_stream_ends_its_call_over_a_connection_and_in_process() {
    let world = world().await;
    let in_process = InProcess::new(EchoServer::new(Odd::new().0));
    for echo in [
        EchoClient::new(&world.to_server),
        EchoClient::new(&in_process),
    ] {
        let mut replies = echo.repeat(asked("panic")).await.unwrap();
        replies.message().await.unwrap().unwrap();
        let begin = Instant::now();
        let status = replies.message().await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert_eq!(replies.end(), Some(StreamEnd::Failed(Code::Internal)));
    }
    let requests = stream::iter([1, 2]).map(|n| match n {
        1 => message("one"),
        _ => panic!("as asked"),
    });
    let begin = Instant::now();
    let echo = EchoClient::new(&world.to_server);
    let status = echo.talk(requests).await.unwrap().collect::<Vec<_>>().await;
    let status = status.into_iter().find_map(Result::err).unwrap();
    assert_eq!(
        (status.code(), status.delivery()),
        (Code::Internal, Delivery::Unknown)
    );
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn bytes_that_have_come_are_read_when_a_write_fails() {
    let (here, mut there): (DuplexStream, DuplexStream) = tokio::io::duplex(16 * 1024);
    there
        .write_all(b"WAWO/1\r\n\0\0\0\0\x01\0\0\0\0\0\0\0")
        .await
        .unwrap();
    let peer = Peer::builder("").connect_over(here).await.unwrap();
    let echo = EchoClient::new(&peer);
    let mut small = Box::pin(echo.say(message("x")).into_future());
    assert!(futures::poll!(&mut small).is_pending());
    tokio::task::yield_now().await;
    // More than the pipe takes, so the writer is blocked when the other side disconnects.
    let mut large = Box::pin(echo.say(message(vec![0; 60_000])).into_future());
    assert!(futures::poll!(&mut large).is_pending());
    tokio::task::yield_now().await;
    let mut answer = b"\0\0\0\x02\x07\x01\0\0\0\0\0\x01\x0a\0".to_vec();
    answer.extend_from_slice(b"\0\0\0\x04\x05\0\0\0\0\0\0\0gone");
    there.write_all(&answer).await.unwrap();
    drop(there);
    assert_eq!(small.await.unwrap().data, "");
    let status = large.await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(peer.closed().await.to_string().contains("gone"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_process_ends_at_its_deadline() {
    let echo = EchoClient::new(&InProcess::new(EchoServer::new(Parrot::default())));
    let call = echo
        .talk(Streaming::pending())
        .timeout(Duration::from_secs(1));
    let mut replies = call.await.unwrap();
    let status = replies.message().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn the_handler_of_a_one_way_message_ends_at_its_deadline() {
    let mut world = world().await;
    let in_process = InProcess::new(EchoServer::new(world.odd.clone()));
    for echo in [
        EchoClient::new(&world.to_server),
        EchoClient::new(&in_process),
    ] {
        let begin = Instant::now();
        echo.note(message("")).await.unwrap();
        assert_eq!(world.hear.recv().await, Some("note dropped"));
        assert!(begin.elapsed() < Duration::from_secs(11));
    }
}

#[tokio::test(start_paused = true)]
async fn the_handler_of_a_one_way_message_without_a_deadline_ends_with_its_connection() {
    let mut world = world().await;
    let config = Config::builder().default_timeout(None).build().unwrap();
    let (here, there) = tokio::io::duplex(64 * 1024);
    let _ = world.server.accept_over(there).unwrap();
    let patient = Peer::builder("").config(config).connect_over(here);
    let patient = patient.await.unwrap();
    EchoClient::new(&patient).note(message("")).await.unwrap();
    EchoClient::new(&patient).act(message("")).await.unwrap();
    assert!(world.hear.try_recv().is_err());
    drop(patient);
    assert_eq!(world.hear.recv().await, Some("note dropped"));
}

#[tokio::test(start_paused = true)]
async fn one_way_messages_that_are_not_served_hold_their_sender_back() {
    let world = world().await;
    let echo = EchoClient::new(&world.to_server);
    let mut taken = 0;
    while let Ok(sent) = timeout(
        Duration::from_millis(500),
        echo.note(message(vec![0; 1_000_000])),
    )
    .await
    {
        sent.unwrap();
        taken += 1;
        assert!(taken < 30, "{taken} MB were taken");
    }
    // Calls still overtake them.
    echo.act(message("")).await.unwrap();
}

#[tokio::test]
async fn a_one_way_message_that_the_peer_would_not_take_is_not_sent() {
    let world = world().await;
    let note = EchoClient::new(&world.to_server).note(message(vec![0; 5_000_000]));
    let status = note.await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.is_safe_to_retry());
    assert!(status.message().contains("max_message_bytes"), "{status}");
}

#[tokio::test]
async fn a_call_that_this_side_gives_up_was_not_answered() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let requests = stream::iter([message("a"), message(vec![0; 5_000_000])]);
    let status = echo.join(requests).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.delivery(), Delivery::Unknown);
}

#[tokio::test]
async fn metadata_that_cannot_be_sent_is_not_sent() {
    let pair = pair().await;
    let call = EchoClient::new(&pair.to_server).say(message(""));
    let status = call.metadata("Upper", "case").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.is_safe_to_retry());
}

#[tokio::test]
async fn a_failure_that_says_ok_arrives_as_a_failure() {
    let world = world().await;
    let echo = EchoClient::new(&world.to_server);
    let status = echo.say(message("")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
}

#[tokio::test]
async fn a_default_timeout_without_end_is_no_fault() {
    let config = Config::builder()
        .default_timeout(Some(Duration::MAX))
        .build()
        .unwrap();
    let pair = pair_with(config, Config::default()).await;
    let echo = EchoClient::new(&pair.to_server);
    assert_eq!(echo.say(message("x")).await.unwrap().data, "x");
}
