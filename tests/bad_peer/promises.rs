//! The promises of the framework, each against a peer that tries to break it.
//!
//! Bounded memory is in [`crate::memory`], no allocation from a stated length in
//! [`crate::attacks::claims`]. Every other test shows that a bad peer affects only itself.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use wawo::{Code, Config, ConfigBuilder, Delivery, Peer, PeerEvent, Result};
use wawo_protocol::packet::{PREFACE, Packet};

use crate::{
    raw::Raw,
    service::{EchoClient, Message, message as text},
    target::Target,
    wire::{
        ACT, CALL, CLOSE, END, END_OF, HELLO, NO_MESSAGE, REPLIES, REPLY, SAY, TALK, Wire, cancel,
        message, next, packet, stream_with, unary,
    },
};

/// Answers of a server to call 1, and the status that the caller may get for each.
fn answers() -> Vec<(&'static str, Vec<Wire>, Code)> {
    let reply = || packet(REPLY).call(1).flags(END).bytes(message("a"));
    let end = |code: u16| packet(END_OF).call(1).code(code);
    let begun = || packet(REPLY).call(1).flags(NO_MESSAGE);
    let open = || packet(REPLY).call(1).bytes(message("a"));
    let last = || next(1, message("a")).flags(END);
    vec![
        ("a reply", vec![reply()], Code::Ok),
        ("two replies", vec![reply(), reply()], Code::Ok),
        ("nothing", vec![], Code::DeadlineExceeded),
        ("an end", vec![end(5)], Code::NotFound),
        ("two ends", vec![end(5), end(6)], Code::NotFound),
        ("a refusal", vec![end(14).flags(REPLIES)], Code::Unavailable),
        (
            "a reply after an end",
            vec![end(5), reply()],
            Code::NotFound,
        ),
        ("a good end and no reply", vec![end(0)], Code::Unimplemented),
        ("a close", vec![packet(CLOSE)], Code::Unavailable),
        ("a broken rule", vec![packet(CALL)], Code::Unavailable),
        (
            "a reply that only begins",
            vec![begun()],
            Code::DeadlineExceeded,
        ),
        ("a reply, then its end", vec![open(), end(0)], Code::Ok),
        (
            "a beginning, then a last message",
            vec![begun(), last()],
            Code::Ok,
        ),
        (
            "a beginning and an end",
            vec![begun(), end(0)],
            Code::Unimplemented,
        ),
        (
            "a message of a stream",
            vec![open()],
            Code::DeadlineExceeded,
        ),
        ("two messages", vec![open(), last()], Code::Unimplemented),
        (
            "a message and a failure",
            vec![open(), end(5)],
            Code::NotFound,
        ),
    ]
}

/// Makes one call to a raw server that gives this answer. Also returns the number of times that the
/// call arrived, and the time that it took.
async fn call_raw(answer: Vec<Wire>) -> (Result<Message>, usize, Duration) {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let mut raw = Raw::over_memory(there);
    let (peer, ()) = tokio::join!(Peer::builder("").connect_over(here), raw.greet());
    let echo = EchoClient::new(&peer.unwrap());
    let began = Instant::now();
    let call = async {
        let result = echo.say(text("a")).timeout(Duration::from_secs(1)).await;
        (result, began.elapsed())
    };
    let served = async {
        let mut calls = 0;
        let mut answer = Some(answer);
        // Reads for as long as a retry could take.
        let reading = async {
            while let Some(packet) = raw.next().await {
                calls += usize::from(matches!(packet, Packet::Call(_)));
                for packet in answer.take().unwrap_or_default() {
                    // The caller may have closed after the first packet.
                    let _ = raw.send(packet).await;
                }
            }
        };
        let _ = timeout(Duration::from_secs(10), reading).await;
        calls
    };
    let ((result, passed), calls) = tokio::join!(call, served);
    (result, calls, passed)
}

/// Promise 1, for a caller: no answer makes it retry by itself.
#[tokio::test(start_paused = true)]
async fn a_call_is_sent_at_most_once() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    for (name, answer, _) in answers() {
        let (_, calls, _) = honest.beside(call_raw(answer)).await;
        assert_eq!(calls, 1, "{name}");
    }
    honest.leave().await;
}

/// Promise 1, for a callee: a call that comes twice is refused, not served twice.
#[tokio::test]
async fn a_call_runs_its_handler_at_most_once() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let twice = [unary(1, ACT, "wait").build(), unary(1, ACT, "wait").build()];
    let attack = async {
        raw.send(twice.concat()).await.unwrap();
        raw.closed().await
    };
    honest.beside(attack).await;
    assert_eq!(target.seen.begun(), 1);
    target.seen.until_live(0).await;
    honest.leave().await;
}

/// Promise 2.
#[tokio::test(start_paused = true)]
async fn a_call_has_one_outcome_by_its_deadline() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    for (name, answer, code) in answers() {
        let refused = name == "a refusal";
        let (result, _, passed) = honest.beside(call_raw(answer)).await;
        let found = result
            .as_ref()
            .map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(found, code, "{name}: {result:?}");
        assert!(passed <= Duration::from_millis(1_100), "{name}: {passed:?}");
        if let Err(status) = result {
            let is_safe = status.delivery() == Delivery::NotSent;
            assert_eq!(is_safe, refused, "{name}: {status:?}");
        }
    }
    honest.leave().await;
}

/// Promise 3: the handler, the slot and the credit are free, and nothing is sent after the end.
#[tokio::test]
async fn a_cancellation_arrives() {
    let limits = ConfigBuilder::from(crate::memory::least()).max_streams(1);
    let limits = limits.build().unwrap();
    let mut target = Target::memory(limits).await;
    let raw_only = target.greeted().await;
    let mut raw = raw_only;
    // Each call holds nearly all credit, the only stream, and the only slot.
    for _ in 0..20 {
        raw.send(stream_with(1, TALK, ("do", "hold")))
            .await
            .unwrap();
        raw.send(next(1, vec![7; 16_000])).await.unwrap();
        raw.send(next(1, vec![7; 16_000])).await.unwrap();
        target.seen.until_live(1).await;
        raw.send(cancel(1)).await.unwrap();
        let end = raw.ended(1).await;
        assert_eq!(end.code, Code::Cancelled);
        target.seen.until_live(0).await;
    }
    let after = raw.goes_on().await;
    assert!(
        after
            .iter()
            .all(|packet| matches!(packet, Packet::Credit { .. })),
        "{after:?}"
    );
}

/// Promise 6: a peer that keeps calling while the server drains learns exactly which of its calls
/// were accepted, and these are answered.
#[tokio::test]
async fn a_drain_loses_nothing() {
    let mut target = Target::memory(Config::default()).await;
    let mut raw = target.greeted().await;
    let handle = target.handle.clone();
    let drain = tokio::spawn(async move { handle.peers()[0].drain(Duration::from_secs(5)).await });
    let mut replies = 0;
    let mut accepted = None;
    let mut sent = 0;
    while accepted.is_none() {
        raw.send(unary(2 * sent + 1, SAY, "hi")).await.unwrap();
        sent += 1;
        while let Some(packet) = raw.now().await {
            match packet {
                Packet::Reply(_) => replies += 1,
                Packet::Drain { accepted: count } => accepted = Some(count),
                Packet::Close { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    let rest = raw.rest().await;
    replies += rest
        .iter()
        .filter(|packet| matches!(packet, Packet::Reply(_)))
        .count() as u64;
    assert_eq!(Some(replies), accepted, "of {sent} calls");
    assert!(drain.await.unwrap().cut.is_empty());
}

/// Promise 2, for a call that is not answered: a one-way message that the peer would refuse fails
/// at its sender.
#[tokio::test]
async fn a_one_way_message_over_the_limit_of_the_peer_fails_at_once() {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let mut raw = Raw::over_memory(there);
    let (peer, ()) = tokio::join!(Peer::builder("").connect_over(here), raw.greet());
    let echo = EchoClient::new(&peer.unwrap());
    let large = echo.note(text(vec![0; 64 * 1024]));
    let status = large.await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.delivery(), Delivery::NotSent);
}

/// Calls that come with the hello, in the same bytes, are served behind it: each once, and in order.
#[tokio::test]
async fn calls_that_come_with_the_hello_are_served_behind_it() {
    const CALLS: u32 = 40;
    let mut target = Target::tcp(Config::default()).await;
    let mut events = target.handle.events();
    let honest = target.honest().await;
    assert!(matches!(
        events.next().await,
        Some(PeerEvent::Connected(..))
    ));
    for cut in [0, 1, PREFACE.len() + 11, PREFACE.len() + 12 + 7] {
        let mut raw = target.raw().await;
        let mut bytes = PREFACE.to_vec();
        bytes.extend(packet(HELLO).build());
        for call in 0..CALLS {
            bytes.extend(unary(2 * call + 1, SAY, "a").build());
        }
        raw.send(&bytes[..cut]).await.unwrap();
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        raw.send(&bytes[cut..]).await.unwrap();
        for call in 0..CALLS {
            raw.replied(2 * call + 1).await;
        }
        raw.goes_on().await;
        let event = events.next().await;
        assert!(matches!(event, Some(PeerEvent::Connected(..))), "{event:?}");
        drop(raw);
        let event = events.next().await;
        assert!(
            matches!(event, Some(PeerEvent::Disconnected(..))),
            "{event:?}"
        );
    }
    honest.leave().await;
}
