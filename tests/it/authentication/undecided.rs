//! The time between a hello and the answer of the authenticator: nothing is served, and it ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    time::Instant,
};
use wawo::{Config, ConnectionError, Peer, PeerEvent, Presented, Server};

use super::{User, act, by_token, connect, hello, packet, settle, socket, who_am_i};
use crate::support::{EchoServer, Parrot, Seen, of_server};

#[tokio::test]
async fn ten_thousand_early_calls_wait_until_the_authenticator_has_let_them_in() {
    const CALLS: usize = 10_000;
    let (gate, parrot) = (Arc::new(Notify::new()), Parrot::default());
    let (opened, asked) = (gate.clone(), Arc::new(Notify::new()));
    let was_asked = asked.clone();
    let server = Server::builder().add_service(EchoServer::new(parrot.clone()));
    let server = server.authenticate(move |_: Presented| {
        let (gate, asked) = (gate.clone(), asked.clone());
        async move {
            asked.notify_one();
            gate.notified().await;
            Ok(User("late".to_owned()))
        }
    });
    let config = Config::builder().max_calls(CALLS as u32);
    let server = server.config(config.build().unwrap()).build().unwrap();
    let mut socket = socket(&server);
    let mut bytes = hello("");
    (0..CALLS).for_each(|call| bytes.extend(act(2 * call as u32 + 1)));
    socket.write_all(&bytes).await.unwrap();
    was_asked.notified().await;
    settle().await;
    let begun = |seen: &Seen| seen.begun.load(Ordering::SeqCst);
    assert_eq!(begun(&parrot.0), 0);
    // Not even the hello of the server has left.
    assert!(socket.read_u8().now_or_never().is_none());
    opened.notify_one();
    let reading = tokio::spawn(async move {
        let mut replies = Vec::new();
        socket.read_to_end(&mut replies).await.unwrap();
    });
    parrot.0.until(|seen| begun(seen) == CALLS).await;
    reading.abort();
}

#[tokio::test]
async fn early_calls_of_a_caller_that_is_refused_are_never_served() {
    let parrot = Parrot::default();
    let server = Server::builder().add_service(EchoServer::new(parrot.clone()));
    let server = server.authenticate(by_token).build().unwrap();
    let mut socket = socket(&server);
    let mut bytes = hello("guess");
    (0..100).for_each(|call| bytes.extend(act(2 * call + 1)));
    socket.write_all(&bytes).await.unwrap();
    let mut end = Vec::new();
    socket.read_to_end(&mut end).await.unwrap();
    let mut close = b"WAWO/1\r\n".to_vec();
    close.extend(packet(5, 0, 0, b"the token is not known"));
    close[8 + 7] = 6;
    assert_eq!(end, close);
    assert_eq!(parrot.0.begun.load(Ordering::SeqCst), 0);
}

/// Counts itself while it lives.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn counted_by(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A server whose authenticator never decides, and the number of checks that run.
pub(super) fn server(config: impl Into<wawo::ServerConfig>) -> (Server, Arc<AtomicUsize>) {
    let running = Arc::new(AtomicUsize::new(0));
    let count = running.clone();
    let server = who_am_i().config(config).authenticate(move |_: Presented| {
        let alive = Alive::counted_by(&count);
        async move {
            std::future::pending::<()>().await;
            drop(alive);
            Ok(())
        }
    });
    (server.build().unwrap(), running)
}

#[tokio::test(start_paused = true)]
async fn an_authenticator_that_hangs_is_ended_by_the_handshake_timeout() {
    let (server, running) = server(Config::default());
    let mut events = server.handle().events();
    let begin = Instant::now();
    let longer = Config::builder().handshake_timeout(Duration::from_secs(60));
    let client = Peer::builder("").config(longer.build().unwrap());
    let error = connect(&server, client).await.unwrap_err().to_string();
    assert_eq!(begin.elapsed().as_secs(), 5);
    let text = "the authentication was not done within 5s (handshake_timeout)";
    assert!(error.ends_with(text), "{error}");
    let event = events.next().await.unwrap();
    let PeerEvent::NotConnected(_, ConnectionError::AcceptTimedOut(_)) = event else {
        panic!("{event:?}");
    };
    assert_eq!(running.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_and_a_full_server_do_not_wait_for_an_authenticator() {
    let config = of_server(|config| config.max_handshakes(2).trusted_proxies([] as [&str; 0]));
    let (server, running) = server(config);
    let handle = server.handle();
    let mut sockets = Vec::new();
    for _ in 0..2 {
        let mut socket = socket(&server);
        socket.write_all(&hello("")).await.unwrap();
        settle().await;
        sockets.push(socket);
    }
    assert_eq!(running.load(Ordering::SeqCst), 2);
    for _ in 0..2 {
        let mut socket = socket(&server);
        socket.write_all(&hello("")).await.unwrap();
        settle().await;
        sockets.push(socket);
    }
    let mut first = sockets.remove(0);
    let mut end = Vec::new();
    first.read_to_end(&mut end).await.unwrap();
    let text = "the authentication was not done, and others wait (max_handshakes)";
    assert!(end.ends_with(text.as_bytes()), "{}", end.escape_ascii());
    assert_eq!(running.load(Ordering::SeqCst), 2);
    let began = Instant::now();
    handle.drain(Duration::from_secs(60)).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(running.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_ends_its_authentication() {
    let (server, running) = server(Config::default());
    let mut events = server.handle().events();
    let began = Instant::now();
    let mut socket = socket(&server);
    socket.write_all(&hello("")).await.unwrap();
    settle().await;
    assert_eq!(running.load(Ordering::SeqCst), 1);
    drop(socket);
    let event = events.next().await.unwrap();
    let PeerEvent::NotConnected(_, error @ ConnectionError::Lost(_)) = event else {
        panic!("{event:?}");
    };
    let text = "the connection was lost: it ended without a close packet";
    assert_eq!(error.to_string(), text);
    assert_eq!(running.load(Ordering::SeqCst), 0);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// Bytes that come during the check, in any parts, are for the driver.
#[tokio::test(start_paused = true)]
async fn calls_that_come_during_the_authentication_are_served_after_it() {
    const CALLS: usize = 200;
    let (gate, parrot) = (Arc::new(Notify::new()), Parrot::default());
    let opened = gate.clone();
    let server = Server::builder().add_service(EchoServer::new(parrot.clone()));
    let server = server.authenticate(move |_: Presented| {
        let gate = gate.clone();
        async move {
            gate.notified().await;
            Ok(User("late".to_owned()))
        }
    });
    let server = server.build().unwrap();
    let mut socket = socket(&server);
    socket.write_all(&hello("")).await.unwrap();
    settle().await;
    let calls = (0..CALLS).map(|call| act(2 * call as u32 + 1));
    for part in calls.collect::<Vec<_>>().concat().chunks(7) {
        socket.write_all(part).await.unwrap();
        settle().await;
    }
    let begun = |seen: &Seen| seen.begun.load(Ordering::SeqCst);
    assert_eq!(begun(&parrot.0), 0);
    opened.notify_one();
    parrot.0.until(|seen| begun(seen) == CALLS).await;
}
