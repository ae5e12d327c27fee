//! One-way calls: no reply, and their own credit.

use std::time::Duration;

use bytes::Bytes;
use wawo_protocol::{
    CloseCode, Config, Event, InboundCall, MESSAGE_COST_BYTES, MIN_CALLS, MIN_CREDIT_BYTES,
    MIN_MESSAGE_BYTES, NewCall, Refusal, StartedCall,
    packet::{CreditOf, OneWayBatch, Packet},
};

use crate::{
    pair::{Pair, bytes, config, nested, unary},
    raw::{Raw, continued, first, last, more, one_way, theirs, whole},
};

fn one_way_call(message: impl Into<Bytes>) -> NewCall {
    NewCall {
        one_way: true,
        ..unary(message)
    }
}

fn send(pair: &mut Pair, message: impl Into<Bytes>) {
    let sent = pair
        .client
        .connection
        .send_one_way(pair.now, one_way_call(message));
    assert_eq!(sent, Ok(()));
}

fn received(pair: &mut Pair) -> Vec<Bytes> {
    let events = pair
        .server
        .heard()
        .into_iter()
        .filter_map(|event| match event {
            Event::Called(InboundCall {
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
    config(|config| config.request_credit_bytes(MIN_CREDIT_BYTES))
}

#[test]
fn a_note_arrives_and_leaves_nothing_behind() {
    let patient = config(|config| config.default_timeout(None));
    let mut pair = Pair::open_with(patient, Config::default());
    send(&mut pair, "a");
    assert_eq!(pair.client.connection.output().len(), 21);
    send(&mut pair, "b");
    pair.run();
    assert_eq!(received(&mut pair), ["a", "b"]);
    assert_eq!(pair.client.connection.calls_started(), 0);
    assert_eq!(pair.client.connection.take_calls(), []);
}

/// Sends one-way calls at once; returns the reasons of those that were refused.
fn send_all(pair: &mut Pair, messages: &[Bytes]) -> Vec<Refusal> {
    let one = one_way_call("");
    let mut batch = OneWayBatch::default();
    for message in messages {
        batch.push(one.service, one.method, message);
    }
    assert_eq!(batch.len(), messages.len());
    let (mut refused, now) = (Vec::new(), pair.now);
    let connection = &mut pair.client.connection;
    connection.send_one_way_batch(now, batch, |service, method, reason| {
        assert_eq!((service, method), (one.service, one.method));
        refused.push(reason);
    });
    refused
}

#[test]
fn notes_at_once_are_what_they_are_one_by_one() {
    let messages = [bytes(32), Bytes::new(), bytes(900)];
    let (mut together, mut apart) = (Pair::open(), Pair::open());
    assert_eq!(send_all(&mut together, &messages), []);
    let timeout = Config::default().default_timeout();
    for message in &messages {
        let call = NewCall {
            deadline: timeout.map(|timeout| apart.now + timeout),
            ..one_way_call(message.clone())
        };
        let sent = apart.client.connection.send_one_way(apart.now, call);
        assert_eq!(sent, Ok(()));
    }
    let output = |pair: &mut Pair| pair.client.connection.output().first().to_vec();
    assert_eq!(output(&mut together), output(&mut apart));
    together.run();
    assert_eq!(received(&mut together), messages);
}

#[test]
fn notes_at_once_wait_for_credit_and_for_those_before_them() {
    let mut pair = Pair::open_with(Config::default(), cheap());
    let cost = MESSAGE_COST_BYTES + 36;
    let count = (u64::from(MIN_CREDIT_BYTES / 4 * 3) / cost) as usize;
    // More than the credit allows, then some small ones that it would allow.
    assert_eq!(send_all(&mut pair, &vec![bytes(36); count + 5]), []);
    assert_eq!(send_all(&mut pair, &[bytes(1), bytes(2)]), []);
    pair.run();
    let mut heard = received(&mut pair);
    assert!((count..count + 5).contains(&heard.len()), "{}", heard.len());
    for _ in 0..3 {
        let served = count as u64 / 2 * cost;
        pair.server.connection.one_way_served(served);
        pair.run();
        heard.extend(received(&mut pair));
    }
    assert_eq!(heard.len(), count + 7);
    assert_eq!(heard[count + 5..], [bytes(1), bytes(2)]);
}

/// The number of messages of 36 bytes for which the peer of [`cheap`] has credit.
fn affordable() -> usize {
    let cost = MESSAGE_COST_BYTES + 36;
    (u64::from(MIN_CREDIT_BYTES / 4 * 3) / cost) as usize + 1
}

#[test]
fn notes_that_waited_together_say_how_much_time_they_have_left() {
    let millis = Duration::from_millis;
    let (count, timeout) = (affordable(), Config::default().default_timeout().unwrap());
    // A delay within the precision of deadlines is not worth bytes on the wire.
    for (waited, late) in [(millis(5), millis(5)), (millis(6), millis(0))] {
        let mut pair = Pair::open_with(Config::default(), cheap());
        assert_eq!(send_all(&mut pair, &vec![bytes(36); count + 1]), []);
        let deadline = pair.now + timeout;
        pair.run();
        assert_eq!(received(&mut pair).len(), count);
        pair.now += waited;
        let served = count as u64 * (MESSAGE_COST_BYTES + 36);
        pair.server.connection.one_way_served(served);
        pair.run();
        let called = pair.server.called();
        assert_eq!(called.deadline, Some(deadline + late));
    }
}

#[test]
fn notes_that_wait_together_are_given_up_at_their_deadline() {
    let mut pair = Pair::open_with(Config::default(), cheap());
    let timeout = Config::default().default_timeout().unwrap();
    assert_eq!(send_all(&mut pair, &vec![bytes(36); affordable() + 2]), []);
    assert_eq!(pair.client.connection.calls_waiting(), 2);
    pair.run_for(timeout);
    assert_eq!(received(&mut pair).len(), affordable());
    assert_eq!(pair.client.connection.calls_waiting(), 0);
    // There is room for two more batches again.
    assert_eq!(send_all(&mut pair, &[bytes(1)]), []);
    assert_eq!(pair.client.connection.calls_waiting(), 1);
}

#[test]
fn too_many_notes_at_once_are_refused_from_the_limit_on() {
    let client = config(|config| config.max_waiting_calls(3));
    let mut pair = Pair::open_with(client, cheap());
    let refused = send_all(&mut pair, &vec![bytes(36); affordable()]);
    assert_eq!(refused, []);
    assert_eq!(send_all(&mut pair, &vec![bytes(1); 2]), []);
    assert_eq!(pair.client.connection.calls_waiting(), 2);
    let refused = send_all(&mut pair, &vec![bytes(1); 3]);
    assert_eq!(refused, vec![Refusal::Full(3); 2]);
    assert_eq!(send_all(&mut pair, &[bytes(1)]), [Refusal::Full(3)]);
    assert_eq!(pair.client.connection.calls_waiting(), 3);
}

#[test]
fn notes_that_wait_together_count_as_the_bytes_that_they_are() {
    let mut pair = Pair::open_with(Config::default(), cheap());
    assert_eq!(send_all(&mut pair, &[bytes(MIN_CREDIT_BYTES as usize)]), []);
    let half = pair.client.connection.call_capacity();
    assert_eq!(send_all(&mut pair, &vec![bytes(16 * 1024); 255]), []);
    assert_eq!(pair.client.connection.call_capacity(), half - 255);
    assert_eq!(send_all(&mut pair, &[bytes(16 * 1024)]), []);
    assert!(pair.client.connection.is_congested());
    assert_eq!(pair.client.connection.take_calls(), []);
    assert!(!pair.client.connection.is_congested());
}

#[test]
fn an_empty_batch_of_one_way_messages_holds_up_nobody() {
    let mut pair = Pair::open_with(Config::default(), cheap());
    // This message takes all credit.
    send(&mut pair, bytes(MIN_CREDIT_BYTES as usize));
    assert_eq!(send_all(&mut pair, &[]), []);
    send(&mut pair, "behind");
    pair.run();
    assert_eq!(received(&mut pair).len(), 1);
    let served = u64::from(MIN_CREDIT_BYTES) + MESSAGE_COST_BYTES;
    pair.server.connection.one_way_served(served);
    pair.run();
    assert_eq!(received(&mut pair), ["behind"]);
}

#[test]
fn notes_at_once_do_not_overtake_one_that_waits_for_a_slot() {
    let few = config(|config| config.max_calls(MIN_CALLS));
    let mut pair = Pair::open_with(Config::default(), few);
    for token in 0..MIN_CALLS {
        let client = &mut pair.client.connection;
        let started = client.start_call(pair.now, nested(1), token);
        assert!(matches!(started, Ok(StartedCall::Sent(_))), "{started:?}");
    }
    // The message is sent in chunks, and so needs a slot.
    send(&mut pair, bytes(1_000_000));
    assert_eq!(send_all(&mut pair, &[bytes(1)]), []);
    assert_eq!(pair.client.connection.calls_waiting(), 2);
}

#[test]
fn of_notes_at_once_those_that_cannot_be_served_are_refused() {
    let small = config(|config| config.max_message_bytes(MIN_MESSAGE_BYTES));
    let mut pair = Pair::open_with(Config::default(), small);
    let most = MIN_MESSAGE_BYTES as usize;
    let messages = [bytes(most), bytes(most + 1), bytes(1)];
    let refused = send_all(&mut pair, &messages);
    let [Refusal::MessageTooLarge { length, .. }] = refused[..] else {
        panic!("{refused:?}");
    };
    assert_eq!(length, most + 1);
    pair.run();
    let mut received = received(&mut pair);
    received.sort_by_key(Bytes::len);
    assert_eq!(received, [bytes(1), bytes(most)]);
    pair.server.connection.drain();
    pair.run();
    let refused = send_all(&mut pair, &messages);
    assert_eq!(refused, vec![Refusal::Draining; 3]);
    pair.client.connection.close(CloseCode::Normal, "");
    let refused = send_all(&mut pair, &messages);
    assert_eq!(refused, vec![Refusal::Closed; 3]);
}

#[test]
fn notes_before_the_hello_wait_for_it() {
    let mut pair = Pair::new();
    assert_eq!(
        send_all(&mut pair, &[bytes(30_000), bytes(30_000), bytes(30_000)]),
        []
    );
    // The minimum credit allows two of them.
    assert_eq!(pair.client.connection.calls_waiting(), 1);
    pair.run();
    let events = pair.server.heard();
    let called = |event: &&Event<u32>| matches!(event, Event::Called(_));
    assert_eq!(events.iter().filter(called).count(), 3);
}

#[test]
fn a_note_longer_than_a_packet_goes_in_chunks() {
    let mut pair = Pair::open();
    let long = bytes(1_000_000);
    send(&mut pair, long.clone());
    send(&mut pair, "short");
    pair.run();
    // The short message overtakes: calls have no order.
    assert_eq!(received(&mut pair), [Bytes::from("short"), long]);
    assert_eq!(pair.client.connection.calls_started(), 0);
}

#[test]
fn notes_wait_for_credit_and_hold_up_no_call() {
    let mut pair = Pair::open_with(Config::default(), cheap());
    let cost = MESSAGE_COST_BYTES + 36;
    // A quarter of the credit is reserved for calls.
    let count = u64::from(MIN_CREDIT_BYTES / 4 * 3) / cost;
    for _ in 0..=count + 1 {
        send(&mut pair, bytes(36));
    }
    pair.run();
    // The message that began in the reserve came, the next one did not.
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
    let mut pair = Pair::open_with(config(|config| config.max_waiting_calls(2)), cheap());
    send(&mut pair, bytes(MIN_CREDIT_BYTES as usize));
    send(&mut pair, "waits");
    send(&mut pair, "waits");
    let refused = pair
        .client
        .connection
        .send_one_way(pair.now, one_way_call(""));
    assert_eq!(refused, Err(Refusal::Full(2)));
}

#[test]
fn a_note_without_credit_is_a_fault() {
    let mut raw = Raw::open_with(cheap());
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
    // The credit is used up to the last byte.
    let fault = raw.fault(&one_way(None, last("")));
    let text = "a message without credit for all calls together (request_credit_bytes)";
    assert_eq!(fault.to_string(), text);
}

#[test]
fn credit_comes_back_when_half_of_it_was_served() {
    let mut raw = Raw::open_with(cheap());
    let half = MIN_CREDIT_BYTES / 2;
    let one_way_call = bytes(half as usize - MESSAGE_COST_BYTES as usize - 1);
    let length = one_way_call.len();
    let chunks = [
        one_way(
            Some(theirs(0)),
            first(one_way_call.slice(..16_000), length as u32),
        ),
        continued(theirs(0), last(one_way_call.slice(16_000..))),
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
    let mut raw = Raw::open();
    let one_way_call = [
        one_way(Some(theirs(0)), first("a", 2)),
        continued(theirs(0), whole("b")),
    ];
    let events = raw.send_all(&one_way_call);
    let [Event::Called(called)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(called.message.as_deref(), Some(&b"ab"[..]));
    assert!(called.end);
    raw.machine.one_way_served(called.cost);
    assert_eq!(raw.machine.held_bytes(), (0, 0));
}

#[test]
fn consuming_an_ended_call_grants_nothing_to_a_one_way_message_in_its_slot() {
    let mut raw = Raw::open_with(config(|config| {
        config.initial_credit_bytes(MIN_CREDIT_BYTES)
    }));
    let half = MIN_CREDIT_BYTES / 2;
    let one_way_call = first(bytes(half as usize), 2 * half);
    raw.send_all(&[one_way(Some(theirs(0)), one_way_call)]);
    raw.said();
    raw.machine.consume(theirs(0), 1, half as usize);
    assert_eq!(raw.said(), []);
    assert!(raw.machine.held_bytes().0 > u64::from(2 * half));
}
