//! A server that is restarted again and again under load. In real time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, task::JoinSet};
use wawo::{
    Code, Context, Delivery, Peer, ReconnectBuilder, Result, Server, ServerHandle, Streaming,
};

use super::{SECOND, reconnect};
use crate::support::{Echo, EchoClient, EchoServer, Message, RepeatRequest, message};

const ADDRESS: &str = "mem://restarted";
const RESTARTS: usize = 50;
const PEERS: usize = 10;
const CALLS_OF_A_PEER: usize = 2_000;
const CALLS: usize = PEERS * CALLS_OF_A_PEER;

/// How often each call was served, by its number. All servers share it.
#[derive(Debug, Clone)]
struct Served(Arc<Vec<AtomicUsize>>);

impl Served {
    fn new() -> Self {
        Self(Arc::new((0..CALLS).map(|_| AtomicUsize::new(0)).collect()))
    }

    fn add(&self, message: &Message) {
        let text = std::str::from_utf8(&message.data).unwrap();
        let number: usize = text.parse().expect("a message is a number");
        self.0[number].fetch_add(1, Ordering::SeqCst);
    }
}

impl Echo for Served {
    async fn say(&self, _: Context, message: Message) -> Result<Message> {
        self.add(&message);
        Ok(message)
    }

    async fn note(&self, _: Context, message: Message) {
        self.add(&message);
    }

    async fn act(&self, _: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn repeat(&self, _: Context, _: RepeatRequest) -> Result<Streaming<Message>> {
        Ok(Streaming::empty())
    }

    async fn join(&self, _: Context, _: Streaming<Message>) -> Result<Message> {
        Ok(message(""))
    }

    async fn talk(&self, _: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(requests)
    }
}

/// A server in a task of its own. Aborting the task cuts all of its connections.
async fn serve(served: &Served) -> (ServerHandle, tokio::task::JoinHandle<()>) {
    let server = Server::builder().add_service(EchoServer::new(served.clone()));
    let server = server
        .bind(ADDRESS)
        .await
        .expect("the one before has ended");
    let handle = server.handle();
    let running = tokio::spawn(async move { server.run().await.unwrap() });
    (handle, running)
}

/// The way in which a call is made, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    OneWay,
    /// It does not wait for a connection.
    Impatient,
    Patient,
}

impl Kind {
    fn of(number: usize) -> Self {
        match number % 4 {
            0 => Self::OneWay,
            1 => Self::Impatient,
            _ => Self::Patient,
        }
    }
}

/// The end of a call, as its caller knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Well,
    /// It was sent to a server that went before it replied.
    Perhaps,
    NotSent,
}

/// Makes a call whose message is its number.
async fn call(peer: &Peer, number: usize) -> End {
    let (echo, message) = (EchoClient::new(peer), message(number.to_string()));
    let result = match Kind::of(number) {
        Kind::OneWay => echo.note(message).timeout(60 * SECOND).await,
        Kind::Impatient => echo.say(message).wait_for_ready(false).await.map(drop),
        Kind::Patient => echo.say(message).timeout(60 * SECOND).await.map(drop),
    };
    let Err(status) = result else {
        return End::Well;
    };
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    match status.delivery() {
        Delivery::Unknown => End::Perhaps,
        Delivery::NotSent => End::NotSent,
        Delivery::Responded => panic!("no server replies so: {status:?}"),
    }
}

/// Makes the calls of one peer, of which at most 20 at a time are in flight; returns their numbers and ends.
async fn call_on(peer: Peer, first: usize, ended: Arc<AtomicUsize>) -> Vec<(usize, End)> {
    let (room, mut calls) = (Arc::new(Semaphore::new(20)), JoinSet::new());
    for number in first..first + CALLS_OF_A_PEER {
        let place = room.clone().acquire_owned().await.unwrap();
        let (peer, ended) = (peer.clone(), ended.clone());
        calls.spawn(async move {
            let end = call(&peer, number).await;
            ended.fetch_add(1, Ordering::SeqCst);
            drop(place);
            (number, end)
        });
    }
    let ends = calls.join_all().await;
    peer.drain(SECOND).await;
    ends
}

async fn connect() -> Peer {
    let ms = Duration::from_millis;
    let settings = |it: ReconnectBuilder| {
        it.first_wait(ms(2))
            .max_wait(ms(20))
            .stable_after(ms(1))
            .wait_for_ready(true)
    };
    let builder = Peer::builder(ADDRESS).reconnect(reconnect(settings));
    builder.connect().await.unwrap()
}

/// A call is served once if it has ended well, and never if it was not sent. None is served twice, and a one-way
/// message that was accepted may be lost.
fn check(number: usize, end: End, served: usize) {
    let is_right = match (Kind::of(number), end) {
        (Kind::Patient | Kind::Impatient, End::Well) => served == 1,
        (Kind::Impatient, End::NotSent) => served == 0,
        // They wait for a connection until they are sent.
        (Kind::OneWay | Kind::Patient, End::NotSent) => false,
        (Kind::OneWay, End::Well) | (_, End::Perhaps) => served <= 1,
    };
    let kind = Kind::of(number);
    assert!(
        is_right,
        "call {number}, {kind:?}, ended {end:?} and was served {served} times"
    );
}

#[tokio::test]
async fn calls_are_served_once_or_not_sent_while_their_server_is_restarted_fifty_times() {
    let served = Served::new();
    let (mut handle, mut running) = serve(&served).await;
    let (ended, mut peers) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for peer in 0..PEERS {
        let first = peer * CALLS_OF_A_PEER;
        peers.spawn(call_on(connect().await, first, ended.clone()));
    }
    for restart in 1..=RESTARTS {
        while ended.load(Ordering::SeqCst) < CALLS * restart / (RESTARTS + 1) {
            tokio::task::yield_now().await;
        }
        // Every second time it drains before it ends.
        match restart % 2 {
            0 => drop(handle.drain(SECOND).await),
            _ => running.abort(),
        }
        let _ = running.await;
        (handle, running) = serve(&served).await;
    }
    let ends = peers.join_all().await.concat();
    handle.drain(SECOND).await;
    running.await.unwrap();
    assert_eq!(ends.len(), CALLS);
    for &(number, end) in &ends {
        check(number, end, served.0[number].load(Ordering::SeqCst));
    }
    // What was in flight when a server was cut: at most the calls at a time of all peers.
    let perhaps = ends.iter().filter(|(_, end)| *end == End::Perhaps).count();
    assert!(perhaps <= RESTARTS / 2 * PEERS * 20, "{perhaps}");
}
