//! Bytes in small pieces, each of which costs more than it carries.

use wawo::{CloseCode, Config};

use crate::{
    memory::least,
    raw::Raw,
    target::Target,
    wire::{
        CANCEL, CONTINUES, CREDIT, DRAIN, END_OF, MESSAGE, MORE, SAY, TALK, call, message, next,
        packet, stream_with, unary,
    },
};

const OVER_BUDGET: &str = "a message without credit for all calls together (request_credit_bytes)";

/// A message of 64 KiB, one byte per packet.
pub(crate) async fn message_in_crumbs(raw: &mut Raw) {
    let first = call(1, SAY, MORE).u32(64 * 1024).bytes("a");
    raw.send(first).await.unwrap();
    let crumb = packet(MESSAGE).call(1).flags(CONTINUES | MORE).bytes("a");
    raw.flood(crumb, 64 * 1024).await;
}

/// Messages of one byte that the handler does not read.
pub(crate) async fn tiny_messages(raw: &mut Raw) {
    raw.send(stream_with(1, TALK, ("do", "hold")))
        .await
        .unwrap();
    raw.flood(next(1, "a"), 64 * 1024).await;
}

/// Empty messages that the handler does not read.
pub(crate) async fn empty_messages(raw: &mut Raw) {
    raw.send(stream_with(1, TALK, ("do", "hold")))
        .await
        .unwrap();
    raw.flood(next(1, ""), 64 * 1024).await;
}

async fn closes(mut target: Target, attack: impl AsyncFnOnce(&mut Raw), why: &str) {
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let closed = async {
        attack(&mut raw).await;
        raw.closed().await
    };
    let closed = honest.beside(closed).await;
    assert_eq!(closed, (CloseCode::LimitExceeded, why.to_owned()));
    honest.leave().await;
}

/// Attack 2.
#[tokio::test]
async fn a_message_in_crumbs_is_refused_after_a_hundred() {
    let why = "a message for call 1 with more than 100 chunks under 1 KiB (max_small_chunks)";
    let target = Target::memory(Config::default()).await;
    let attack = async |raw: &mut Raw| {
        let first = call(1, SAY, MORE).u32(4 << 20).bytes("a");
        raw.send(first).await.unwrap();
        let crumb = packet(MESSAGE).call(1).flags(CONTINUES | MORE).bytes("a");
        assert_eq!(raw.flood(crumb.clone(), 99).await, 99);
        raw.goes_on().await;
        raw.send(crumb).await.unwrap();
    };
    closes(target, attack, why).await;
}

/// Attacks 2 and 3: a message costs 64 bytes of credit beyond its length, so small messages are
/// bounded too.
#[tokio::test]
async fn small_messages_that_nobody_reads_end_at_the_credit_of_all_calls() {
    // With 65,536 bytes of credit; a message may begin while any credit is left.
    for (length, most) in [(0, 1024), (1, 1009), (36, 656)] {
        let target = Target::memory(least()).await;
        let attack = async |raw: &mut Raw| {
            raw.send(stream_with(1, TALK, ("do", "hold")))
                .await
                .unwrap();
            let small = next(1, vec![7; length]);
            assert_eq!(raw.flood(small.clone(), most).await, most);
            raw.goes_on().await;
            raw.send(small).await.unwrap();
        };
        closes(target, attack, OVER_BUDGET).await;
    }
}

/// Attack 3: all kinds of packets without effect share one counter, and a packet with an effect
/// resets it.
#[tokio::test]
async fn packets_that_carry_nothing_end_the_connection_after_four_thousand() {
    let idle = [
        packet(CREDIT).u32(1023),
        next(1, ""),
        packet(CANCEL).call(1),
        packet(END_OF).call(1),
        packet(CREDIT).call(1).u32(4096),
        packet(DRAIN).u64(0),
    ];
    let why = "more than 4096 packets in a row that carry nothing (max_idle_packets)";
    for packet_of_nothing in idle {
        let target = Target::memory(Config::default()).await;
        let attack = async |raw: &mut Raw| {
            raw.send(unary(1, SAY, "hi")).await.unwrap();
            assert_eq!(raw.replied(1).await, message("hi"));
            // The first drain has an effect.
            raw.send(packet(DRAIN).u64(0)).await.unwrap();
            for _ in 0..2 {
                raw.send(unary(1, SAY, "hi")).await.unwrap();
                raw.replied(1).await;
                let sent = raw.flood(packet_of_nothing.clone(), 4096).await;
                assert_eq!(sent, 4096);
            }
            raw.goes_on().await;
            raw.send(packet_of_nothing.clone()).await.unwrap();
        };
        closes(target, attack, why).await;
    }
}
