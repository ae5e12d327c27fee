//! One-way calls: no answer, and credit of their own.

use bytes::Bytes;
use wawo_protocol::{
    Called, Config, Event, MESSAGE_COST_BYTES, MIN_CREDIT_BYTES, NewCall, NotStarted,
    packet::{CreditOf, Packet},
};

use crate::{
    pair::{Pair, bytes, config, unary},
    raw::{Raw, continued, first, last, more, one_way, theirs, whole},
};

fn note(message: impl Into<Bytes>) -> NewCall {
    NewCall {
        one_way: true,
        ..unary(message)
    }
}

fn send(pair: &mut Pair, message: impl Into<Bytes>) {
    let sent = pair.client.connection.send_one_way(pair.now, note(message));
    assert_eq!(sent, Ok(()));
}

fn received(pair: &mut Pair) -> Vec<Bytes> {
    let events = pair
        .server
        .heard()
        .into_iter()
        .filter_map(|event| match event {
            Event::Called(Called {
                call: None,
                message,
                end: true,
                ..
            }) => message,
            other => panic!("{other:?}"),
        });
    events.collect()
}

fn cheap() -> Config {
    config(|config| config.limits.request_credit_bytes = MIN_CREDIT_BYTES)
}

#[test]
fn a_note_arrives_and_leaves_nothing_behind() {
    let patient = config(|config| config.default_timeout = None);
    let mut pair = Pair::greeted_with(patient, Config::default());
    send(&mut pair, "a");
    assert_eq!(pair.client.connection.output().len(), 21);
    send(&mut pair, "b");
    pair.run();
    assert_eq!(received(&mut pair), ["a", "b"]);
    assert_eq!(pair.client.connection.calls_started(), 0);
    assert_eq!(pair.client.connection.take_calls(), []);
}

#[test]
fn a_note_longer_than_a_packet_goes_in_chunks() {
    let mut pair = Pair::greeted();
    let long = bytes(1_000_000);
    send(&mut pair, long.clone());
    send(&mut pair, "short");
    pair.run();
    // The short one overtakes: nothing orders calls.
    assert_eq!(received(&mut pair), [Bytes::from("short"), long]);
    assert_eq!(pair.client.connection.calls_started(), 0);
}

#[test]
fn notes_wait_for_credit_and_hold_up_no_call() {
    let mut pair = Pair::greeted_with(Config::default(), cheap());
    let cost = MESSAGE_COST_BYTES + 36;
    // A quarter of the credit is kept for calls.
    let count = u64::from(MIN_CREDIT_BYTES / 4 * 3) / cost;
    for _ in 0..=count + 1 {
        send(&mut pair, bytes(36));
    }
    pair.run();
    // The one that went into the reserve is there, the next one is not.
    assert_eq!(received(&mut pair).len() as u64, count + 1);
    assert_eq!(pair.client.connection.calls_waiting(), 1);
    pair.start(1, b"a call");
    pair.run();
    assert_eq!(
        pair.server.called().message.as_deref(),
        Some(&b"a call"[..])
    );

    for _ in 0..=count {
        pair.server.connection.one_way_served(cost);
    }
    pair.run();
    assert_eq!(received(&mut pair).len(), 1);
    assert_eq!(pair.client.connection.calls_waiting(), 0);
}

#[test]
fn too_many_waiting_notes_are_refused() {
    let mut pair = Pair::greeted_with(config(|config| config.max_waiting_calls = 2), cheap());
    send(&mut pair, bytes(MIN_CREDIT_BYTES as usize));
    send(&mut pair, "waits");
    send(&mut pair, "waits");
    let refused = pair.client.connection.send_one_way(pair.now, note(""));
    assert_eq!(refused, Err(NotStarted::Full(2)));
}

#[test]
fn a_note_without_credit_is_a_fault() {
    let mut raw = Raw::greeted_with(cheap());
    let whole = MIN_CREDIT_BYTES - MESSAGE_COST_BYTES as u32;
    let mut left = whole;
    let id = Some(theirs(0));
    let step = 16_000;
    raw.send_all(&[one_way(id, first(bytes(step as usize), whole))]);
    left -= step;
    while left > step {
        raw.send_all(&[continued(theirs(0), more(bytes(step as usize)))]);
        left -= step;
    }
    let events = raw.send_all(&[continued(theirs(0), last(bytes(left as usize)))]);
    assert!(
        matches!(&events[..], [Event::Called(called)] if called.call.is_none()),
        "{events:?}"
    );
    // That was all of it, to the last byte.
    let fault = raw.fault(&one_way(None, last("")));
    let text = "a message without credit for all calls together (request_credit_bytes)";
    assert_eq!(fault.to_string(), text);
}

#[test]
fn credit_comes_back_when_half_of_it_was_served() {
    let mut raw = Raw::greeted_with(cheap());
    let half = MIN_CREDIT_BYTES / 2;
    let note = bytes(half as usize - MESSAGE_COST_BYTES as usize - 1);
    let length = note.len();
    let chunks = [
        one_way(Some(theirs(0)), first(note.slice(..16_000), length as u32)),
        continued(theirs(0), last(note.slice(16_000..))),
        one_way(None, last("")),
    ];
    let costs: Vec<u64> = raw.send_all(&chunks).iter().map(cost).collect();
    assert_eq!(costs, [u64::from(half) - 1, MESSAGE_COST_BYTES]);
    raw.machine.one_way_served(costs[0]);
    assert_eq!(raw.said(), []);
    raw.machine.one_way_served(costs[1]);
    let bytes = half - 1 + MESSAGE_COST_BYTES as u32;
    let of = CreditOf::Requests;
    assert_eq!(raw.said(), [Packet::Credit { of, bytes }]);
}

fn cost(event: &Event<u32>) -> u64 {
    match event {
        Event::Called(called) => called.cost,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_note_is_over_with_its_last_chunk_whether_that_says_so_or_not() {
    let mut raw = Raw::greeted();
    let note = [
        one_way(Some(theirs(0)), first("a", 2)),
        continued(theirs(0), whole("b")),
    ];
    let events = raw.send_all(&note);
    let [Event::Called(called)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(called.message.as_deref(), Some(&b"ab"[..]));
    assert!(called.end);
    raw.machine.one_way_served(called.cost);
    assert_eq!(raw.machine.held_bytes(), (0, 0));
}

#[test]
fn what_is_consumed_of_a_call_that_is_over_grants_nothing_to_a_note_in_its_slot() {
    let mut raw = Raw::greeted_with(config(|config| {
        config.limits.initial_credit_bytes = MIN_CREDIT_BYTES;
    }));
    let half = MIN_CREDIT_BYTES / 2;
    let note = first(bytes(half as usize), 2 * half);
    raw.send_all(&[one_way(Some(theirs(0)), note)]);
    raw.said();
    raw.machine.consume(theirs(0), 1, half as usize);
    assert_eq!(raw.said(), []);
    assert!(raw.machine.held_bytes().0 > u64::from(2 * half));
}
