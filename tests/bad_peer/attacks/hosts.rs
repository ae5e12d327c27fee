//! A host that takes all connections of a server, beside other hosts. Linux gives one machine many
//! addresses without configuration.

use std::future::IntoFuture;

use wawo::{CloseCode, ConnectionLimit, Peer, PeerEvent, ServerConfig};
use wawo_protocol::packet::Packet;

use crate::{
    attacks::crowds::NOBODY,
    service::{EchoClient, message as text},
    target::{Target, builder, of_server},
    wire::{ACT, END, REPLY, TALK, packet, stream_with, unary},
};

/// A server that counts this machine too, for these many connections, and from one host.
fn counted(max: usize, per_host: usize) -> ServerConfig {
    of_server(|config| {
        let config = config.max_connections(max);
        let config = config.max_connections_per_host(Some(per_host));
        config.trusted_proxies(NOBODY)
    })
}

/// Attack 12: one host takes all connections, says hello on each and answers pings, and shuts
/// nobody out.
#[tokio::test]
async fn a_host_that_takes_all_connections_makes_room_for_others() {
    const MAX: usize = 100;
    let (server, seen) = builder(counted(MAX, usize::MAX));
    let mut target = Target::tcp_with(server, seen).await;
    // This peer connects from 127.0.0.1 and has made a call, so it is not among the first to be
    // closed.
    let honest = target.honest().await;
    let mut crowd = Vec::new();
    while crowd.len() < MAX - 1 {
        let mut raw = target.raw_from("127.0.0.66").await;
        raw.greet().await;
        crowd.push(raw);
    }
    // Further connections of the host close others of the same host, because it has more than its
    // share of the half.
    let mut last = target.raw_from("127.0.0.66").await;
    let mut events = target.handle.events();
    honest.beside(last.greet()).await;
    crowd.push(last);
    let limit = loop {
        if let Some(PeerEvent::Closed(_, limit)) = events.next().await {
            break limit;
        }
    };
    assert_eq!(limit, ConnectionLimit::MaxConnections);
    let mut guests = Vec::new();
    for (number, raw) in (1..=40).zip(&mut crowd[1..]) {
        let mut guest = target.raw_from(&format!("127.0.1.{number}")).await;
        honest.beside(guest.greet()).await;
        guest.goes_on().await;
        let (code, why) = raw.closed().await;
        assert_eq!(code, CloseCode::LimitExceeded);
        let text = "closed to make room: this host has more connections than its share";
        assert_eq!(why, format!("{text} (max_connections)"));
        guests.push(guest);
    }
    crowd[MAX - 1].goes_on().await;
    honest.leave().await;
}

/// Attack 12: when a host must make room, its used connections stay.
#[tokio::test]
async fn a_connection_that_had_a_call_in_either_direction_stays() {
    let (server, seen) = builder(counted(4, 4));
    let target = Target::tcp_with(server, seen).await;
    let mut crowd = Vec::new();
    for _ in 0..4 {
        let mut raw = target.raw_from("127.0.0.66").await;
        raw.greet().await;
        crowd.push(raw);
    }
    // The first peer calls, and the second is called.
    crowd[0].send(unary(1, ACT, "hi")).await.unwrap();
    crowd[0].replied(1).await;
    let mut peers = target.handle.peers();
    peers.sort_by_key(Peer::id);
    let called = EchoClient::new(&peers[1]).say(text("hi"));
    let called = tokio::spawn(called.into_future());
    assert!(matches!(crowd[1].next().await, Some(Packet::Call(_))));
    crowd[1]
        .send(packet(REPLY).flags(END).call(2))
        .await
        .unwrap();
    called.await.unwrap().unwrap();
    let mut guests = Vec::new();
    for (number, index) in [(1, 2), (2, 3)] {
        let mut guest = target.raw_from(&format!("127.0.1.{number}")).await;
        guest.greet().await;
        guests.push(guest);
        assert_eq!(crowd[index].closed().await.0, CloseCode::LimitExceeded);
    }
    crowd[0].goes_on().await;
    crowd[1].goes_on().await;
}

/// Attack 12: when a host must make room, a connection with a call in flight stays while there is
/// any other, however old the call is.
#[tokio::test]
async fn a_connection_that_has_a_call_goes_after_those_that_had_one() {
    let (server, seen) = builder(counted(5, 5));
    let target = Target::tcp_with(server, seen.clone()).await;
    let mut crowd = Vec::new();
    for _ in 0..5 {
        let mut raw = target.raw_from("127.0.0.66").await;
        raw.greet().await;
        crowd.push(raw);
    }
    // One handler at work, one idle stream, and three answered calls.
    crowd[0].send(unary(1, ACT, "wait")).await.unwrap();
    crowd[1]
        .send(stream_with(1, TALK, ("do", "hold")))
        .await
        .unwrap();
    seen.until_live(2).await;
    for raw in &mut crowd[2..] {
        raw.send(unary(1, ACT, "hi")).await.unwrap();
        raw.replied(1).await;
    }
    let mut guests = Vec::new();
    // At last the share is one connection.
    for (number, index) in [(1, 2), (2, 3), (3, 4), (4, 0)] {
        let mut guest = target.raw_from(&format!("127.0.1.{number}")).await;
        guest.greet().await;
        guests.push(guest);
        assert_eq!(crowd[index].closed().await.0, CloseCode::LimitExceeded);
    }
    crowd[1].goes_on().await;
}
