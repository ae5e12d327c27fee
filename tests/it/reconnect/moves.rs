//! A server asks its peers to connect anew, before it drains.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;
use wawo::{Events, Peer, PeerEvent, Reconnect, Server, ServerHandle};

use super::{SECOND, until};
use crate::support::{EchoClient, EchoServer, Parrot, Seen, message};

/// A server that runs at an address, and its handle.
async fn serve(address: &str) -> (ServerHandle, std::sync::Arc<Seen>) {
    let parrot = Parrot::default();
    let seen = parrot.0.clone();
    let server = Server::builder().add_service(EchoServer::new(parrot));
    let server = server.bind(address).await.unwrap();
    let handle = server.handle();
    tokio::spawn(server.run());
    (handle, seen)
}

/// Waits for the next connection. The one before it is not lost.
async fn next_connection(events: &mut Events) {
    assert!(matches!(events.next().await, Some(PeerEvent::Move(..))));
    assert!(matches!(events.next().await, Some(PeerEvent::Connected(_))));
}

#[tokio::test(start_paused = true)]
async fn peers_that_are_asked_to_move_come_back_within_their_slices() {
    let (old, _) = serve("mem://move-old").await;
    let (new, _) = serve("mem://move-new").await;
    let mut peers = Vec::new();
    for _ in 0..60 {
        let builder = Peer::builder("mem://move-old").reconnect(Reconnect::default());
        let peer = builder.connect().await.unwrap();
        peers.push((peer.events(), peer));
    }
    let begin = Instant::now();
    let to = "mem://move-new".parse().unwrap();
    let drain = old.drain(10 * SECOND).spread(60 * SECOND).move_to(to);
    let drain = tokio::spawn(drain.into_future());
    let moves = peers.into_iter().map(|(mut events, peer)| async move {
        next_connection(&mut events).await;
        let moved = begin.elapsed();
        EchoClient::new(&peer).say(message("hi")).await.unwrap();
        (moved, peer)
    });
    let mut moved = futures::future::join_all(moves).await;
    let report = drain.await.unwrap();
    assert_eq!((report.peers, report.cut.len()), (60, 0), "{report:?}");
    assert_eq!(new.peers().len(), 60);
    // Each second has one slice, and its peer comes back within it.
    moved.sort_by_key(|(time, _)| *time);
    for (second, (time, _)) in (0..).zip(&moved) {
        let late = time.checked_sub(Duration::from_secs(second));
        assert!(
            late.is_some_and(|late| late < SECOND + SECOND / 10),
            "{second}: {time:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn calls_go_on_over_the_old_connection_until_and_while_a_peer_moves() {
    let (old, seen) = serve("mem://move-calls").await;
    let (_new, _) = serve("mem://move-calls-new").await;
    let builder = Peer::builder("mem://move-calls").reconnect(Reconnect::default());
    let peer = builder.connect().await.unwrap();
    let (mut events, echo) = (peer.events(), EchoClient::new(&peer));
    let held = tokio::spawn(echo.act(message("hold")).timeout(600 * SECOND));
    seen.until(|seen| seen.begun.load(Ordering::SeqCst) == 1)
        .await;
    let to = "mem://move-calls-new".parse().unwrap();
    let drain = old.drain(600 * SECOND).spread(10 * SECOND).move_to(to);
    let drain = tokio::spawn(drain.into_future());
    assert!(matches!(events.next().await, Some(PeerEvent::Move(..))));
    // The peer does not wait for readiness, and yet no call fails.
    let calls = async {
        loop {
            echo.say(message("hi")).await.unwrap();
            tokio::time::sleep(SECOND / 100).await;
        }
    };
    tokio::select! {
        () = calls => {}
        _ = until(&mut events, "connected") => {}
    }
    for _ in 0..500 {
        echo.say(message("hi")).await.unwrap();
        tokio::time::sleep(SECOND / 100).await;
    }
    assert!(!drain.is_finished());
    seen.release.notify_one();
    assert_eq!(held.await.unwrap().unwrap().data, "hold");
    let report = drain.await.unwrap();
    assert_eq!((report.peers, report.cut.len()), (1, 0), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_cannot_move_goes_back_to_its_address() {
    for to in ["mem://nobody-is-there", "tcp://127.0.0.1:1"] {
        let (old, _) = serve("mem://move-back").await;
        let builder = Peer::builder("mem://move-back").reconnect(Reconnect::default());
        let peer = builder.connect().await.unwrap();
        let mut events = peer.events();
        let drain = old
            .drain(10 * SECOND)
            .spread(5 * SECOND)
            .move_to(to.parse().unwrap());
        drain.await;
        let (_again, _) = serve("mem://move-back").await;
        until(&mut events, "connected").await;
        EchoClient::new(&peer).say(message("hi")).await.unwrap();
        peer.close("done");
        peer.closed().await;
        _again.drain(SECOND).await;
    }
}
