//! The memory of the process under attack.
//!
//! The bound is computed from the settings alone, so it must hold whatever a peer does.

use std::{future::Future, time::Duration};

use futures::future::BoxFuture;
use peak_alloc::PeakAlloc;
use wawo::{Config, ConfigBuilder, Limits};
use wawo_protocol::packet::PREFACE;

use crate::{
    attacks::{
        circles, claims, credit, crumbs, exhaustion, metadata, multiplied, pings, pins, resets,
        unread,
    },
    raw::Raw,
    target::{Alone, Target, builder, config},
    wire::{HELLO, note, packet},
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The number of bytes that the process holds now.
pub(crate) fn held() -> usize {
    ALLOCATOR.current_usage()
}

/// The bytes that one connection may hold, without memory that handlers keep.
pub(crate) fn bound(config: &Config) -> usize {
    let limits = &config.limits();
    let of = |limit: u32| limit as usize;
    let messages = config.max_opening_bytes()
        + of(limits.request_credit_bytes)
        + of(limits.reply_credit_bytes)
        + 2 * of(limits.max_message_bytes);
    let calls = of(limits.max_calls) * (of(limits.max_metadata_bytes) + 4 * KIB);
    let (outboxes, output_and_mailbox, spare_buffers) = (MIB, 8 * MIB, 8 * MIB);
    let waiting_replies = 2 * config.max_waiting_reply_bytes();
    messages
        + calls
        + outboxes
        + output_and_mailbox
        + spare_buffers
        + waiting_replies
        + decoded(config)
        + read_buffers(config)
}

/// The bytes that decoded messages may take: counted ones, and those below the counting threshold.
fn decoded(config: &Config) -> usize {
    let credit = config.limits().request_credit_bytes as usize;
    let calls = config.limits().max_calls as usize * 16 * KIB;
    let one_way = credit / 64 * 256 + 2 * credit;
    let streams = config.max_streams() * 64 * KIB;
    config.max_connection_decoded_bytes() + calls + one_way + streams
}

/// A packet that is being received, while its buffer doubles, and one read.
fn read_buffers(config: &Config) -> usize {
    2 * (config.limits().max_packet_bytes as usize + 128 * KIB)
}

/// The `max_opening_bytes` of [`least`].
pub(crate) const OPENING_BYTES: usize = MIB;

/// The `max_connection_decoded_bytes` of [`least`].
pub(crate) const DECODED_BYTES: usize = MIB;

/// A config with the minimum of every limit, so that the bound is close to the memory held.
pub(crate) fn least() -> Config {
    config(|config| {
        config
            .limits(Limits::MINIMUM)
            .max_opening_bytes(OPENING_BYTES)
            .max_decoded_bytes(DECODED_BYTES / 2)
            .max_connection_decoded_bytes(DECODED_BYTES)
            .max_waiting_reply_bytes(256 * KIB)
            .max_streams(64)
    })
}

/// The maximum number of bytes held while `work` ran, above the bytes held before.
pub(crate) async fn peak<T>(work: impl Future<Output = T>) -> (T, usize) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = work.await;
    (result, ALLOCATOR.peak_usage().saturating_sub(before))
}

/// An attack over an open connection.
type Attack = for<'a> fn(&'a mut Raw) -> BoxFuture<'a, ()>;

const ATTACKS: [(&str, Attack); 20] = [
    ("1: totals that are never sent", |raw| {
        Box::pin(claims::totals(raw))
    }),
    ("2: a message in crumbs", |raw| {
        Box::pin(crumbs::message_in_crumbs(raw))
    }),
    ("2: messages of one byte", |raw| {
        Box::pin(crumbs::tiny_messages(raw))
    }),
    ("3: empty messages", |raw| {
        Box::pin(crumbs::empty_messages(raw))
    }),
    ("4: opened and cancelled", |raw| {
        Box::pin(resets::opened_and_cancelled(raw, 20_000, 500))
    }),
    ("5: failures that are not read", |raw| {
        Box::pin(unread::failures(raw))
    }),
    ("5: grants that are not read", |raw| {
        Box::pin(unread::grants(raw, 200_000))
    }),
    ("6: calls that never end", |raw| {
        Box::pin(exhaustion::all_calls(raw, 64))
    }),
    ("6: one-way calls that never end", |raw| {
        Box::pin(exhaustion::all_one_way_calls(raw))
    }),
    ("8: all credit used, in every call", |raw| {
        Box::pin(credit::all_used(raw))
    }),
    ("9: streams that are granted nothing", |raw| {
        Box::pin(unread::stalled_streams(raw, 64))
    }),
    ("10: large replies that are not read", |raw| {
        Box::pin(unread::large_replies(raw, 64))
    }),
    ("10: calls of the server that are not read", |raw| {
        Box::pin(unread::calls_of_the_server(raw, true))
    }),
    ("15: pings that are not read", |raw| {
        Box::pin(pings::flood(raw))
    }),
    ("17: the most metadata", |raw| {
        Box::pin(metadata::all_used(raw))
    }),
    (
        "10: large replies that come late, and are not read",
        |raw| Box::pin(unread::late_replies(raw, 64)),
    ),
    ("26: calls that multiply", |raw| {
        Box::pin(multiplied::calls(raw, 64))
    }),
    ("26: one-way calls that multiply", |raw| {
        Box::pin(multiplied::one_way(raw))
    }),
    ("26: streams that multiply", |raw| {
        Box::pin(multiplied::streams(raw, 64))
    }),
    ("22: called back in every call", |raw| {
        Box::pin(circles::hidden_depth(raw, 64))
    }),
];

/// Small kept items among large dropped ones; each could pin its read buffer.
const PINS: [(&str, Attack); 4] = [
    ("small calls that never end", |raw| {
        Box::pin(pins::calls(raw))
    }),
    ("small metadata of such calls", |raw| {
        Box::pin(pins::calls_with_metadata(raw))
    }),
    ("small one-way calls that never end", |raw| {
        Box::pin(pins::one_way_calls(raw))
    }),
    ("small messages that are not read", |raw| {
        Box::pin(pins::messages(raw))
    }),
];

/// Packets that handlers send to a peer that grants nothing.
const UNGRANTED: [(&str, Attack); 1] = [("calls of the server that are not granted", |raw| {
    Box::pin(unread::calls_of_the_server(raw, false))
})];

/// The bytes that may wait for the limits of the peer, apart from the mailbox: 4 MiB of messages,
/// and the same again for the overhead of small ones.
const WAITING_BYTES: usize = 8 * MIB;

/// Runs each attack alone, and compares its peak of memory with the bound.
async fn none_holds_more(settings: Config, attacks: &[(&str, Attack)], waiting: usize) {
    let bound = bound(&settings) + waiting;
    println!("bound {:>9} KiB", bound / KIB);
    let turn = Alone::take().await;
    for (name, attack) in attacks {
        let mut target = Target::alone(settings.clone(), &turn);
        let honest = target.honest().await;
        let mut raw = target.raw_through(MIB).await;
        raw.greet().await;
        let attacked = async {
            attack(&mut raw).await;
            // The bytes that wait for the peer may still grow.
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        let ((), peak) = peak(honest.beside(attacked)).await;
        println!("peak  {:>9} KiB  {name}", peak / KIB);
        assert!(peak <= bound, "{name}: {peak} bytes held, {bound} allowed");
        honest.leave().await;
        drop((raw, target));
        // Aborted tasks are dropped before the next measurement begins.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Promise 4: bounded memory.
#[tokio::test(start_paused = true)]
async fn no_attack_holds_more_than_the_bound() {
    none_holds_more(least(), &ATTACKS, 0).await;
}

/// Promise 4: kept bytes do not pin the buffer that they were read into.
#[tokio::test(start_paused = true)]
async fn small_things_hold_no_large_buffers() {
    let settings = ConfigBuilder::from(least())
        .max_calls(256)
        .initial_credit_bytes(MIB as u32)
        .request_credit_bytes(MIB as u32)
        .build()
        .unwrap();
    none_holds_more(settings, &PINS, 0).await;
}

/// Promise 4: calls that this side starts wait in its handlers once enough calls wait in the
/// connection.
#[tokio::test(start_paused = true)]
async fn calls_that_are_not_granted_stop_at_the_mailbox() {
    none_holds_more(least(), &UNGRANTED, WAITING_BYTES).await;
}

/// The heap of an idle connection, including the raw peer's part of it. On Windows, each of the two sockets
/// also has a state of its own in mio.
const IDLE_BYTES: usize = if cfg!(windows) { 6 * KIB } else { 5 * KIB };

/// The memory of many is measured in batches of this many.
pub(crate) const BATCH: usize = 20;

/// The number of batches.
pub(crate) const BATCHES: usize = 5;

/// The memory that each takes, if `usage` was measured before the first batch and after each one. It is the
/// median of the batches: a test that begins or ends meanwhile changes one or two of them by its runtime.
pub(crate) fn median_of_batches(usage: &[usize]) -> usize {
    let batches = usage.windows(2);
    let mut each: Vec<_> = batches
        .map(|ends| ends[1].saturating_sub(ends[0]) / BATCH)
        .collect();
    each.sort_unstable();
    each[each.len() / 2]
}

/// A server with many idle connections.
#[tokio::test]
async fn an_idle_connection_holds_little_also_after_a_burst() {
    let _turn = Alone::take().await;
    let server = builder(Config::default()).0.bind("tcp://127.0.0.1:0").await;
    let server = server.unwrap();
    let address = server.addresses()[0].to_string();
    let server = tokio::spawn(server.run());
    let mut peers = Vec::with_capacity(BATCHES * BATCH + 1);
    let mut usage = Vec::with_capacity(BATCHES + 1);
    // The first connection allocates what all share.
    for number in 0..=BATCHES * BATCH {
        let mut raw = Raw::over_tcp(&address).await;
        raw.greet().await;
        // More than one read takes.
        raw.send(note("much").build().repeat(2_000)).await.unwrap();
        raw.goes_on().await;
        peers.push(raw);
        if number % BATCH == 0 {
            usage.push(ALLOCATOR.current_usage());
        }
    }
    let each = median_of_batches(&usage);
    println!("{each} bytes each");
    assert!(each <= IDLE_BYTES, "{each} bytes each");
    drop(peers);
    server.abort();
}

/// The heap of a socket in its handshake, including the raw peer's part of it, without what it has sent.
const HANDSHAKE_BYTES: usize = 4 * KIB;

/// A server with many sockets that say nothing, or only begin to. They hold less than connections do,
/// although the task of each has room for its driver.
#[tokio::test]
async fn a_socket_in_its_handshake_holds_less_than_a_connection() {
    const PEERS: usize = 100;
    let _turn = Alone::take().await;
    let mut begun = PREFACE.to_vec();
    begun.extend(
        packet(HELLO)
            .claim(16 * KIB as u32)
            .bytes([0; 16_000])
            .build(),
    );
    for sent in [0, 7, 8, 19, begun.len()] {
        let server = builder(Config::default()).0.bind("tcp://127.0.0.1:0").await;
        let server = server.unwrap();
        let address = server.addresses()[0].to_string();
        let server = tokio::spawn(server.run());
        let mut honest = Raw::over_tcp(&address).await;
        honest.greet().await;
        let mut peers = Vec::with_capacity(PEERS + 1);
        let mut before = 0;
        for _ in 0..=PEERS {
            let mut raw = Raw::over_tcp(&address).await;
            raw.send(&begun[..sent]).await.unwrap();
            peers.push(raw);
            // The first socket allocates what all share.
            if peers.len() == 1 {
                let mut last = Raw::over_tcp(&address).await;
                last.greet().await;
                honest.goes_on().await;
                before = ALLOCATOR.current_usage();
            }
        }
        // The server accepts connections in their order, and reads from the others before it answers.
        let mut last = Raw::over_tcp(&address).await;
        last.greet().await;
        honest.goes_on().await;
        let each = (ALLOCATOR.current_usage() - before) / PEERS;
        println!("{each} bytes each, after {sent} bytes");
        // The buffer doubles while it grows.
        assert!(each <= HANDSHAKE_BYTES + 2 * sent, "{each} bytes each");
        drop(peers);
        server.abort();
    }
}
