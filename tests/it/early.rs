//! Peers that the program has before the hello of the other side: `accept_over` gives one at once.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::{JoinHandle, yield_now},
    time::Instant,
};
use wawo::{Code, Delivery, Peer, PeerEvent, Server, Status};

use crate::support::{EchoClient, EchoServer, Parrot, message};

const HELLO: &[u8] = b"WAWO/1\r\n\0\0\0\0\x01\0\0\0\0\0\0\0";
const SECOND: Duration = Duration::from_secs(1);

/// A server, a peer of it that waits, and the other end of its transport.
struct Waiting {
    server: Server,
    peer: Peer,
    there: DuplexStream,
}

fn waiting() -> Waiting {
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let mut server = server.build().unwrap();
    let (there, here) = duplex(64 * 1024);
    let peer = server.accept_over(here).unwrap();
    Waiting {
        server,
        peer,
        there,
    }
}

impl Waiting {
    /// A call that waits, for this long.
    async fn call(&self, timeout: Duration) -> JoinHandle<Result<Bytes, Status>> {
        let call = EchoClient::new(&self.peer).say(message("early"));
        let call = tokio::spawn(async move {
            let reply = call.timeout(timeout).await;
            reply.map(|reply| reply.data)
        });
        settle().await;
        call
    }

    async fn heard(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.there.read_to_end(&mut bytes).await.unwrap();
        bytes
    }
}

/// Lets all tasks run.
async fn settle() {
    for _ in 0..16 {
        yield_now().await;
    }
}

async fn is_not_sent(call: JoinHandle<Result<Bytes, Status>>) -> Status {
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.delivery(), Delivery::NotSent, "{status}");
    status
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline_and_the_peer_waits_on() {
    let mut waiting = waiting();
    let began = Instant::now();
    let (short, long) = (waiting.call(SECOND).await, waiting.call(60 * SECOND).await);
    let status = is_not_sent(short).await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(began.elapsed(), SECOND);
    assert!(!long.is_finished() && !waiting.peer.is_closed());
    waiting.there.write_all(HELLO).await.unwrap();
    settle().await;
    let mut bytes = vec![0; 1024];
    let length = waiting.there.read(&mut bytes).await.unwrap();
    let calls = bytes[..length].windows(5).filter(|part| part == b"early");
    assert_eq!(calls.count(), 1, "the call that has ended was not sent");
    drop(waiting.there);
    assert_eq!(
        long.await.unwrap().unwrap_err().delivery(),
        Delivery::Unknown
    );
}

#[tokio::test(start_paused = true)]
async fn the_default_timeout_of_a_call_begins_before_the_hello() {
    let config = wawo::Config::builder().default_timeout(Some(2 * SECOND));
    let mut server = Server::builder().config(config.build().unwrap());
    server = server.add_service(EchoServer::new(Parrot::default()));
    let mut server = server.build().unwrap();
    let (_there, here) = duplex(1024);
    let peer = server.accept_over(here).unwrap();
    let began = Instant::now();
    let status = EchoClient::new(&peer).say(message("hi")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(began.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_close_is_told_in_place_of_the_hello() {
    let waiting = waiting();
    let mut events = waiting.server.handle().events();
    let call = waiting.call(60 * SECOND).await;
    waiting.peer.close("enough");
    let status = is_not_sent(call).await;
    assert_eq!(status.code(), Code::Unavailable);
    let event = events.next().await;
    let Some(PeerEvent::NotConnected(of, _)) = &event else {
        panic!("{event:?}");
    };
    assert_eq!(of.id(), waiting.peer.id());
    let bytes = waiting.heard().await;
    assert_eq!(bytes, b"WAWO/1\r\n\0\0\0\x06\x05\0\0\0\0\0\0\0enough");
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_the_server_ends_it_at_once() {
    let waiting = waiting();
    let call = waiting.call(60 * SECOND).await;
    let began = Instant::now();
    let report = waiting.server.handle().drain(60 * SECOND).await;
    assert_eq!((report.peers, report.cut.len()), (1, 0), "{report:?}");
    assert_eq!(began.elapsed(), Duration::ZERO);
    is_not_sent(call).await;
    assert!(waiting.heard().await.ends_with(b"drained"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_dropped_leaves_no_call_behind() {
    let Waiting {
        server,
        peer,
        there,
    } = waiting();
    let call = EchoClient::new(&peer).say(message("hi")).no_timeout();
    let call = tokio::spawn(call.into_future());
    settle().await;
    drop(server);
    assert_eq!(
        call.await.unwrap().unwrap_err().delivery(),
        Delivery::NotSent
    );
    assert!(peer.is_closed());
    drop(there);
}

#[tokio::test(start_paused = true)]
async fn it_says_how_many_calls_wait() {
    let waiting = waiting();
    let calls = [
        waiting.call(60 * SECOND).await,
        waiting.call(60 * SECOND).await,
    ];
    let snapshot = waiting.peer.snapshot().await;
    assert_eq!((snapshot.calls_out, snapshot.calls_in), (2, 0));
    for call in calls {
        call.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_never_comes_ends_the_calls_that_wait() {
    let waiting = waiting();
    let call = waiting.call(60 * SECOND).await;
    let began = Instant::now();
    let status = is_not_sent(call).await;
    assert!(status.message().contains("handshake_timeout"), "{status}");
    assert_eq!(began.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_dropped_while_they_wait_are_not_served() {
    let mut waiting = waiting();
    let call = EchoClient::new(&waiting.peer).say(message("dropped"));
    let mut call = Box::pin(call.into_future());
    assert!(call.as_mut().now_or_never().is_none());
    drop(call);
    let kept = waiting.call(60 * SECOND).await;
    waiting.there.write_all(HELLO).await.unwrap();
    settle().await;
    let mut bytes = vec![0; 1024];
    let length = waiting.there.read(&mut bytes).await.unwrap();
    let has = |text: &[u8]| bytes[..length].windows(text.len()).any(|part| part == text);
    assert!(has(b"early") && !has(b"dropped"));
    kept.abort();
}
