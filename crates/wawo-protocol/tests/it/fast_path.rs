//! Plain calls are read on a fast path, which must have the same results as the general one.

use bytes::{Bytes, BytesMut};
use wawo_protocol::{
    Code, Config, Event, InboundCall, MIN_CREDIT_BYTES, MIN_MESSAGE_BYTES, MIN_METADATA_BYTES,
    NewCall,
    packet::{HEADER_BYTES, Packet},
};

use crate::{
    pair::{OUTER_CALLS, bytes, config, copy_even, stream, unary},
    raw::{Raw, call, end, first, last, message, one_way, ours, reply, theirs, whole},
};

/// The result of reading bytes, and the state of the machine afterwards.
#[derive(Debug, PartialEq)]
struct Outcome {
    error: Option<String>,
    events: Vec<Event<u32>>,
    held: (u64, u64),
    timeout: Option<std::time::Instant>,
    said: Vec<Packet>,
    rest: usize,
}

/// Feeds a machine as a driver does, with or without the fast path.
fn outcome(raw: &mut Raw, bytes: &[u8], plain: bool) -> (Outcome, usize) {
    let (mut input, mut events, mut fast) = (BytesMut::from(bytes), Vec::new(), 0);
    let error = loop {
        if plain && let Some(called) = raw.machine.poll_call(raw.now, &mut input, copy_even) {
            fast += 1;
            events.push(Event::Called(called));
            continue;
        }
        match raw.machine.poll_event(raw.now, &mut input) {
            Ok(Some(event)) => events.push(event),
            Ok(None) => break None,
            Err(error) => break Some(error.to_string()),
        }
    };
    let outcome = Outcome {
        error,
        events,
        held: raw.machine.held_bytes(),
        timeout: raw.machine.poll_timeout(),
        said: raw.said(),
        rest: input.len(),
    };
    (outcome, fast)
}

/// Compares both paths on machines of this configuration; returns the number of plain calls.
fn compare(config: &Config, before: &[u8], bytes: &[u8]) -> usize {
    let [(slow, none), (fast, plain)] = [false, true].map(|plain| {
        let mut raw = Raw::open_with(config.clone());
        raw.feed(before).expect("what comes before is right");
        raw.said();
        outcome(&mut raw, bytes, plain)
    });
    assert_eq!(none, 0);
    assert_eq!(slow, fast, "{before:?} {bytes:?}");
    plain
}

fn packet(kind: u8, flags: u8, code: u8, id: u8, payload: usize) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, payload as u8, kind, flags, 0, code, 0, 0, 0, id];
    assert_eq!(bytes.len(), HEADER_BYTES);
    // Service 1, method 2, and then small numbers.
    bytes.extend(
        [0, 0, 0, 1, 0, 0, 0, 2]
            .into_iter()
            .chain(0..)
            .take(payload),
    );
    bytes
}

#[test]
fn whatever_the_head_says_both_ways_agree() {
    let config = Config::default();
    let mut plain = 0;
    for flags in 0..=u8::MAX {
        for (kind, code, id) in [
            (6, 0, 0),
            (6, 0, 1),
            (6, 0, 2),
            (6, 0, 3),
            (6, 1, 1),
            (8, 0, 1),
        ] {
            for payload in [0, 7, 8, 11, 12, 13, 40] {
                plain += compare(&config, &[], &packet(kind, flags, code, id, payload));
            }
        }
    }
    // A call and a one-way call: five lengths without a timeout, three with one.
    assert_eq!(plain, 16);
}

#[test]
fn incomplete_packets_wait() {
    let whole = packet(6, 0x01, 0, 1, 20);
    for length in 0..whole.len() {
        assert_eq!(compare(&Config::default(), &[], &whole[..length]), 0);
    }
}

#[test]
fn calls_behind_others_and_in_every_state() {
    let least = config(|config| {
        config
            .max_calls(64)
            .initial_credit_bytes(MIN_CREDIT_BYTES)
            .max_message_bytes(MIN_MESSAGE_BYTES)
            .request_credit_bytes(MIN_CREDIT_BYTES)
            .max_opening_bytes((MIN_MESSAGE_BYTES + MIN_METADATA_BYTES) as usize)
            .max_timeout(Some(std::time::Duration::from_secs(1)))
    });
    let encoded = |packets: &[Packet]| {
        let mut bytes = BytesMut::new();
        packets.iter().for_each(|packet| packet.encode(&mut bytes));
        bytes
    };
    let most = MIN_CREDIT_BYTES as usize;
    let one = |length| one_way(None, last(bytes(length)));
    let cases = [
        (
            vec![],
            vec![call(0, last(bytes(3))), call(1, last(bytes(4)))],
            2,
        ),
        // Ids that are in flight, one over the limit, and behind a skipped slot.
        (
            vec![call(0, last(bytes(3)))],
            vec![call(0, last(bytes(3)))],
            0,
        ),
        (
            (0..64).map(|index| call(index, last(""))).collect(),
            vec![call(64, last(""))],
            0,
        ),
        (vec![], vec![call(1, last(""))], 0),
        // Calls that take all of `max_opening_bytes`, and one that takes a byte more.
        (
            vec![],
            vec![
                call(0, last(bytes(most))),
                call(1, last(bytes(MIN_METADATA_BYTES as usize))),
                call(2, last(bytes(1))),
            ],
            2,
        ),
        // One-way messages, until the credit is used up.
        (vec![], vec![one(most - 65), one(0), one(0)], 2),
        // With a stream between them.
        (
            vec![],
            vec![call(0, last("")), call(1, None), one(5), one(6)],
            3,
        ),
    ];
    for (before, packets, plain) in cases {
        let (before, packets) = (encoded(&before), encoded(&packets));
        assert_eq!(compare(&least, &before, &packets), plain, "{packets:?}");
    }
}

#[test]
fn a_side_that_drains_takes_no_plain_calls() {
    let mut raw = Raw::open();
    raw.machine.drain();
    let (outcome, plain) = outcome(&mut raw, &packet(6, 0x01, 0, 1, 20), true);
    assert_eq!((outcome.events, plain), (vec![], 0));
}

#[test]
fn a_plain_call_tells_all_that_it_says() {
    let mut raw = Raw::open();
    let mut input = BytesMut::from(&packet(6, 0x09, 0, 1, 14)[..]);
    let called = raw.machine.poll_call(raw.now, &mut input, copy_even);
    let Some(InboundCall {
        service,
        method,
        deadline,
        message,
        end: true,
        cost: 0,
        ..
    }) = called
    else {
        panic!("{called:?}");
    };
    assert_eq!((service.0, method.0), (1, 2));
    // 0x00010203 milliseconds, and the rest is the message.
    let timeout = std::time::Duration::from_millis(0x0001_0203);
    assert_eq!(deadline, Some(raw.now + timeout));
    assert_eq!(message.as_deref(), Some(&[4, 5][..]));
}

/// Starts a call of the machine's side.
fn start(raw: &mut Raw, token: u32, new: NewCall) {
    let started = raw.machine.start_call(raw.now, new, token);
    assert!(started.is_ok(), "{started:?}");
}

fn poll_reply(raw: &mut Raw, packets: &[Packet]) -> (Option<(u32, Bytes)>, usize) {
    let mut input = BytesMut::new();
    packets.iter().for_each(|packet| packet.encode(&mut input));
    let answered = raw.machine.poll_reply(raw.now, &mut input);
    (answered, input.len())
}

#[test]
fn a_plain_reply_gives_the_token_back_and_frees_its_slot() {
    let mut raw = Raw::open();
    let most = OUTER_CALLS;
    for token in 0..=most {
        start(&mut raw, token, unary("ask"));
    }
    assert_eq!(raw.machine.calls_waiting(), 1);
    let (answered, rest) = poll_reply(
        &mut raw,
        &[reply(ours(3), last("so")), message(ours(5), whole(""))],
    );
    assert_eq!(answered, Some((3, Bytes::from("so"))));
    assert_eq!(rest, HEADER_BYTES);
    // The waiting call has its slot, and its event comes before anything else is read.
    assert_eq!(raw.machine.calls_waiting(), 0);
    assert_eq!(poll_reply(&mut raw, &[reply(ours(3), last("so"))]).0, None);
    let event = raw.machine.poll_event(raw.now, &mut BytesMut::new());
    assert!(
        matches!(event, Ok(Some(Event::Started(id))) if id == ours(3)),
        "{event:?}"
    );
    let (answered, _) = poll_reply(&mut raw, &[reply(ours(3), last(""))]);
    assert_eq!(answered, Some((most, Bytes::new())));
}

#[test]
fn other_replies_are_left_to_the_others() {
    let mut raw = Raw::open();
    start(&mut raw, 0, unary("ask"));
    start(&mut raw, 1, unary("given up"));
    start(&mut raw, 2, stream());
    raw.machine.cancel(ours(1)).expect("its token");
    let with_metadata = |packet| {
        let Packet::Reply(mut reply) = packet else {
            panic!("a reply");
        };
        reply
            .metadata
            .append("key", "value")
            .expect("a valid entry");
        Packet::Reply(reply)
    };
    for packet in [
        reply(ours(0), None),
        reply(ours(0), whole("and more")),
        reply(ours(0), first("a", 3_000)),
        with_metadata(reply(ours(0), last("a"))),
        message(ours(0), last("a")),
        end(ours(0), Code::Ok),
        // Replies to calls that are cancelled, not completely sent, missing, and not ours.
        reply(ours(1), last("a")),
        reply(ours(2), last("a")),
        reply(ours(3), last("a")),
        reply(theirs(0), last("a")),
    ] {
        let mut bytes = BytesMut::new();
        packet.encode(&mut bytes);
        assert_eq!(poll_reply(&mut raw, &[packet]), (None, bytes.len()));
    }
    // A reply that has begun.
    raw.send_all(&[reply(ours(0), whole("one"))]);
    assert_eq!(poll_reply(&mut raw, &[reply(ours(0), last("a"))]).0, None);
}

#[test]
fn a_reply_over_the_limit_is_left_to_the_others() {
    let least = config(|config| {
        config
            .max_message_bytes(MIN_MESSAGE_BYTES)
            .initial_credit_bytes(MIN_CREDIT_BYTES)
    });
    let mut raw = Raw::open_with(least);
    let most = MIN_MESSAGE_BYTES.min(MIN_CREDIT_BYTES) as usize;
    for (token, length, is_plain) in [(0, most + 1, false), (1, most, true)] {
        start(&mut raw, token, unary("ask"));
        let (answered, _) = poll_reply(&mut raw, &[reply(ours(token), last(bytes(length)))]);
        assert_eq!(answered.is_some(), is_plain);
    }
}
