//! A server that is restarted again and again under load. In real time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, task::JoinSet};
use wawo::{Code, Delivery, Peer, Server, ServerHandle};

use super::{SECOND, reconnect};
use crate::support::{EchoClient, EchoServer, Parrot, message};

const ADDRESS: &str = "mem://restarted";
const RESTARTS: usize = 50;
const PEERS: usize = 10;
const CALLS_OF_A_PEER: usize = 2_000;
const CALLS: usize = PEERS * CALLS_OF_A_PEER;

/// A server in a task of its own. Aborting the task cuts all of its connections.
async fn serve() -> (ServerHandle, tokio::task::JoinHandle<()>) {
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let server = server
        .bind(ADDRESS)
        .await
        .expect("the one before has ended");
    let handle = server.handle();
    let running = tokio::spawn(async move { server.run().await.unwrap() });
    (handle, running)
}

/// How calls have ended.
#[derive(Debug, Default)]
struct Ends {
    well: AtomicUsize,
    /// Sent to a server that went before it replied.
    perhaps: AtomicUsize,
    all: AtomicUsize,
}

/// Makes the calls of one peer, of which at most 20 at a time are in flight. Every fourth is a one-way
/// message.
async fn call_on(peer: Peer, ends: Arc<Ends>) {
    let (room, mut calls) = (Arc::new(Semaphore::new(20)), JoinSet::new());
    for number in 0..CALLS_OF_A_PEER {
        let place = room.clone().acquire_owned().await.unwrap();
        let (echo, ends) = (EchoClient::new(&peer), ends.clone());
        calls.spawn(async move {
            let result = match number % 4 {
                0 => echo.note(message("note")).timeout(60 * SECOND).await,
                _ => echo.say(message("hi")).timeout(60 * SECOND).await.map(drop),
            };
            match result {
                Ok(()) => ends.well.fetch_add(1, Ordering::SeqCst),
                Err(status) => {
                    let end = (status.code(), status.delivery());
                    assert_eq!(end, (Code::Unavailable, Delivery::Unknown), "{status:?}");
                    ends.perhaps.fetch_add(1, Ordering::SeqCst)
                }
            };
            ends.all.fetch_add(1, Ordering::SeqCst);
            drop(place);
        });
    }
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
    peer.drain(SECOND).await;
}

#[tokio::test]
async fn no_call_that_was_not_sent_fails_while_its_server_is_restarted_fifty_times() {
    let (mut handle, mut running) = serve().await;
    let ms = Duration::from_millis;
    let settings = |it: wawo::ReconnectBuilder| {
        it.first_wait(ms(2))
            .max_wait(ms(20))
            .stable_after(ms(1))
            .wait_for_ready(true)
    };
    let (ends, mut peers) = (Arc::new(Ends::default()), JoinSet::new());
    for _ in 0..PEERS {
        let peer = Peer::builder(ADDRESS)
            .reconnect(reconnect(settings))
            .connect()
            .await;
        peers.spawn(call_on(peer.unwrap(), ends.clone()));
    }
    for restart in 1..=RESTARTS {
        while ends.all.load(Ordering::SeqCst) < CALLS * restart / (RESTARTS + 1) {
            tokio::task::yield_now().await;
        }
        // Every second time it drains before it ends.
        match restart % 2 {
            0 => drop(handle.drain(SECOND).await),
            _ => running.abort(),
        }
        let _ = running.await;
        (handle, running) = serve().await;
    }
    while let Some(ended) = peers.join_next().await {
        ended.unwrap();
    }
    let count = |of: &AtomicUsize| of.load(Ordering::SeqCst);
    assert_eq!(count(&ends.well) + count(&ends.perhaps), CALLS);
    // What was in flight when a server was cut: at most the calls at a time of all peers.
    assert!(
        count(&ends.perhaps) <= RESTARTS / 2 * PEERS * 20,
        "{ends:?}"
    );
    running.abort();
}
