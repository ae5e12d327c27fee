//! Sockets of wawo's own protocol before their hello: nobody hears of them, unless they fail.

use std::time::Duration;

use futures::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::yield_now,
};
use wawo::{
    ConnectionLimit, Events, Peer, PeerEvent, Server, ServerConfig, ServerConfigBuilder,
    ServerHandle,
};

use crate::support::{EchoClient, EchoServer, Parrot, message, of_server};

/// A preface, and a hello with the minimum of all limits.
const HELLO: &[u8] = b"WAWO/1\r\n\0\0\0\0\x01\0\0\0\0\0\0\0";

/// A server that serves no listener, and stops when it is dropped.
fn server(config: impl Into<ServerConfig>) -> Server {
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    server.config(config).build().unwrap()
}

fn limited(set: impl FnOnce(ServerConfigBuilder) -> ServerConfigBuilder) -> Server {
    let nobody: [&str; 0] = [];
    server(of_server(|config| set(config).trusted_proxies(nobody)))
}

fn socket(handle: &ServerHandle, from: &str) -> DuplexStream {
    let (here, there) = duplex(64 * 1024);
    handle.accept_from(there, from).unwrap();
    here
}

/// Lets all tasks run.
async fn settle() {
    for _ in 0..16 {
        yield_now().await;
    }
}

/// The events so far.
fn so_far(events: &mut Events) -> Vec<PeerEvent> {
    std::iter::from_fn(|| events.next().now_or_never().flatten()).collect()
}

async fn heard(mut socket: DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_socket_has_no_peer_and_no_event_before_its_hello_is_whole() {
    let server = server(ServerConfig::default());
    let handle = server.handle();
    let mut events = handle.events();
    let mut socket = socket(&handle, "mem://there");
    // The server says nothing before.
    let (last, before) = HELLO.split_last().unwrap();
    for byte in before {
        socket.write_all(&[*byte]).await.unwrap();
        settle().await;
        assert!(handle.peers().is_empty());
        assert!(so_far(&mut events).is_empty());
    }
    assert!(socket.read_u8().now_or_never().is_none());
    socket.write_all(&[*last]).await.unwrap();
    socket.read_exact(&mut [0; 20]).await.unwrap();
    settle().await;
    let came = so_far(&mut events);
    let [PeerEvent::Connected(peer)] = &came[..] else {
        panic!("{came:?}");
    };
    assert_eq!(peer.id(), handle.peers()[0].id());
    assert_eq!(peer.upgrade().unwrap().address(), peer.address());
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_is_reported_without_a_peer() {
    let server = server(ServerConfig::default());
    let handle = server.handle();
    let mut events = handle.events();
    let socket = socket(&handle, "mem://there");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let came = so_far(&mut events);
    let [PeerEvent::NotConnected(peer, error)] = &came[..] else {
        panic!("{came:?}");
    };
    let text = "no hello from the peer within 5s (handshake_timeout)";
    assert_eq!(error.to_string(), text);
    assert_eq!(peer.address().unwrap().to_string(), "mem://there");
    assert!(peer.upgrade().is_none());
    assert!(heard(socket).await.ends_with(text.as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_handshakes_at_once_and_they_are_no_peers() {
    let server = server(ServerConfig::default());
    let handle = server.handle();
    let mut events = handle.events();
    let silent = socket(&handle, "mem://silent");
    let mut begun = socket(&handle, "mem://begun");
    begun.write_all(&HELLO[..11]).await.unwrap();
    let fresh = socket(&handle, "mem://fresh");
    settle().await;
    // A drain waits for all sockets, and a second client connects while it does.
    let began = tokio::time::Instant::now();
    let report = handle.drain(Duration::from_secs(60)).await;
    assert_eq!((report.peers, began.elapsed()), (0, Duration::ZERO));
    for socket in [silent, begun, fresh] {
        let heard = heard(socket).await;
        assert!(heard.starts_with(b"WAWO/1\r\n") && heard.ends_with(b"drained"));
    }
    let came = so_far(&mut events);
    let failed = |event: &PeerEvent| matches!(event, PeerEvent::NotConnected(..));
    assert!(came.len() == 3 && came.iter().all(failed), "{came:?}");
}

/// The socket is asked before it has run for the first time, while it waits, or when its hello has come
/// and was not read.
#[tokio::test(start_paused = true)]
async fn one_that_makes_room_hears_why_and_has_two_events() {
    for (has_run, says) in [(false, &b""[..]), (true, b""), (false, HELLO)] {
        let config = |config: ServerConfigBuilder| {
            config.max_connections(2).max_connections_per_host(Some(2))
        };
        let server = limited(config);
        let handle = server.handle();
        let mut events = handle.events();
        let mut first = socket(&handle, "tcp://10.0.0.1:1");
        let _second = socket(&handle, "tcp://10.0.0.1:2");
        if has_run {
            settle().await;
        }
        first.write_all(says).await.unwrap();
        let third = socket(&handle, "tcp://10.0.0.2:1");
        let heard = heard(first).await;
        let text = b"more connections than its share (max_connections)";
        assert!(heard.ends_with(text), "{}", heard.escape_ascii());
        settle().await;
        let came = so_far(&mut events);
        let [
            PeerEvent::Closed(closed, ConnectionLimit::MaxConnections),
            PeerEvent::NotConnected(over, _),
        ] = &came[..]
        else {
            panic!("{came:?}");
        };
        assert_eq!(closed.id(), over.id());
        assert_eq!(over.address().unwrap().to_string(), "tcp://10.0.0.1:1");
        let peer = Peer::builder("").connect_over(third).await.unwrap();
        EchoClient::new(&peer).say(message("a")).await.unwrap();
    }
}

/// A socket that is asked before its task has run for the first time answers too.
#[tokio::test(start_paused = true)]
async fn one_that_has_not_run_yet_is_not_taken_for_silent_if_its_hello_is_here() {
    let server = limited(|config| config.max_handshakes(1));
    let handle = server.handle();
    let mut first = socket(&handle, "mem://first");
    let second = socket(&handle, "mem://second");
    first.write_all(HELLO).await.unwrap();
    let third = socket(&handle, "mem://third");
    settle().await;
    assert_eq!(handle.peers().len(), 1);
    let text = b"no hello, and others wait (max_handshakes)";
    assert!(heard(second).await.ends_with(text));
    let peer = Peer::builder("").connect_over(third).await.unwrap();
    assert_eq!(handle.peers().len(), 2);
    drop((first, peer));
}

/// The program has a peer at once where it has opened the transport itself. Its calls wait for the
/// hello.
#[tokio::test(start_paused = true)]
async fn a_transport_of_the_program_has_a_peer_before_its_hello() {
    let mut server = limited(|config| config.max_handshakes(1));
    let pairs: Vec<_> = (0..3)
        .map(|_| {
            let (here, there) = duplex(64 * 1024);
            (here, server.accept_over(there).unwrap())
        })
        .collect();
    settle().await;
    assert_eq!(server.handle().peers().len(), 3);
    for (mut here, peer) in pairs {
        let call = EchoClient::new(&peer).say(message("a"));
        let call = tokio::spawn(call.into_future());
        settle().await;
        assert!(here.read_u8().now_or_never().is_none());
        here.write_all(HELLO).await.unwrap();
        // The call leaves behind the server's hello.
        let mut bytes = Vec::new();
        while !bytes.windows(3).any(|bytes| bytes == b"\x0a\x01a") {
            bytes.push(here.read_u8().await.unwrap());
        }
        assert!(bytes.starts_with(&HELLO[..8]));
        drop(here);
        call.await.unwrap().unwrap_err();
    }
}
