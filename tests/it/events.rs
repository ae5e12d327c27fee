//! The events that report changes of peers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::StreamExt;
use tokio::{io::AsyncWriteExt, time::timeout};
use tower::{Service, layer::layer_fn};
use wawo::{ConnectionLimit, Events, Peer, PeerEvent, Request, Server};

use crate::{
    logged::Log,
    support::{EchoClient, EchoServer, Parrot, message, of_server, pair},
};

async fn next(events: &mut Events) -> PeerEvent {
    let event = timeout(Duration::from_secs(5), events.next()).await;
    event.expect("in time").expect("not over")
}

#[tokio::test]
async fn listeners_of_a_server_hear_of_all_its_peers() {
    let name = "mem://listeners_of_a_server";
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let server = server.bind(name).await.unwrap();
    let handle = server.handle();
    let (mut one, mut other) = (handle.events(), handle.events());
    let running = tokio::spawn(server.run());
    let peer = Peer::connect(name).await.unwrap();
    for events in [&mut one, &mut other] {
        let event = next(events).await;
        let PeerEvent::Connected(connected) = &event else {
            panic!("{event:?}");
        };
        // The server can call the peer at once.
        let connected = connected.upgrade().unwrap();
        assert_eq!(handle.peers().len(), 1);
        let id = connected.id();
        assert_eq!(handle.peers()[0].id(), id);
        assert_eq!(handle.peer(id).unwrap().address(), connected.address());
        assert!(handle.peer(peer.id()).is_none(), "not one of the server's");
    }
    let id = handle.peers()[0].id();
    peer.close("bye");
    let event = next(&mut one).await;
    assert!(
        matches!(&event, PeerEvent::Disconnected(_, reason) if reason.to_string().contains("bye")),
        "{event:?}"
    );
    while handle.peer(id).is_some() {
        tokio::task::yield_now().await;
    }
    running.abort();
}

#[tokio::test]
async fn a_peer_that_speaks_another_protocol_never_connects() {
    let mut server = Server::builder().build().unwrap();
    let mut events = server.handle().events();
    let (mut here, there) = tokio::io::duplex(1024);
    let peer = server.accept_over(there).unwrap();
    here.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let event = next(&mut events).await;
    let PeerEvent::NotConnected(who, reason) = &event else {
        panic!("{event:?}");
    };
    assert_eq!(who.id(), peer.id());
    assert!(reason.to_string().contains("not a wawo connection"));
}

#[tokio::test]
async fn a_peer_tells_of_itself_only_and_ends_with_its_connection() {
    let mut pair = pair().await;
    let (here, there) = tokio::io::duplex(1024);
    let _ = pair.server.accept_over(there).unwrap();
    let other = Peer::builder("").connect_over(here).await.unwrap();
    let events = pair.to_client.events();
    let at_client = pair.to_server.events();
    drop(other);
    pair.to_server.close("");
    for events in [events, at_client] {
        let all: Vec<_> = events.collect().await;
        assert!(matches!(all[..], [PeerEvent::Disconnected(..)]), "{all:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_told_of_as_blocked_and_then_writable() {
    let (here, mut there) = tokio::io::duplex(64 * 1024);
    there
        .write_all(b"WAWO/1\r\n\0\0\0\0\x01\0\0\0\0\0\0\0")
        .await
        .unwrap();
    let peer = Peer::builder("").connect_over(here).await.unwrap();
    let mut events = peer.events();
    let echo = EchoClient::new(&peer);
    let notes: Vec<_> = (0..100)
        .map(|_| tokio::spawn(echo.note(message(vec![0; 60_000])).into_future()))
        .collect();
    assert!(matches!(next(&mut events).await, PeerEvent::Blocked(_)));
    // Now the peer reads, and grants credit for what it has read.
    let credit = [0, 0, 0, 4, 11, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    there.write_all(&credit).await.unwrap();
    let (mut reads, _writes) = tokio::io::split(there);
    let reading =
        tokio::spawn(async move { tokio::io::copy(&mut reads, &mut tokio::io::sink()).await });
    assert!(matches!(next(&mut events).await, PeerEvent::Writable(_)));
    for note in notes {
        note.await.unwrap().unwrap();
    }
    reading.abort();
}

#[tokio::test]
async fn a_slow_listener_loses_the_oldest_and_hears_how_many() {
    let name = "mem://a_slow_listener";
    let server = Server::builder().bind(name).await.unwrap();
    let mut events = server.handle().events();
    let running = tokio::spawn(server.run());
    for _ in 0..200 {
        let peer = Peer::connect(name).await.unwrap();
        peer.close("");
        peer.closed().await;
    }
    let mut heard = 0;
    let mut missed = 0;
    while heard + missed < 300 {
        match next(&mut events).await {
            PeerEvent::Missed(count) => missed += count,
            _ => heard += 1,
        }
    }
    assert!(missed > 0);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn events_of_a_peer_that_has_gone_are_its_end() {
    let pair = pair().await;
    pair.to_server.close("bye");
    pair.to_server.closed().await;
    let mut events = pair.to_server.events();
    let last = events.next().await;
    assert!(
        matches!(last, Some(PeerEvent::Disconnected(..))),
        "{last:?}"
    );
    assert!(events.next().await.is_none());
}

/// The closure of `bind_with` is user code, and runs in the accept loop.
#[tokio::test]
async fn a_panic_while_a_connection_is_opened_ends_that_one_alone() {
    let name = "mem://a_panic_while_a_connection_is_opened";
    let opened = AtomicUsize::new(0);
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let mut server = server
        .config(of_server(|config| config.max_connections(2)))
        .build()
        .unwrap();
    let wrap = move |transport| match opened.fetch_add(1, Ordering::SeqCst) {
        1 => panic!("no second one"),
        _ => transport,
    };
    server.bind_with(name, wrap).await.unwrap();
    let handle = server.handle();
    let mut events = handle.events();
    let running = tokio::spawn(server.run());
    let first = Peer::connect(name).await.unwrap();
    assert!(Peer::connect(name).await.is_err());
    let failed = loop {
        if let PeerEvent::AcceptFailed(error) = next(&mut events).await {
            break error.to_string();
        }
    };
    assert_eq!(failed, "opening the connection panicked: no second one");
    // It does not occupy a slot any more, and the others are served.
    let third = Peer::connect(name).await.unwrap();
    for peer in [&first, &third] {
        EchoClient::new(peer).say(message("hi")).await.unwrap();
    }
    // A refused peer learns it through the same transport.
    let refused = Peer::connect(name).await.unwrap_err();
    assert!(
        format!("{refused:?}").contains("max_connections"),
        "{refused:?}"
    );
    let limit = loop {
        if let PeerEvent::Refused(from, limit) = next(&mut events).await {
            assert_eq!(from.to_string(), name);
            break limit;
        }
    };
    assert_eq!(limit, ConnectionLimit::MaxConnections);
    handle.drain(Duration::ZERO).await;
    running.await.unwrap().unwrap();
}

/// A layer whose service is cloned for each connection, and panics on a clone.
#[derive(Debug)]
struct Fragile<S>(S, Arc<AtomicUsize>);

impl<S: Clone> Clone for Fragile<S> {
    fn clone(&self) -> Self {
        assert!(
            self.1.fetch_add(1, Ordering::SeqCst) != 1,
            "no second clone"
        );
        Self(self.0.clone(), self.1.clone())
    }
}

impl<S: Service<Request>> Service<Request> for Fragile<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.0.call(request)
    }
}

#[tokio::test]
async fn a_service_that_panics_when_it_is_cloned_ends_one_connection_alone() {
    let name = "mem://a_service_that_panics_when_it_is_cloned";
    let clones = Arc::new(AtomicUsize::new(0));
    let fragile = layer_fn(move |service| Fragile(service, clones.clone()));
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let server = server.layer(fragile).bind(name).await.unwrap();
    let mut events = server.handle().events();
    let running = tokio::spawn(server.run());
    let mut served = 0;
    for _ in 0..3 {
        if let Ok(peer) = Peer::connect(name).await {
            EchoClient::new(&peer).say(message("hi")).await.unwrap();
            served += 1;
        }
    }
    assert_eq!(served, 2);
    let failed = loop {
        if let PeerEvent::AcceptFailed(error) = next(&mut events).await {
            break error.to_string();
        }
    };
    assert_eq!(failed, "opening the connection panicked: no second clone");
    running.abort();
}

/// The limit in the next event that reports a connection closed by the server itself.
async fn closed(events: &mut Events) -> ConnectionLimit {
    loop {
        if let PeerEvent::Closed(_, limit) = next(events).await {
            return limit;
        }
    }
}

#[tokio::test]
async fn a_closed_silent_connection_is_reported() {
    let (log, _guard) = Log::begin();
    let mut server = Server::builder()
        .config(of_server(|config| config.max_handshakes(1)))
        .build()
        .unwrap();
    server.bind("tcp://127.0.0.1:0").await.unwrap();
    let address = server.addresses()[0].to_string();
    let handle = server.handle();
    let mut events = handle.events();
    let running = tokio::spawn(server.run());
    let connect = || tokio::net::TcpStream::connect(address.trim_start_matches("tcp://"));
    // When the second one is there, the first one is checked.
    let _silent = [connect().await.unwrap(), connect().await.unwrap()];
    assert_eq!(closed(&mut events).await, ConnectionLimit::MaxHandshakes);
    handle.drain(Duration::ZERO).await;
    running.await.unwrap().unwrap();
    let lines = log.lines("had not said hello");
    assert_eq!(lines.len(), 1, "{log:?}");
    let text = "limit=max_handshakes max=1";
    assert!(
        lines[0].starts_with("WARN") && lines[0].contains(text),
        "{lines:?}"
    );
    assert!(lines[0].contains("from=tcp://127.0.0.1:"), "{lines:?}");
}
