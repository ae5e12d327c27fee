//! Streams and one-way messages over memory, both ends on one thread: the cost is the sum of both.

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use futures::{StreamExt, stream};
use tokio::runtime::{Builder, Runtime};
use wawo::{Context, Peer, Result, Server, Status, Streaming};
use wawo_test_protos::tests::echo::{Echo, EchoClient, EchoServer, Message, RepeatRequest};

fn main() {
    divan::main();
}

/// The number of messages per run.
const ITEMS: u32 = 20_000;

struct Parrot;

impl Echo for Parrot {
    async fn say(&self, _cx: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn act(&self, _cx: Context, _: Message) -> Result<Message> {
        Err(Status::unimplemented("not measured"))
    }

    async fn note(&self, _cx: Context, _: Message) {}

    async fn repeat(&self, _cx: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        let RepeatRequest { data, times } = request;
        let items = (0..times).map(move |_| Ok(Message { data: data.clone() }));
        Ok(Streaming::new(stream::iter(items)))
    }

    async fn join(&self, _cx: Context, mut requests: Streaming<Message>) -> Result<Message> {
        let mut last = Message::default();
        while let Some(message) = requests.message().await? {
            last = message;
        }
        Ok(last)
    }

    async fn talk(&self, _cx: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(requests)
    }
}

fn connected() -> (Runtime, EchoClient, Server) {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (client, server) = runtime.block_on(async {
        let server = Server::builder().add_service(EchoServer::new(Parrot));
        let mut server = server.build().expect("one service");
        let (here, there) = tokio::io::duplex(256 * 1024);
        let _ = server.accept_over(there).expect("the defaults");
        let peer = Peer::builder("").connect_over(here).await;
        (EchoClient::new(&peer.expect("a server")), server)
    });
    (runtime, client, server)
}

fn data(bytes: usize) -> Bytes {
    vec![7; bytes].into()
}

#[divan::bench(args = [32, 1024])]
fn replies(bencher: Bencher<'_, '_>, bytes: usize) {
    let (runtime, client, _server) = connected();
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        runtime.block_on(async {
            let request = RepeatRequest {
                data: data(bytes),
                times: ITEMS,
            };
            let replies = client.repeat(request).await.expect("a stream");
            assert_eq!(replies.count().await, ITEMS as usize);
        });
    });
}

#[divan::bench(args = [32, 1024])]
fn requests(bencher: Bencher<'_, '_>, bytes: usize) {
    let (runtime, client, _server) = connected();
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        let data = data(bytes);
        let requests = (0..ITEMS).map(move |_| Message { data: data.clone() });
        runtime.block_on(client.join(stream::iter(requests)))
    });
}

#[divan::bench(args = [32])]
fn one_way(bencher: Bencher<'_, '_>, bytes: usize) {
    let (runtime, client, _server) = connected();
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        runtime.block_on(async {
            for _ in 0..ITEMS {
                let note = Message { data: data(bytes) };
                client.note(note).await.expect("room, in time");
            }
            // This call comes after all of them.
            client.say(Message::default()).await.expect("a reply");
        });
    });
}
