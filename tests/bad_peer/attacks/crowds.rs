//! Many connections, that say nothing or come and go.

use std::time::Duration;

use tokio::{runtime::Handle, time::sleep};
use wawo::{CloseCode, Config, Server};
use wawo_protocol::packet::PREFACE;

use crate::{
    raw::Raw,
    target::{Target, builder},
    wire::{ACT, HELLO, packet, unary},
};

/// Connections that come and go, in each of three ways: fewer where code is slow.
const CYCLES: usize = if cfg!(debug_assertions) {
    2_000
} else {
    20_000 / 3
};

/// Attack 12: those who say nothing keep nobody out, and the oldest of them go first.
#[tokio::test]
async fn a_crowd_that_says_nothing_keeps_nobody_out() {
    const CROWD: usize = 300;
    const MAX: usize = 100;
    let (server, seen) = builder(Config::default());
    let mut target = Target::tcp_with(server.max_greeting(MAX), seen).await;
    let honest = target.honest().await;
    let mut crowd = Vec::new();
    let attack = async {
        for _ in 0..CROWD {
            let mut raw = target.raw().await;
            // The hello of the server shows that it was accepted, so their order is known.
            raw.next().await.expect("a hello");
            crowd.push(raw);
        }
    };
    honest.beside(attack).await;
    for raw in &mut crowd[..CROWD - MAX] {
        let (code, why) = raw.closed().await;
        assert_eq!(code, CloseCode::Normal);
        assert_eq!(why, "no hello, and others wait (max_greeting)");
    }
    // One more honest peer comes in, at the cost of one more of the crowd.
    target.honest().await.leave().await;
    // The youngest may still say hello.
    let youngest = crowd.last_mut().unwrap();
    youngest.send(PREFACE).await.unwrap();
    youngest.send(packet(HELLO)).await.unwrap();
    youngest.goes_on().await;
    honest.leave().await;
}

/// Attack 12: a cap for each host.
#[tokio::test]
async fn a_host_has_no_more_connections_than_its_share() {
    let (server, seen) = builder(Config::default());
    let mut target = Target::tcp_with(server.max_connections_per_host(3), seen).await;
    let honest = target.honest().await;
    let mut first = target.greeted().await;
    let second = target.greeted().await;
    let mut third = target.raw().await;
    assert_eq!(honest.beside(third.rest()).await, [], "closed at once");
    // Who leaves makes room.
    drop(second);
    until_peers(&target, 2).await;
    let mut fourth = target.greeted().await;
    first.goes_on().await;
    fourth.goes_on().await;
    honest.leave().await;
}

/// Attack 12: those over the limit of the server wait until somebody leaves.
#[tokio::test]
async fn connections_over_the_limit_wait_for_their_turn() {
    let (server, seen) = builder(Config::default());
    let mut target = Target::tcp_with(server.max_connections(2), seen).await;
    let honest = target.honest().await;
    let first = target.greeted().await;
    let mut second = target.raw().await;
    let waits = sleep(Duration::from_millis(50));
    let is_served = honest.beside(async {
        tokio::select! {
            biased;
            _ = second.next() => true,
            () = waits => false,
        }
    });
    assert!(!is_served.await, "served over the limit");
    assert_eq!(target.handle.peers().len(), 2);
    drop(first);
    second.greet().await;
    honest.leave().await;
}

async fn until_peers(target: &Target, count: usize) {
    while target.handle.peers().len() != count {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Comes, and goes without a word, after a preface, or with a call in flight.
async fn come_and_go(target: &mut Target) {
    drop(target.raw().await);
    let mut raw = target.raw().await;
    raw.send(PREFACE).await.unwrap();
    drop(raw);
    let mut raw: Raw = target.greeted().await;
    raw.send(unary(1, ACT, "wait")).await.unwrap();
    drop(raw);
}

/// Attack 13: accepting goes on, and no connection, task or handler is left behind.
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
    // The honest peer may have a call under way, of a few tasks.
    assert!(left <= tasks + 4, "{left} tasks, {tasks} before");
    honest.leave().await;
}

/// Attack 12: limits that would let nobody in are no limits.
#[test]
fn a_limit_of_a_server_is_at_least_one() {
    let server = Server::builder;
    for (server, name) in [
        (server().max_connections(0), "max_connections"),
        (server().max_greeting(0), "max_greeting"),
        (
            server().max_connections_per_host(0),
            "max_connections_per_host",
        ),
    ] {
        let error = server.build().unwrap_err().to_string();
        assert_eq!(error, format!("{name} is 0; it must be at least 1"));
    }
}
