//! Calls over memory, one after the other and many at once.

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use futures::future::join_all;
use tokio::runtime::Runtime;
use wawo::{Context, InProcess, Peer, Result, Server};
use wawo_test_protos::ping_pong::{
    Ping, PingPong, PingPongClient, PingPongServer, Pong, UsageReply,
};

fn main() {
    divan::main();
}

struct Table;

impl PingPong for Table {
    async fn play(&self, _cx: Context, ping: Ping) -> Result<Pong> {
        Ok(Pong { ball: ping.ball })
    }

    async fn usage(&self, _cx: Context, (): ()) -> Result<UsageReply> {
        Ok(UsageReply::default())
    }
}

/// A runtime, and a stub over a connection in memory.
fn connected() -> (Runtime, PingPongClient, Server) {
    let runtime = Runtime::new().expect("a runtime");
    let (client, server) = runtime.block_on(async {
        let server = Server::builder().add_service(PingPongServer::new(Table));
        let mut server = server.build().expect("one service");
        let (here, there) = tokio::io::duplex(256 * 1024);
        let _ = server.accept_over(there).expect("the defaults");
        let peer = Peer::builder("").connect_over(here).await;
        (PingPongClient::new(&peer.expect("a server")), server)
    });
    (runtime, client, server)
}

fn ping(bytes: usize) -> Ping {
    Ping {
        ball: Bytes::from(vec![7; bytes]),
    }
}

#[divan::bench(args = [32, 1024, 64 * 1024])]
fn one_at_a_time(bencher: Bencher<'_, '_>, bytes: usize) {
    let (runtime, client, _server) = connected();
    bencher.bench_local(|| runtime.block_on(client.play(ping(bytes))));
}

#[divan::bench(args = [64, 512])]
fn at_once(bencher: Bencher<'_, '_>, calls: usize) {
    let (runtime, client, _server) = connected();
    bencher
        .counter(ItemsCount::new(calls))
        .bench_local(|| runtime.block_on(join_all((0..calls).map(|_| client.play(ping(32))))));
}

#[divan::bench]
fn in_process(bencher: Bencher<'_, '_>) {
    let runtime = Runtime::new().expect("a runtime");
    let client = PingPongClient::new(&InProcess::new(PingPongServer::new(Table)));
    bencher.bench_local(|| runtime.block_on(client.play(ping(32))));
}
