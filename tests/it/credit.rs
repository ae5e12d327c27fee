//! Credit is granted for everything that was read, whatever the reader does afterwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use wawo::{Config, Context, Peer, Result, Server, Status, Streaming};

use crate::support::{Echo, EchoClient, EchoServer, Message, RepeatRequest, message};

/// `talk` reads the requested number of requests, answers with their number, and then holds the
/// stream. `repeat` counts the items that it has made.
#[derive(Clone, Default)]
struct Reads {
    most: usize,
    made: Arc<AtomicU32>,
}

impl Reads {
    fn most(most: usize) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }
}

impl Echo for Reads {
    async fn say(&self, _: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn act(&self, _: Context, _: Message) -> Result<Message> {
        Err(Status::unimplemented(""))
    }

    async fn note(&self, _: Context, _: Message) {}

    /// A stream of items that are always ready and slow to make.
    async fn repeat(&self, _: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        let made = self.made.clone();
        let items = (0..request.times).map(move |_| {
            made.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(2));
            Ok(message(request.data.clone()))
        });
        Ok(Streaming::new(stream::iter(items)))
    }

    async fn join(&self, _: Context, _: Streaming<Message>) -> Result<Message> {
        Err(Status::unimplemented(""))
    }

    async fn talk(&self, _: Context, mut all: Streaming<Message>) -> Result<Streaming<Message>> {
        let mut read = 0;
        while read < self.most && all.message().await?.is_some() {
            read += 1;
        }
        let first = stream::iter([Ok(message(read.to_string()))]);
        let hold = stream::once(async move {
            let _all = all;
            std::future::pending().await
        });
        Ok(Streaming::new(first.chain(hold)))
    }
}

/// Connects to a server that gives 64 KiB of request credit, for all calls together.
async fn connected(reads: Reads) -> (Server, Peer) {
    let config = Config::builder()
        .request_credit_bytes(64 * 1024)
        .build()
        .unwrap();
    let (here, there) = tokio::io::duplex(64 * 1024);
    let server = Server::builder().config(config);
    let mut server = server.add_service(EchoServer::new(reads)).build().unwrap();
    let _ = server.accept_over(there).unwrap();
    let peer = Peer::builder("").connect_over(here).await.unwrap();
    (server, peer)
}

fn requests(count: usize) -> impl futures::Stream<Item = Message> + Send {
    stream::iter((0..count).map(|_| message(vec![7; 1_000])))
}

#[tokio::test(start_paused = true)]
async fn requests_that_ended_and_were_read_give_their_credit_back() {
    let (_server, peer) = connected(Reads::most(usize::MAX)).await;
    let echo = EchoClient::new(&peer);
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut replies = echo.talk(requests(30)).await.unwrap();
        assert_eq!(replies.message().await.unwrap().unwrap().data, "30");
        held.push(replies);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_were_read_give_their_credit_back_before_more_are_asked_for() {
    let (_server, peer) = connected(Reads::most(14)).await;
    let echo = EchoClient::new(&peer);
    let mut held = Vec::new();
    for _ in 0..10 {
        let unended = requests(14).chain(stream::pending());
        let mut replies = echo.talk(unended).await.unwrap();
        assert_eq!(replies.message().await.unwrap().unwrap().data, "14");
        held.push(replies);
    }
}

/// Runs on one thread: the driver must get its turn beside the stream.
#[tokio::test]
async fn a_stream_that_is_slow_and_always_ready_is_heard_before_its_end() {
    let reads = Reads::default();
    let made = reads.made.clone();
    let (_server, peer) = connected(reads).await;
    let request = RepeatRequest {
        data: "x".into(),
        times: u32::MAX,
    };
    let mut replies = EchoClient::new(&peer).repeat(request).await.unwrap();
    assert_eq!(replies.message().await.unwrap().unwrap().data, "x");
    // A full batch has more than a thousand items.
    let made = made.load(Ordering::Relaxed);
    assert!(made < 500, "{made} were made before the first was heard");
}

/// `talk` reads one request, and drops the others when all have come.
#[derive(Clone)]
struct LetsGo;

impl Echo for LetsGo {
    async fn say(&self, _: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn act(&self, _: Context, _: Message) -> Result<Message> {
        Err(Status::unimplemented(""))
    }

    async fn note(&self, _: Context, _: Message) {}

    async fn repeat(&self, _: Context, _: RepeatRequest) -> Result<Streaming<Message>> {
        Err(Status::unimplemented(""))
    }

    async fn join(&self, _: Context, _: Streaming<Message>) -> Result<Message> {
        Err(Status::unimplemented(""))
    }

    async fn talk(&self, _: Context, mut all: Streaming<Message>) -> Result<Streaming<Message>> {
        for _ in 0..2 {
            all.message().await?;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(all);
        let hold = stream::once(std::future::pending());
        Ok(Streaming::new(
            stream::iter([Ok(message("gone"))]).chain(hold),
        ))
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_ended_and_were_let_go_give_their_credit_back() {
    let config = Config::builder()
        .request_credit_bytes(64 * 1024)
        .build()
        .unwrap();
    let (here, there) = tokio::io::duplex(64 * 1024);
    let server = Server::builder().config(config);
    let mut server = server.add_service(EchoServer::new(LetsGo)).build().unwrap();
    let _ = server.accept_over(there).unwrap();
    let peer = Peer::builder("").connect_over(here).await.unwrap();
    let echo = EchoClient::new(&peer);
    let mut held = Vec::new();
    // Together they cost several times the credit, and each holds its call forever.
    for _ in 0..40 {
        let requests = stream::iter((0..100).map(|_| message("x")));
        let mut replies = echo.talk(requests).timeout(Duration::MAX).await.unwrap();
        assert_eq!(replies.message().await.unwrap().unwrap().data, "gone");
        held.push(replies);
    }
}
