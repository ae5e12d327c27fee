//! Many connections that stay silent, or that connect and disconnect.

use std::{sync::atomic::Ordering, thread, time::Duration};

use tokio::{
    net::TcpStream,
    runtime::{Builder, Handle},
    time::{sleep, timeout},
};
use wawo::{CloseCode, Config, ConnectError, ConnectionLimit, Events, Peer, PeerEvent};
use wawo_protocol::packet::PREFACE;

use crate::{
    memory::held,
    raw::Raw,
    service::Seen,
    target::{Alone, Target, builder, of_server},
    wire::{ACT, HELLO, note, packet, unary},
};

/// No proxy is trusted, so connections from this machine are counted by host.
pub(crate) const NOBODY: [&str; 0] = [];

/// The number of connections that connect and disconnect, in each of three ways; fewer in debug
/// builds, which are slow.
const CYCLES: usize = if cfg!(debug_assertions) {
    2_000
} else {
    20_000 / 3
};

/// Attack 12: silent connections keep nobody out, and the oldest of them are closed first.
#[tokio::test]
async fn a_crowd_that_says_nothing_keeps_nobody_out() {
    const CROWD: usize = 300;
    const MAX: usize = 100;
    let (server, seen) = builder(of_server(|config| config.max_handshakes(MAX)));
    let mut target = Target::tcp_with(server, seen).await;
    let honest = target.honest().await;
    let mut crowd = Vec::new();
    let attack = async {
        for _ in 0..CROWD {
            // The server accepts them in the order in which they connect.
            crowd.push(target.raw().await);
        }
    };
    honest.beside(attack).await;
    for raw in &mut crowd[..CROWD - MAX] {
        let (code, why) = raw.closed().await;
        assert_eq!(code, CloseCode::LimitExceeded);
        assert_eq!(why, "no hello, and others wait (max_handshakes)");
    }
    // Another honest peer connects, and one more silent connection is closed.
    target.honest().await.leave().await;
    // The youngest silent connection can still say hello.
    let youngest = crowd.last_mut().unwrap();
    youngest.send(PREFACE).await.unwrap();
    youngest.send(packet(HELLO)).await.unwrap();
    youngest.goes_on().await;
    honest.leave().await;
}

/// Attack 12: a limit per host, which the refused peer is told about.
#[tokio::test]
async fn a_host_has_no_more_connections_than_its_share() {
    let (server, seen) = builder(of_server(|config| {
        let config = config.max_connections_per_host(Some(3));
        config.trusted_proxies(NOBODY)
    }));
    let mut target = Target::tcp_with(server, seen).await;
    let mut events = target.handle.events();
    let honest = target.honest().await;
    let mut first = target.greeted().await;
    let second = target.greeted().await;
    let mut third = target.raw().await;
    let (code, why) = honest.beside(third.closed()).await;
    let text = "this host has 3 connections and may have no more (max_connections_per_host)";
    assert_eq!((code, &*why), (CloseCode::LimitExceeded, text));
    assert_eq!(
        refusal(&mut events).await,
        ConnectionLimit::MaxConnectionsPerHost
    );
    // A peer that disconnects makes room.
    drop(second);
    until_peers(&target, 2).await;
    let mut fourth = target.greeted().await;
    first.goes_on().await;
    fourth.goes_on().await;
    honest.leave().await;
}

/// Attack 12: if no host has more than its share, connections over the server's limit are refused
/// at once and are told why, even a peer that speaks first.
#[tokio::test]
async fn connections_over_the_limit_are_refused_at_once() {
    let (server, seen) = builder(of_server(|config| config.max_connections(2)));
    let mut target = Target::tcp_with(server, seen).await;
    let mut events = target.handle.events();
    let honest = target.honest().await;
    let first = target.greeted().await;
    let mut second = target.raw().await;
    let (code, why) = honest.beside(second.closed()).await;
    let text = "the server has 2 connections and takes no more (max_connections)";
    assert_eq!((code, &*why), (CloseCode::LimitExceeded, text));
    assert_eq!(refusal(&mut events).await, ConnectionLimit::MaxConnections);
    // This peer has said hello and made a call before it is told.
    let mut hasty = target.raw().await;
    hasty.send(PREFACE).await.unwrap();
    hasty.send(packet(HELLO)).await.unwrap();
    hasty.send(unary(1, ACT, "hi")).await.unwrap();
    assert_eq!(hasty.closed().await.1, text);
    let Err(ConnectError::Hello { source, .. }) = Peer::connect(target.address()).await else {
        panic!("connected over the limit");
    };
    let expected = format!("the peer closed the connection (limit exceeded): {text}");
    assert_eq!(source.to_string(), expected);
    assert_eq!(target.handle.peers().len(), 2);
    drop(first);
    until_peers(&target, 1).await;
    target.greeted().await.goes_on().await;
    honest.leave().await;
}

/// Attack 12, by friends: all peers reconnect at once, and a server of one thread reads from none
/// before all have connected. No peer is taken for silent.
#[test]
fn a_storm_of_peers_that_have_said_hello_is_served() {
    const STORM: usize = 100;
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let (servers, clients) = (runtime(), runtime());
    let server = servers.block_on(async {
        let server = builder(of_server(|config| config.max_handshakes(7))).0;
        server.bind("tcp://127.0.0.1:0").await.unwrap()
    });
    let address = server.addresses()[0].to_string();
    let mut storm = clients.block_on(async {
        let mut storm = Vec::new();
        for _ in 0..STORM {
            let mut raw = Raw::over_tcp(&address).await;
            raw.send(PREFACE).await.unwrap();
            raw.send(packet(HELLO)).await.unwrap();
            storm.push(raw);
        }
        storm
    });
    // By now everything is in the backlog and in socket buffers.
    let handle = server.handle();
    let serving = thread::spawn(move || servers.block_on(server.run()));
    clients.block_on(async {
        for raw in &mut storm {
            raw.goes_on().await;
        }
        assert_eq!(handle.peers().len(), STORM);
        handle.drain(Duration::ZERO).await;
    });
    serving.join().unwrap().unwrap();
}

/// Attack 12: the server looks for received bytes before it takes a peer for silent, even if it had
/// no time to read them. Half a hello counts.
#[tokio::test]
async fn a_peer_that_has_sent_bytes_is_not_taken_for_a_silent_one() {
    let (server, seen) = builder(of_server(|config| config.max_handshakes(1)));
    let mut target = Target::tcp_with(server, seen).await;
    let mut first = target.raw().await;
    // The server accepts it, and finds it silent.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    // Both arrive before this test lets the server run: both use the test's only thread.
    let halves = packet(HELLO).build();
    first.send(PREFACE).await.unwrap();
    let mut second = blocking(&target);
    second.send(PREFACE).await.unwrap();
    second.send(packet(HELLO)).await.unwrap();
    first.send(&halves[..5]).await.unwrap();
    second.goes_on().await;
    first.send(&halves[5..]).await.unwrap();
    first.goes_on().await;
    second.goes_on().await;
}

/// Attack 13: state of ended connections is freed without waiting for new connections.
#[tokio::test(start_paused = true)]
async fn connections_that_are_over_leave_no_memory_behind() {
    const CYCLES: usize = 1_000;
    let turn = Alone::take().await;
    let mut target = Target::alone(Config::default(), &turn);
    let mut cycles = async |count: usize| {
        for _ in 0..count {
            drop(target.greeted().await);
        }
        until_peers(&target, 0).await;
    };
    // After these, tables and buffers have their final size.
    cycles(100).await;
    // A test that begins meanwhile, and waits for its turn, allocates too: the least of three is of connections.
    let mut each = usize::MAX;
    for _ in 0..3 {
        let before = held();
        cycles(CYCLES).await;
        each = each.min(held().saturating_sub(before) / CYCLES);
    }
    println!("{each} bytes each");
    // A task that is kept takes some hundred bytes.
    assert!(each < 100, "{each} bytes are left of each connection");
}

/// Attack 13: state of handled one-way messages without a deadline is freed too.
#[tokio::test(start_paused = true)]
async fn one_way_messages_that_are_over_leave_no_memory_behind() {
    // All fit into one read, so all of them wait before the first is handled.
    const BURST: usize = 500;
    let turn = Alone::take().await;
    let mut target = Target::alone(Config::default(), &turn);
    let mut raw = target.greeted().await;
    let seen = target.seen.clone();
    let mut burst = async |count: usize, all: usize| {
        let notes = note("yield").build().repeat(count);
        raw.send(notes).await.unwrap();
        let are_handled = |seen: &Seen| seen.notes.load(Ordering::SeqCst) == all;
        seen.until(are_handled).await;
        // The time that is paused moves on when all tasks have ended.
        sleep(Duration::from_secs(1)).await;
    };
    burst(BURST, BURST).await;
    burst(1, BURST + 1).await;
    // A test that begins meanwhile, and waits for its turn, allocates too: the least of three is of messages.
    let mut each = usize::MAX;
    for bursts in 2..=4 {
        let before = held();
        burst(BURST, bursts * BURST + 1).await;
        each = each.min(held().saturating_sub(before) / BURST);
    }
    println!("{each} bytes each");
    assert!(each < 100, "{each} bytes are left of each message");
}

async fn until_peers(target: &Target, count: usize) {
    while target.handle.peers().len() != count {
        sleep(Duration::from_millis(1)).await;
    }
}

/// The limit that refused the next connection.
async fn refusal(events: &mut Events) -> ConnectionLimit {
    loop {
        let event = timeout(Duration::from_secs(20), events.next()).await;
        if let Some(PeerEvent::Refused(_, limit)) = event.expect("an event") {
            return limit;
        }
    }
}

/// Connects without letting the server run.
fn blocking(target: &Target) -> Raw {
    let address = target.address().trim_start_matches("tcp://");
    let socket = std::net::TcpStream::connect(address).unwrap();
    socket.set_nonblocking(true).unwrap();
    Raw::over(Box::new(TcpStream::from_std(socket).unwrap()))
}

/// Connects, and disconnects silently, after a preface, or with a call in flight.
async fn come_and_go(target: &mut Target) {
    drop(target.raw().await);
    let mut raw = target.raw().await;
    raw.send(PREFACE).await.unwrap();
    drop(raw);
    let mut raw: Raw = target.greeted().await;
    raw.send(unary(1, ACT, "wait")).await.unwrap();
    drop(raw);
}

/// Attack 13: accepting continues, and no connection, task or handler is left behind.
#[tokio::test]
async fn peers_that_come_and_go_leave_nothing_behind() {
    let mut target = Target::tcp(Config::default()).await;
    let honest = target.honest().await;
    let tasks = Handle::current().metrics().num_alive_tasks();
    let attack = async {
        for _ in 0..CYCLES {
            come_and_go(&mut target).await;
        }
    };
    honest.beside(attack).await;
    until_peers(&target, 1).await;
    target.seen.until_live(0).await;
    target.honest().await.leave().await;
    until_peers(&target, 1).await;
    let left = Handle::current().metrics().num_alive_tasks();
    // The honest peer may have a call in flight, of a few tasks.
    assert!(left <= tasks + 4, "{left} tasks, {tasks} before");
    honest.leave().await;
}
