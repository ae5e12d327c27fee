use std::{
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use wawo_protocol::{CloseCode, Config, Connection, ConnectionError, packet::PREFACE};

use super::{Ask, Handshake, HandshakeRequest, Progress};
use crate::{
    clock,
    connection::DRAINED,
    peer::{NewConnection, NewTransport},
    transport::Transport,
};

const TIME: Duration = Duration::from_secs(5);

/// The preface and the hello of a side with the default limits.
fn hello() -> Vec<u8> {
    let config = Config::default();
    let connection = Connection::<()>::connecting(config, Bytes::new(), clock::now());
    connection.unwrap().output().first().to_vec()
}

/// The answer to it of a side with the default limits.
fn answer() -> Vec<u8> {
    let mut connection = Connection::<()>::accepting(Config::default(), clock::now());
    let mut input = BytesMut::from(&hello()[..]);
    connection.poll_event(clock::now(), &mut input).unwrap();
    connection.accept(clock::now(), Bytes::new()).unwrap();
    connection.output().first().to_vec()
}

struct Waiting {
    there: DuplexStream,
    handshake: Handshake,
    request: Arc<HandshakeRequest>,
}

fn waiting() -> Waiting {
    waiting_with(64 * 1024, &[])
}

/// A handshake over a pipe with this room, of which some bytes were read already.
fn waiting_with(room: usize, start: &[u8]) -> Waiting {
    let (there, here) = duplex(room);
    let transport: Box<dyn Transport> = Box::new(here);
    let new = NewTransport {
        start: BytesMut::from(start),
        ..transport.into()
    };
    let config = Config::builder().handshake_timeout(TIME).build().unwrap();
    let since: Instant = clock::now();
    let connection = NewConnection::accepting(new, Arc::new(config), since);
    let request = Arc::new(HandshakeRequest::default());
    Waiting {
        there,
        handshake: Handshake::new(connection, request.clone()),
        request,
    }
}

impl Waiting {
    async fn progress(&mut self) -> String {
        match poll_fn(|cx| self.handshake.poll(cx)).await {
            Progress::Done(Ok(())) => "done".to_owned(),
            Progress::Done(Err(error)) => error.to_string(),
            Progress::HasSpoken => "has spoken".to_owned(),
            Progress::Asked(ask) => format!("{ask:?}"),
        }
    }

    /// Polls once; the handshake has to wait.
    fn waits(&mut self) {
        let polled = self.poll_once();
        assert!(polled.is_none(), "{polled:?}");
    }

    fn poll_once(&mut self) -> Option<String> {
        futures::FutureExt::now_or_never(self.progress())
    }
}

#[tokio::test(start_paused = true)]
async fn each_byte_of_a_hello_may_come_alone_and_the_last_ends_the_handshake() {
    let mut waiting = waiting();
    let hello = hello();
    let (last, before) = hello.split_last().unwrap();
    for byte in before {
        waiting.there.write_all(&[*byte]).await.unwrap();
        waiting.waits();
    }
    waiting.there.write_all(&[*last]).await.unwrap();
    assert_eq!(waiting.progress().await, "done");
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_before_the_answer() {
    let mut waiting = waiting();
    waiting.waits();
    waiting.there.write_all(&hello()).await.unwrap();
    assert_eq!(waiting.progress().await, "done");
    let mut connection = waiting.handshake.into_connection();
    let mut heard = [0; 1];
    let read = waiting.there.read(&mut heard);
    assert!(futures::FutureExt::now_or_never(read).is_none());
    connection.end(&ConnectionError::ClosedHere).await;
    drop(connection);
    let mut heard = Vec::new();
    waiting.there.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, answer());
}

#[tokio::test(start_paused = true)]
async fn a_side_that_does_not_read_may_say_hello_all_the_same() {
    let mut waiting = waiting_with(4, &hello());
    assert_eq!(waiting.progress().await, "done");
    let mut waiting = waiting_with(4, &PREFACE);
    waiting.waits();
    for byte in &hello()[PREFACE.len()..] {
        assert_eq!(waiting.poll_once(), None);
        waiting.there.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(waiting.progress().await, "done");
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_the_hello_are_not_read_even_if_they_are_wrong() {
    let mut bytes = hello();
    bytes.extend_from_slice(&[0xff; 64]);
    assert_eq!(waiting_with(64, &bytes).progress().await, "done");
}

#[tokio::test(start_paused = true)]
async fn faults_the_end_and_the_time_end_the_handshake_with_their_reason() {
    let begin = tokio::time::Instant::now();
    let mut long = PREFACE.to_vec();
    long.extend_from_slice(b"\0\0\x40\x01\x01\0\0\0\0\0\0\0");
    for (bytes, expected) in [
        (&b"GET / HTTP/1.1\r\n"[..], "it begins with \"GET / HT\""),
        (b"WAWO/2\r\n", "version"),
        (&long, "16385 bytes"),
        (b"WAWO/1\r\n\0\0\0\x04\x01\0\0\0\0\0\0\0junk", "hello"),
        (
            b"WAWO/1\r\n\0\0\0\x08\x02\0\0\0\0\0\0\0pingpong",
            "ping packet before the hello",
        ),
    ] {
        let mut waiting = waiting();
        waiting.there.write_all(bytes).await.unwrap();
        let text = waiting.progress().await;
        assert!(text.contains(expected), "{text}");
    }
    let mut gone = waiting();
    gone.there.write_all(&PREFACE).await.unwrap();
    drop(gone.there);
    let progress = poll_fn(|cx| gone.handshake.poll(cx)).await;
    let Progress::Done(Err(error)) = progress else {
        panic!("{progress:?}");
    };
    assert!(error.to_string().contains("before the hello"), "{error}");
    assert_eq!(begin.elapsed(), Duration::ZERO);
    let mut slow = waiting();
    slow.there.write_all(&PREFACE).await.unwrap();
    let text = slow.progress().await;
    assert_eq!(text, "no hello from the peer within 5s (handshake_timeout)");
    assert_eq!(begin.elapsed(), TIME);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_asked_goes_unless_it_has_spoken_since() {
    let mut waiting = waiting();
    waiting.request.ask(Ask::CloseIfSilent);
    assert_eq!(waiting.progress().await, "CloseIfSilent");
    // The server asks before this side had time to read.
    waiting.there.write_all(b"W").await.unwrap();
    waiting.request.ask(Ask::CloseIfSilent);
    assert_eq!(waiting.progress().await, "has spoken");
    waiting.request.ask(Ask::CloseIfSilent);
    assert_eq!(waiting.progress().await, "CloseIfSilent");
    waiting.there.write_all(b"A").await.unwrap();
    for ask in [Ask::MakeRoom, Ask::CloseIfSilent] {
        waiting.request.ask(ask);
    }
    assert_eq!(waiting.progress().await, "MakeRoom", "the more urgent one");
    // A hello that has come counts, whatever is asked.
    waiting.there.write_all(&hello()[2..]).await.unwrap();
    waiting.request.ask(Ask::CloseIfSilent);
    assert_eq!(waiting.progress().await, "done");
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

/// The close packet stands in place of this side's hello, also if the other side has sent nothing.
#[tokio::test(start_paused = true)]
async fn one_that_has_to_leave_hears_why() {
    let mut waiting = waiting();
    waiting.waits();
    let mut connection = waiting.handshake.into_connection();
    connection.close(CloseCode::Normal, DRAINED);
    let over = ConnectionError::ClosedHere;
    connection.end(&over).await;
    drop(connection);
    let mut heard = Vec::new();
    waiting.there.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"WAWO/1\r\n\0\0\0\x07\x05\0\0\0\0\0\0\0drained");
}
