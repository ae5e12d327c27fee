//! Bytes that come one at a time, or not at all.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use wawo::{CloseCode, Config};
use wawo_protocol::packet::PREFACE;

use crate::{
    raw::Raw,
    target::Target,
    wire::{END, HELLO, METADATA, SAY, call, hello_entry, packet, unary},
};

const SECOND: Duration = Duration::from_secs(1);

const NO_HELLO: &str = "no hello from the peer within 5s (handshake_timeout)";
const NO_PACKET: &str = "a packet was not complete within 10s (packet_timeout)";
const NO_PONG: &str = "no answer to a ping within 10s (keep_alive_timeout)";

/// Sends one byte per second until the server closes.
async fn drip(raw: &mut Raw, bytes: Vec<u8>) {
    for byte in bytes {
        if raw.send([byte]).await.is_err() {
            return;
        }
        sleep(SECOND).await;
    }
}

async fn times_out(greets: bool, bytes: impl Into<Vec<u8>>, after: Duration, why: &str) {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let mut raw = match greets {
        true => target.greeted().await,
        false => target.raw().await,
    };
    let began = Instant::now();
    let attack = async {
        drip(&mut raw, bytes.into()).await;
        raw.closed().await
    };
    // Bytes can still be sent until the server closes.
    let server = async {
        while target.handle.peers().len() > 1 {
            sleep(SECOND / 100).await;
        }
        began.elapsed()
    };
    let (closed, passed) = honest.beside(async { tokio::join!(attack, server) }).await;
    assert_eq!(closed, (CloseCode::TimedOut, why.to_owned()));
    let late = passed.saturating_sub(after);
    assert!(passed >= after && late < SECOND, "after {passed:?}");
    honest.leave().await;
}

/// Attack 11, without any byte.
#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_has_five_seconds() {
    times_out(false, [], 5 * SECOND, NO_HELLO).await;
}

/// Attack 11, in the preface.
#[tokio::test(start_paused = true)]
async fn a_preface_that_drips_in_has_five_seconds() {
    times_out(false, PREFACE, 5 * SECOND, NO_HELLO).await;
}

/// Attack 11, in the hello, which shares its time with the preface.
#[tokio::test(start_paused = true)]
async fn a_hello_that_drips_in_has_no_more_time() {
    let hello = packet(HELLO).bytes(hello_entry(9, b"a slow peer"));
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let mut raw = target.raw().await;
    let attack = async {
        raw.send(PREFACE).await.unwrap();
        drip(&mut raw, hello.build()).await;
        raw.closed().await
    };
    let closed = honest.beside(attack).await;
    assert_eq!(closed, (CloseCode::TimedOut, NO_HELLO.to_owned()));
    honest.leave().await;
}

/// Attack 11, in a head.
#[tokio::test(start_paused = true)]
async fn a_head_that_drips_in_has_ten_seconds() {
    let head = unary(1, SAY, "hello").build();
    times_out(true, head, 10 * SECOND, NO_PACKET).await;
}

/// Attack 11, in a message.
#[tokio::test(start_paused = true)]
async fn a_packet_whose_end_never_comes_has_ten_seconds() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let began = Instant::now();
    let attack = async {
        let claims = call(1, SAY, END).claim(64 * 1024);
        raw.send(claims).await.unwrap();
        drip(&mut raw, vec![0; 60]).await;
        raw.closed().await
    };
    let closed = honest.beside(attack).await;
    assert_eq!(closed, (CloseCode::TimedOut, NO_PACKET.to_owned()));
    assert!(began.elapsed() < 12 * SECOND);
    honest.leave().await;
}

/// Attack 11, in metadata.
#[tokio::test(start_paused = true)]
async fn metadata_that_drips_in_has_ten_seconds() {
    let call = call(1, SAY, END | METADATA).u16(1).entry("key", "value");
    times_out(true, call, 10 * SECOND, NO_PACKET).await;
}

/// Attack 11: complete packets, and then the peer is gone.
#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_gone_after_thirty_seconds() {
    times_out(true, [], 30 * SECOND, NO_PONG).await;
}

/// Attack 11 over a socket, with a shorter limit because it uses real time.
#[tokio::test]
async fn a_socket_that_says_nothing_is_closed() {
    let limits = crate::target::config(|config| config.handshake_timeout(SECOND / 10));
    let mut target = Target::tcp(limits).await;
    let honest = target.honest().await;
    let mut raw = target.raw().await;
    let (code, why) = honest.beside(raw.closed()).await;
    assert_eq!(code, CloseCode::TimedOut);
    assert_eq!(
        why,
        "no hello from the peer within 100ms (handshake_timeout)"
    );
    honest.leave().await;
}
