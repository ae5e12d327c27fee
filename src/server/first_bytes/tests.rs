use std::{
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::{FirstBytes, Found, MAX_START_BYTES, find};
use crate::{
    clock,
    server::{
        arrival::Arrival,
        handshake_request::{Ask, HandshakeRequest, Progress},
        protocol::{Protocol, Protocols, Recognition},
    },
    transport::{BoxFuture, Transport},
};

/// A protocol that is recognised by the first bytes.
struct Begins(&'static str);

impl Protocol for Begins {
    fn name(&self) -> &str {
        self.0
    }

    fn recognise(&self, start: &[u8]) -> Recognition {
        match self.0.as_bytes() {
            whole if start.starts_with(whole) => Recognition::Yes,
            whole if whole.starts_with(start) => Recognition::Perhaps,
            _ => Recognition::No,
        }
    }

    fn serve(&self, _: Box<dyn Transport>, _: Arrival) -> BoxFuture<'static, ()> {
        unreachable!("the protocol is found, and not served")
    }
}

/// A protocol that never decides.
struct Unsure;

impl Protocol for Unsure {
    fn name(&self) -> &str {
        "unsure"
    }

    fn recognise(&self, _: &[u8]) -> Recognition {
        Recognition::Perhaps
    }

    fn serve(&self, _: Box<dyn Transport>, _: Arrival) -> BoxFuture<'static, ()> {
        unreachable!("it is never found")
    }
}

fn name(found: Option<Found>) -> String {
    match found {
        None => "perhaps".to_owned(),
        Some(Found::Native) => "native".to_owned(),
        Some(Found::Other(protocol)) => protocol.name().to_owned(),
    }
}

#[test]
fn the_first_that_is_sure_has_the_socket_and_one_that_is_not_makes_the_next_wait() {
    let mut protocols = Protocols::default();
    for begins in ["GET ", "GE", "WAWO/9", "X"] {
        protocols.add(Begins(begins));
    }
    for (start, expected) in [
        ("", "perhaps"),
        ("W", "perhaps"),
        ("WAWO/1\r", "perhaps"),
        ("WAWO/1\r\n", "native"),
        ("WAWO/1\r\nand more", "native"),
        ("WAWO/9", "WAWO/9"),
        ("WAWO/8", "native"),
        ("G", "perhaps"),
        ("GET", "perhaps"),
        ("GET /", "GET "),
        ("GEX", "GE"),
        ("X", "X"),
        ("SSH-2.0", "native"),
    ] {
        assert_eq!(
            name(find(&protocols, start.as_bytes())),
            expected,
            "{start}"
        );
    }
}

#[test]
fn a_socket_that_nobody_is_sure_of_after_16_kib_goes_to_the_handshake() {
    let mut protocols = Protocols::default();
    protocols.add(Unsure);
    protocols.add(Begins("GET"));
    let start = vec![b'G'; MAX_START_BYTES];
    assert_eq!(name(find(&protocols, &start[1..])), "perhaps");
    assert_eq!(name(find(&protocols, &start)), "native");
}

const TIME: Duration = Duration::from_secs(5);

struct Waiting {
    there: DuplexStream,
    first_bytes: FirstBytes,
    request: Arc<HandshakeRequest>,
}

fn waiting() -> Waiting {
    let (there, here) = duplex(64 * 1024);
    let mut protocols = Protocols::default();
    protocols.add(Begins("GET "));
    protocols.add(Unsure);
    let request = Arc::new(HandshakeRequest::default());
    let until: Instant = clock::now() + TIME;
    let transport = Box::new(here);
    let first_bytes = FirstBytes::new(transport, Arc::new(protocols), request.clone(), until);
    Waiting {
        there,
        first_bytes,
        request,
    }
}

impl Waiting {
    async fn progress(&mut self) -> String {
        match poll_fn(|cx| self.first_bytes.poll(cx)).await {
            Progress::Done(found) => name(Some(found)),
            Progress::HasSpoken => "has spoken".to_owned(),
            Progress::Asked(ask) => format!("{ask:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_drip_in_are_kept_for_the_protocol() {
    let mut waiting = waiting();
    for byte in b"GET " {
        waiting.there.write_all(&[*byte]).await.unwrap();
        tokio::time::advance(TIME / 5).await;
    }
    assert_eq!(waiting.progress().await, "GET ");
    assert_eq!(&waiting.first_bytes.into_transport().start[..], b"GET ");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_time_the_bytes_or_the_transport_leaves_it_to_the_handshake() {
    let begin = tokio::time::Instant::now();
    let mut silent = waiting();
    assert_eq!(silent.progress().await, "native");
    assert_eq!(begin.elapsed(), TIME);

    let mut wordy = waiting();
    let bytes = vec![b'?'; MAX_START_BYTES + 1];
    wordy.there.write_all(&bytes).await.unwrap();
    assert_eq!(wordy.progress().await, "native");
    assert_eq!(
        wordy.first_bytes.into_transport().start.len(),
        MAX_START_BYTES
    );

    let mut short = waiting();
    short.there.write_all(b"GE").await.unwrap();
    drop(short.there);
    let progress = poll_fn(|cx| short.first_bytes.poll(cx)).await;
    assert!(matches!(progress, Progress::Done(Found::Native)));
    assert_eq!(begin.elapsed(), TIME);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_asked_goes_unless_it_has_spoken_since() {
    let mut waiting = waiting();
    waiting.request.ask(Ask::CloseIfSilent);
    assert_eq!(waiting.progress().await, "CloseIfSilent");
    // The server asks before this side had time to read.
    waiting.there.write_all(b"G").await.unwrap();
    waiting.request.ask(Ask::CloseIfSilent);
    assert_eq!(waiting.progress().await, "has spoken");
    waiting.request.ask(Ask::CloseIfSilent);
    assert_eq!(waiting.progress().await, "CloseIfSilent");
    waiting.there.write_all(b"E").await.unwrap();
    for ask in [Ask::MakeRoom, Ask::CloseIfSilent] {
        waiting.request.ask(ask);
    }
    assert_eq!(waiting.progress().await, "MakeRoom", "the more urgent one");
    assert!(
        poll_fn(|cx| Poll::Ready(waiting.request.poll(cx)))
            .await
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_is_woken_when_it_is_asked() {
    let mut waiting = waiting();
    let request = waiting.request.clone();
    let asking = tokio::spawn(async move {
        tokio::task::yield_now().await;
        request.ask(Ask::Drain);
    });
    let begin = tokio::time::Instant::now();
    assert_eq!(waiting.progress().await, "Drain");
    assert_eq!(begin.elapsed(), Duration::ZERO);
    asking.await.unwrap();
}
