//! Direct reads: chunks of large messages are read into the buffer of their message.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use wawo_protocol::{
    Code, Config, ConnectionError, Event, MIN_CREDIT_BYTES, Metadata, PeerMisbehaved,
    packet::{End, Packet},
};

use crate::{
    pair::{Pair, bytes, config},
    raw::{Raw, call, continued, first, last, message, more, theirs, whole},
};

/// The bytes of a packet.
fn wire(packet: &Packet) -> Bytes {
    let mut bytes = BytesMut::new();
    packet.encode(&mut bytes);
    bytes.freeze()
}

/// The bytes of a packet that are read before the direct read of the rest.
const START: usize = 100;

const CHUNK: usize = 20_000;

/// A call with the first chunk of a message of `total` bytes, and `START` bytes of the next packet.
fn begun(total: usize, next: &Bytes) -> Raw {
    let mut raw = Raw::open();
    raw.send_all(&[call(0, first(bytes(CHUNK), total as u32))]);
    assert_eq!(raw.feed(&next[..START]).expect("the start of a packet"), []);
    raw
}

fn reads_directly(raw: &mut Raw) -> bool {
    raw.machine.direct_read(&mut raw.input).is_some()
}

#[test]
fn a_chunk_is_read_to_where_its_message_stays() {
    let whole = bytes(3 * CHUNK);
    let chunk = |index: usize| whole.slice(index * CHUNK..(index + 1) * CHUNK);
    let middle = wire(&continued(theirs(0), more(chunk(1))));
    let end = wire(&continued(theirs(0), last(chunk(2))));
    let mut raw = Raw::open();
    raw.send_all(&[call(0, first(chunk(0), whole.len() as u32))]);
    raw.feed(&middle[..START]).unwrap();
    let room = raw
        .machine
        .direct_read(&mut raw.input)
        .expect("a large chunk");
    let place = room.get_ref().as_ptr();
    // The read also takes the header of the next packet, and nothing more.
    assert_eq!(room.remaining_mut(), middle.len() - START + 12);
    let rest = [&middle[START..], &end[..]].concat();
    let events = raw.read_directly(&rest).unwrap();
    let [Event::Called(called)] = &events[..] else {
        panic!("{events:?}");
    };
    let message = called.message.as_ref().unwrap();
    assert_eq!(*message, whole);
    assert_eq!(message.as_ptr(), place);
}

#[test]
fn a_buffer_that_nobody_has_any_more_is_used_for_the_next_message() {
    let mut pair = Pair::open();
    pair.part = 10_000;
    let mut places = Vec::new();
    for _ in 0..2 {
        pair.start_large(bytes(1_000_000));
        pair.run();
        let called = pair.server.called();
        let message = called.message.unwrap();
        places.push(message.as_ptr());
        let call = called.call.unwrap();
        let server = &mut pair.server.connection;
        server.reply(call, Metadata::new(), Bytes::new());
        pair.run();
        pair.client.ended();
    }
    assert!(
        pair.server.read_directly > 1_500_000,
        "{}",
        pair.server.read_directly
    );
    assert_eq!(places[0], places[1]);
}

fn assert_wrong_total(found: Result<Vec<Event<u32>>, ConnectionError>) {
    assert!(matches!(
        found,
        Err(ConnectionError::PeerMisbehaved(
            PeerMisbehaved::ChunkTotal { .. }
        ))
    ));
}

#[test]
fn small_chunks_and_those_that_break_a_rule_do_not_land() {
    let total = 2 * CHUNK;
    let small = wire(&continued(theirs(0), more(bytes(1_500))));
    assert!(!reads_directly(&mut begun(total, &small)));

    let too_long = wire(&continued(theirs(0), last(bytes(CHUNK + 1))));
    let mut raw = begun(total, &too_long);
    assert!(!reads_directly(&mut raw));
    assert_wrong_total(raw.feed(&too_long[START..]));

    // A chunk that was read directly is checked too, when it is complete.
    let unended = wire(&continued(theirs(0), more(bytes(CHUNK))));
    let mut raw = begun(total, &unended);
    assert!(reads_directly(&mut raw));
    assert_wrong_total(raw.read_directly(&unended[START..]));

    let unbegun = wire(&message(theirs(0), whole(bytes(CHUNK))));
    assert!(!reads_directly(&mut begun(total, &unbegun)));
}

#[test]
fn a_chunk_over_the_credit_of_its_call_does_not_land() {
    let mut raw = Raw::open_with(config(|config| {
        config.initial_credit_bytes(MIN_CREDIT_BYTES)
    }));
    raw.send_all(&[call(0, None), call(1, None)]);
    let initial_credit = MIN_CREDIT_BYTES as usize;
    raw.send_all(&[message(theirs(0), whole(bytes(initial_credit - 1)))]);
    // Bytes that are not consumed are not granted again, not even for a message that has begun.
    raw.send_all(&[message(theirs(0), first("a", 1 << 20))]);
    let over = wire(&continued(theirs(0), more(bytes(CHUNK))));
    raw.feed(&over[..START]).unwrap();
    assert!(!reads_directly(&mut raw));
    let found = raw.feed(&over[START..]);
    assert!(matches!(
        found,
        Err(ConnectionError::PeerMisbehaved(
            PeerMisbehaved::OverCredit { .. }
        ))
    ));
}

#[test]
fn direct_reads_of_an_ended_call_are_dropped() {
    let mut raw = Raw::open();
    raw.send_all(&[
        call(0, None),
        message(theirs(0), first(bytes(CHUNK), 3 * CHUNK as u32)),
    ]);
    let middle = wire(&continued(theirs(0), more(bytes(CHUNK))));
    raw.feed(&middle[..START]).unwrap();
    assert!(reads_directly(&mut raw));
    raw.machine.end(End {
        call: theirs(0),
        code: Code::Aborted,
        refused: false,
        metadata: Metadata::new(),
        text: String::new(),
        details: Bytes::new(),
    });
    assert_eq!(raw.read_directly(&middle[START..]).unwrap(), []);
    let events = raw.send(&call(0, last("next"))).unwrap();
    assert!(
        matches!(&events[..], [Event::Called(called)] if called.message.as_deref() == Some(b"next"))
    );
}

#[test]
fn the_room_for_a_message_grows_with_what_has_come() {
    let mut raw = Raw::open();
    let total = 1_000_000;
    raw.send_all(&[call(0, first(bytes(1_024), total))]);
    let chunk = wire(&continued(theirs(0), more(bytes(100_000))));
    raw.feed(&chunk[..START]).unwrap();
    let mut here = 1_024 + START;
    for part in chunk[START..].chunks(3_000) {
        let room = raw
            .machine
            .direct_read(&mut raw.input)
            .expect("a large chunk");
        assert!(room.remaining_mut() > 0);
        assert!(room.get_ref().capacity() <= 16 * here);
        raw.read_directly(part).unwrap();
        here += part.len();
    }
    // At the end, the bound is that of the message.
    let rest = bytes(total as usize - 1_024 - 100_000);
    let rest: Vec<_> = rest.chunks(100_000).collect();
    for (index, part) in rest.iter().enumerate() {
        let part = Bytes::copy_from_slice(part);
        let chunk = match index + 1 == rest.len() {
            true => last(part),
            false => more(part),
        };
        let bytes = wire(&continued(theirs(0), chunk));
        raw.feed(&bytes[..START]).unwrap();
        let room = raw.machine.direct_read(&mut raw.input);
        let capacity = room.map(|room| room.get_ref().capacity());
        assert!(capacity <= Some(total as usize + 12), "{capacity:?}");
        raw.read_directly(&bytes[START..]).unwrap();
    }
}

#[test]
fn a_chunk_that_lands_keeps_the_connection_alive_and_has_to_become_whole() {
    let chunk = wire(&continued(theirs(0), last(bytes(CHUNK))));
    let mut raw = begun(2 * CHUNK, &chunk);
    raw.said();
    let timeout = Config::default().packet_timeout();
    for part in 1..10 {
        raw.now += timeout / 10;
        let at = START * part;
        raw.read_directly(&chunk[at..at + START]).unwrap();
        raw.machine.handle_timeout(raw.now).unwrap();
    }
    assert_eq!(raw.said(), [], "no ping");
    raw.now += timeout / 10;
    let result = raw.machine.handle_timeout(raw.now);
    assert!(matches!(result, Err(ConnectionError::PacketTimedOut(_))));
}

#[test]
fn a_buffer_that_is_not_used_is_given_back() {
    let mut pair = Pair::open();
    pair.part = 10_000;
    pair.start_large(bytes(1_000_000));
    pair.run();
    drop(pair.server.called());
    pair.run_for(Duration::from_millis(900));
    let reused = pair.server.connection.reuse_buffer(1_000_000);
    let (buffer, size) = reused.expect("it is kept for a second");
    pair.server.connection.keep_buffer(buffer, size);
    pair.run_for(Duration::from_millis(1_100));
    assert!(pair.server.connection.reuse_buffer(1_000_000).is_none());
}

#[test]
fn bytes_that_come_one_by_one_do_not_move_the_message_each_time() {
    let mut raw = Raw::open();
    raw.send_all(&[call(0, first(bytes(1024), 1024 * 1024))]);
    let chunk = wire(&continued(theirs(0), more(bytes(120_000))));
    raw.feed(&chunk[..13]).unwrap();
    let (mut moves, mut place) = (0, std::ptr::null());
    for &byte in &chunk[13..10_000] {
        let mut room = raw.machine.direct_read(&mut raw.input).expect("large");
        if room.get_ref().as_ptr() != place {
            place = room.get_ref().as_ptr();
            moves += 1;
        }
        room.put_u8(byte);
    }
    assert!(moves < 10, "{moves} moves");
}
