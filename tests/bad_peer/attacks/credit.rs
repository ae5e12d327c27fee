//! A server never sends more than it was granted, whatever the grants are.

use std::collections::HashMap;

use wawo::{CloseCode, Config};
use wawo_protocol::packet::{Chunk, Packet};

use crate::{
    raw::Raw,
    target::Target,
    wire::{CREDIT, REPLIES, SAY, TALK, credit, next, packet, repeat, stream, stream_with},
};

/// The minimum of announced credit, which every side must accept.
const LEAST: i64 = 65_536;

/// The credit that a message costs beyond its bytes.
const COST: i64 = 64;

/// The credit that the server's peer has granted, minus the bytes that have come.
struct Granted {
    calls: HashMap<u32, i64>,
    replies: i64,
    /// The number of messages that have come.
    messages: usize,
}

impl Granted {
    /// Takes a chunk of a reply; fails if it exceeds the credit.
    fn take(&mut self, call: u32, chunk: &Chunk, continues: bool) {
        let length = chunk.bytes.len() as i64;
        let left = self.calls.get_mut(&call).expect("a call in flight");
        *left -= length;
        assert!(*left >= 0, "{left} bytes of credit left for call {call}");
        if continues {
            return;
        }
        assert!(self.replies > 0, "a message without credit of all calls");
        self.replies -= COST + chunk.total.map_or(length, i64::from);
        self.messages += 1;
    }
}

/// A pseudo-random generator with a fixed seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.0 >> 33) as u32) % end
    }
}

/// Attack 8, against a model: grants of any size at any time. Excessive grants and no grants are in
/// the table of cases.
#[tokio::test]
async fn a_server_sends_no_more_than_it_was_granted() {
    let mut target = Target::memory(Config::default()).await;
    let honest = target.honest().await;
    for seed in 0..20 {
        let mut raw = target.greeted().await;
        let messages = honest.beside(grant_at_random(&mut raw, seed)).await;
        assert!(messages > 3, "{messages} messages");
    }
    honest.leave().await;
}

async fn grant_at_random(raw: &mut Raw, seed: u64) -> usize {
    let mut numbers = Numbers(seed);
    let calls = [1, 3, 5];
    let mut granted = Granted {
        calls: calls.map(|id| (id, LEAST)).into(),
        replies: LEAST,
        messages: 0,
    };
    for id in calls {
        let length = 1 + numbers.below(40_000) as usize;
        raw.send(repeat(id, length, 1_000_000)).await.unwrap();
    }
    for _ in 0..100 {
        let bytes = 1 + numbers.below(60_000);
        match numbers.below(4) {
            0 => {
                granted.replies += i64::from(bytes);
                let credit = packet(CREDIT).flags(REPLIES).u32(bytes);
                raw.send(credit).await.unwrap();
            }
            of => {
                let id = 2 * of - 1;
                *granted.calls.entry(id).or_default() += i64::from(bytes);
                raw.send(credit(id, bytes)).await.unwrap();
            }
        }
        // Pings are rate limited, so this only reads packets that have already come.
        while let Some(packet) = raw.now().await {
            match packet {
                Packet::Reply(reply) => {
                    if let Some(chunk) = reply.chunk {
                        granted.take(reply.call.to_wire(), &chunk, false);
                    }
                }
                Packet::Message {
                    call,
                    chunk,
                    continues,
                } => granted.take(call.to_wire(), &chunk, continues),
                other => panic!("{other:?}"),
            }
        }
    }
    granted.messages
}

/// Uses all credit with messages that nobody reads: the credit of each call, and of all calls.
pub(crate) async fn all_used(raw: &mut Raw) {
    for id in [1, 3] {
        raw.send(stream_with(id, TALK, ("do", "hold")))
            .await
            .unwrap();
    }
    // With any credit of all calls left, one more message may begin.
    let nearly_all = vec![7; 16_000];
    for _ in 0..4 {
        raw.send(next(1, &nearly_all)).await.unwrap();
    }
    raw.send(next(3, &nearly_all)).await.unwrap();
    raw.goes_on().await;
}

/// A unary request whose end has not come is kept by the server itself, so what it costs is not granted
/// again.
#[tokio::test]
async fn unary_requests_without_an_end_are_bounded_by_the_credit_of_requests() {
    let mut target = Target::memory(crate::memory::least()).await;
    let honest = target.honest().await;
    let mut raw = target.greeted().await;
    let nearly_all = vec![7; 16_000];
    for id in [1, 3, 5, 7, 9] {
        raw.send(stream(id, SAY)).await.unwrap();
        raw.send(next(id, &nearly_all)).await.unwrap();
    }
    raw.goes_on().await;
    raw.send(stream(11, SAY)).await.unwrap();
    raw.send(next(11, "a")).await.unwrap();
    let (code, text) = raw.closed().await;
    assert_eq!(code, CloseCode::LimitExceeded, "{text}");
    honest.leave().await;
}
