//! Transports that hold bytes back until they are flushed, as TLS does.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use prost::Message as _;
use tokio::{
    io::{
        AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
    },
    time::Instant,
};
use wawo::{Code, ConnectionError, Peer, Server};

use crate::support::{EchoClient, EchoServer, Parrot, echo_service::method::SAY, message};

/// Holds written bytes back until it is flushed.
struct HoldsBack {
    inner: DuplexStream,
    held: Vec<u8>,
}

impl HoldsBack {
    fn new(inner: DuplexStream) -> Self {
        let held = Vec::new();
        Self { inner, held }
    }
}

impl AsyncRead for HoldsBack {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for HoldsBack {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.held.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { inner, held } = &mut *self;
        while !held.is_empty() {
            let written = ready!(Pin::new(&mut *inner).poll_write(cx, held))?;
            held.drain(..written);
        }
        Pin::new(inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A server and a peer, each behind a transport that holds bytes back, over a pipe of `room` bytes.
async fn pair(room: usize) -> (Server, Peer) {
    let (here, there) = duplex(room);
    let parrot = EchoServer::new(Parrot::default());
    let mut server = Server::builder().add_service(parrot).build().unwrap();
    let _ = server.accept_over(HoldsBack::new(there)).unwrap();
    let peer = Peer::builder("").connect_over(HoldsBack::new(here)).await;
    (server, peer.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_call_over_a_transport_that_holds_back_is_answered() {
    let (_server, peer) = pair(4 * 1024).await;
    let client = EchoClient::new(&peer);
    for length in [0, 100, 64 * 1024, 1024 * 1024] {
        let reply = client.say(message(vec![7; length])).await.unwrap();
        assert_eq!(reply.data.len(), length);
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// A server behind a transport that holds bytes back, and the raw other end, which has sent its
/// hello, over a pipe of `room` bytes.
async fn raw(room: usize) -> (Server, Peer, DuplexStream) {
    let (mut here, there) = duplex(room);
    let parrot = EchoServer::new(Parrot::default());
    let mut server = Server::builder().add_service(parrot).build().unwrap();
    let to_client = server.accept_over(HoldsBack::new(there)).unwrap();
    let hello = b"WAWO/1\r\n\0\0\0\0\x01\0\0\0\0\0\0\0";
    here.write_all(hello).await.unwrap();
    (server, to_client, here)
}

/// A packet that calls `say` with a message of the given size.
fn call(bytes: usize) -> Vec<u8> {
    let message = message(vec![7; bytes]).encode_to_vec();
    let mut packet = Vec::new();
    packet.extend_from_slice(&(message.len() as u32 + 8).to_be_bytes());
    packet.extend_from_slice(&[6, 1, 0, 0, 0, 0, 0, 1]);
    packet.extend_from_slice(&SAY.service().0.to_be_bytes());
    packet.extend_from_slice(&SAY.id().0.to_be_bytes());
    packet.extend_from_slice(&message);
    packet
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_when_a_transport_has_passed_on_what_it_held_back() {
    let (_server, to_client, mut here) = raw(4 * 1024).await;
    here.write_all(&call(15_000)).await.unwrap();
    // By then the call was answered, and the pipe has no room for the whole reply.
    let mut first = [0; 1024];
    here.read_exact(&mut first).await.unwrap();
    let draining = tokio::spawn(async move { to_client.drain(10 * SECOND).await });
    // Longer than the end of a connection may take.
    tokio::time::sleep(3 * SECOND).await;
    let mut rest = Vec::new();
    here.read_to_end(&mut rest).await.unwrap();
    let read = first.len() + rest.len();
    assert!(read > 15_000, "{read} bytes");
    assert_eq!(draining.await.unwrap().cut.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_of_what_a_transport_holds_back_is_cut_off() {
    let (_server, to_client, _here) = raw(1024).await;
    let began = Instant::now();
    let client = EchoClient::new(&to_client);
    let call = client.say(message(vec![7; 4096])).timeout(60 * SECOND);
    let status = call.await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let why = to_client.closed().await;
    assert!(matches!(why, ConnectionError::SlowReader { .. }), "{why}");
    let passed = began.elapsed();
    assert!((10 * SECOND..12 * SECOND).contains(&passed), "{passed:?}");
}
