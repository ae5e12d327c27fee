//! Messages that take many times their length when decoded.

use std::time::Duration;

use futures::future::join_all;
use wawo::Code;
use wawo_protocol::packet::Packet;

use crate::{
    memory::{DECODED_BYTES, bound, least, peak},
    raw::Raw,
    target::{Alone, Target, builder, of_server},
    wire::{CALL, END, NO_MESSAGE, ONE_WAY, Wire, next, packet},
};

/// The ids of the service and its methods (proto/tests/multiply.proto).
const MULTIPLY: u32 = 9;
const HOLD: u32 = 1;
const NOTE: u32 = 2;
const READ: u32 = 3;
const COMPLETE: u32 = 6;

/// Fields that multiply in every way that the schema language allows: elements without fields, with
/// five, of 4 KiB, of 64 KiB; strings; shared bytes; packed flags and numbers; map entries with the
/// same key and with a message; nested messages; required fields with defaults; required boxes of
/// messages in a cycle, in elements, groups, maps and oneofs; elements behind many fields.
/// a circle, in elements, groups, maps and oneofs; elements behind many fields.
const FIELDS: [&[u8]; 18] = [
    &[0x0A, 0],
    &[0x12, 0],
    &[0x1A, 0],
    &[0x22, 0],
    &[0x2A, 1, b'a'],
    &[0x32, 0],
    &[0x3A, 8, 0, 0, 0, 0, 0, 0, 0, 0],
    &[0x42, 8, 0, 0, 0, 0, 0, 0, 0, 0],
    &[0x5A, 0],
    &[0x6A, 2, 8, 1],
    &[0x7A, 2, 0x7A, 0],
    &[0x72, 2, 0x0A, 0],
    &[0xD2, 1, 0],
    &[0xE2, 1, 0],
    &[0xEA, 1, 0],
    &[0xF2, 1, 4, 0x0B, 0x13, 0x14, 0x0C],
    &[0xFA, 1, 0, 0x82, 2, 0],
    &[0x92, 2, 0],
];

/// The number of repetitions of a field in a message, from below the counting threshold to above
/// the limit.
const TIMES: [usize; 5] = [1, 6, 40, 500, 4_000];

fn call(id: u32, method: u32, flags: u8) -> Wire {
    packet(CALL).flags(flags).call(id).u32(MULTIPLY).u32(method)
}

fn messages() -> impl Iterator<Item = Vec<u8>> + Clone {
    let fits = |message: &Vec<u8>| message.len() < 16_000;
    let of_field = move |field: &&'static [u8]| TIMES.map(|times| field.repeat(times));
    FIELDS.iter().flat_map(of_field).filter(fits)
}

/// Makes calls that are kept, with a message of each kind; refused calls make room for others.
pub(crate) async fn calls(raw: &mut Raw, calls: u32) {
    let mut free: Vec<u32> = (0..calls).rev().map(|index| 2 * index + 1).collect();
    let mut used = 0;
    for message in messages().cycle().take(4 * calls as usize) {
        let Some(id) = free.pop() else { break };
        // Ids must not be skipped.
        used = used.max(id);
        raw.send(call(id, HOLD, END).bytes(message)).await.unwrap();
        while let Some(packet) = raw.now().await {
            if let Packet::End(end) = packet {
                assert_eq!(end.code, Code::ResourceExhausted, "{}", end.text);
                free.push(end.call.to_wire());
            }
        }
    }
    assert!(used > 10, "calls were kept");
}

/// Sends one-way messages that are kept, as many as the request credit allows.
pub(crate) async fn one_way(raw: &mut Raw) {
    for message in messages() {
        let note = call(0, NOTE, END | ONE_WAY).bytes(message);
        if raw.send(note).await.is_err() {
            return;
        }
    }
    // Then messages below the counting threshold.
    let note = call(0, NOTE, END | ONE_WAY).bytes([0x0A, 0]);
    raw.flood(note, 2_000).await;
}

/// Opens streams whose messages are all read, with one message kept.
pub(crate) async fn streams(raw: &mut Raw, streams: u32) {
    for (index, message) in (0..streams).zip(messages().cycle().skip(2)) {
        let id = 2 * index + 1;
        raw.send(call(id, READ, NO_MESSAGE)).await.unwrap();
        let keeps = [&message[..message.len().min(800)], &[0xDA, 1, 1, 7]].concat();
        for message in [&message[..message.len().min(800)], &keeps] {
            raw.send(next(id, message)).await.unwrap();
        }
    }
    raw.goes_on().await;
}

/// Attack 26, by ten peers at once: together they stay within the sum of the server, and honest
/// calls go on.
#[tokio::test(start_paused = true)]
async fn ten_peers_hold_no_more_than_the_server_allows_and_honest_calls_go_on() {
    const PEERS: usize = 10;
    const SERVER_BYTES: usize = 3 * DECODED_BYTES;
    let turn = Alone::take().await;
    let config = of_server(|config| {
        let config = config.connection(least());
        config.max_server_decoded_bytes(Some(SERVER_BYTES))
    });
    let (builder, seen) = builder(config);
    let mut target = Target::of(builder, seen, &turn);
    let honest = target.honest().await;
    let mut raws = Vec::new();
    for _ in 0..PEERS {
        raws.push(target.greeted().await);
    }
    let attack = async {
        join_all(raws.iter_mut().map(|raw| calls(raw, 64))).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    let ((), held) = peak(honest.beside(attack)).await;
    let peers = target.handle.peers();
    let snapshots = join_all(peers.iter().map(|peer| peer.snapshot())).await;
    let decoded: usize = snapshots.iter().map(|held| held.decoded_bytes).sum();
    println!("{decoded} bytes counted, {held} held");
    assert!(
        decoded <= SERVER_BYTES && decoded > SERVER_BYTES / 2,
        "{decoded}"
    );
    // Each peer may hold its own bound, except for the bytes in the server's sum.
    let most = PEERS * (bound(&least()) - DECODED_BYTES) + SERVER_BYTES;
    assert!(held <= most, "{held} bytes held, {most} allowed");
    honest.leave().await;
    // The memory of a peer is freed when it disconnects.
    drop((raws, peers));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut raw = target.greeted().await;
    raw.send(call(1, HOLD, END).bytes([0x22, 0].repeat(3)))
        .await
        .unwrap();
    assert!(raw.goes_on().await.is_empty(), "it is taken");
}

/// Attack 26: the limit that a message exceeds, the text of the status, and whether the call is
/// safe to retry.
#[tokio::test]
async fn a_message_over_a_limit_is_told_which_and_only_sums_refuse_unserved() {
    let config = of_server(|config| {
        let config = config.connection(least());
        config.max_server_decoded_bytes(Some(3 * DECODED_BYTES / 2))
    });
    let (builder, seen) = builder(config);
    let mut target = Target::with(builder, seen).await;
    let (mut first, mut second) = (target.greeted().await, target.greeted().await);
    let wides = |count: usize| [0x22, 0].repeat(count);
    // Eight elements of 64 KiB take their size, and half of it again while the vector grows.
    let too_large = call(1, HOLD, END).bytes(wides(8));
    first.send(too_large).await.unwrap();
    let end = first.ended(1).await;
    assert_eq!((end.code, end.refused), (Code::ResourceExhausted, false));
    let text = end.text;
    assert!(
        text.starts_with("the request of `tests.multiply.Multiply/Hold` takes 7"),
        "{text}"
    );
    assert!(
        text.ends_with("takes at most 524288 (max_decoded_bytes)"),
        "{text}"
    );
    // Two messages of four elements fit into the sum of a connection, a third does not.
    for (raw, calls, setting) in [
        (
            &mut first,
            3,
            "takes at most 1048576 in all (max_connection_decoded_bytes)",
        ),
        (
            &mut second,
            2,
            "takes at most 1572864 in all (max_server_decoded_bytes)",
        ),
    ] {
        for index in 0..calls {
            let large = call(2 * index + 1, HOLD, END).bytes(wides(4));
            raw.send(large).await.unwrap();
        }
        let end = raw.ended(2 * calls - 1).await;
        assert_eq!((end.code, end.refused), (Code::ResourceExhausted, true));
        assert!(end.text.ends_with(setting), "{}", end.text);
        // Small messages are served nevertheless.
        let small = call(2 * calls - 1, HOLD, END).bytes([0x12, 0]);
        raw.send(small).await.unwrap();
        assert!(raw.goes_on().await.is_empty());
    }
    // A cancelled call releases its memory.
    let (mut one, large) = (second, wides(4));
    first.send(crate::wire::cancel(1)).await.unwrap();
    first.ended(1).await;
    one.send(call(5, HOLD, END).bytes(&large)).await.unwrap();
    assert!(one.goes_on().await.is_empty(), "there is room again");
}

/// A handler that runs to completion continues and keeps its memory.
#[tokio::test]
async fn handlers_that_run_to_completion_hold_their_memory_to_their_end() {
    let (builder, seen) = builder(least());
    let mut target = Target::with(builder, seen).await;
    let mut raw = target.greeted().await;
    let large = [0x22, 0].repeat(4);
    raw.send(call(1, COMPLETE, END).bytes(&large))
        .await
        .unwrap();
    raw.goes_on().await;
    raw.send(crate::wire::cancel(1)).await.unwrap();
    raw.ended(1).await;
    let peer = target.handle.peers().remove(0);
    assert!(peer.snapshot().await.decoded_bytes > 256 * 1024);
    raw.send(call(1, HOLD, END).bytes(&large)).await.unwrap();
    raw.goes_on().await;
    assert!(peer.snapshot().await.decoded_bytes > 512 * 1024);
    raw.send(crate::wire::cancel(1)).await.unwrap();
    raw.ended(1).await;
    let held = peer.snapshot().await.decoded_bytes;
    assert!((256 * 1024..512 * 1024).contains(&held), "{held}");
}

/// A message of a stream counts until the next one is requested, and one that is too large ends the
/// stream.
#[tokio::test]
async fn a_stream_holds_one_message_at_a_time() {
    let (builder, seen) = builder(least());
    let mut target = Target::with(builder, seen).await;
    let mut raw = target.greeted().await;
    raw.send(call(1, READ, NO_MESSAGE)).await.unwrap();
    // Each would fill three times the sum of the connection.
    for _ in 0..10 {
        raw.send(next(1, [0x22, 0].repeat(4))).await.unwrap();
    }
    assert!(
        raw.goes_on()
            .await
            .iter()
            .all(|packet| !matches!(packet, Packet::End(_)))
    );
    let peer = target.handle.peers().remove(0);
    assert_eq!(
        peer.snapshot().await.decoded_bytes,
        0,
        "it waits for the next"
    );
    raw.send(next(
        1,
        [&[0x22, 0].repeat(4)[..], &[0xDA, 1, 1, 7]].concat(),
    ))
    .await
    .unwrap();
    raw.goes_on().await;
    assert!(peer.snapshot().await.decoded_bytes > 256 * 1024);
    raw.send(call(3, READ, NO_MESSAGE)).await.unwrap();
    raw.send(next(3, [0x22, 0].repeat(40))).await.unwrap();
    let end = raw.ended(3).await;
    assert_eq!((end.code, end.refused), (Code::ResourceExhausted, false));
    assert!(end.text.ends_with("(max_decoded_bytes)"), "{}", end.text);
}
