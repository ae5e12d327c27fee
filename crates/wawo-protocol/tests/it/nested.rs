//! Calls that handlers make: none waits for a slot of a call that waits for it.

use bytes::Bytes;
use wawo_protocol::{CallId, Config, Event, MIN_CALLS, Metadata, Refusal, Side, StartedCall};

use crate::pair::{OUTER_CALLS, Pair, config, nested, unary};

/// A pair whose server has the minimum number of slots.
fn few() -> Pair {
    let few = config(|config| config.max_calls(MIN_CALLS));
    Pair::open_with(Config::default(), few)
}

fn start_nested(pair: &mut Pair, depth: u32, token: u32) {
    let client = &mut pair.client.connection;
    let started = client.start_call(pair.now, nested(depth), token);
    assert!(matches!(started, Ok(StartedCall::Sent(_))), "{started:?}");
}

/// A pair with all slots taken: outer calls have all slots that they may use, nested calls have the
/// others.
fn full() -> Pair {
    let mut pair = few();
    for token in 0..OUTER_CALLS {
        pair.start(token, b"");
    }
    for token in OUTER_CALLS..MIN_CALLS {
        start_nested(&mut pair, 1, token);
    }
    pair.run();
    pair
}

#[test]
fn calls_that_no_handler_makes_leave_slots_to_the_others() {
    let mut pair = few();
    for token in 0..OUTER_CALLS {
        pair.start(token, b"");
    }
    pair.start_waiting(100, unary(""));
    // These overtake the waiting call.
    for (depth, token) in [(1, 101), (2, 102), (16, 103), (1, 104)] {
        start_nested(&mut pair, depth, token);
    }
    pair.start_waiting(105, nested(1));
    assert!(matches!(pair.refused(nested(2)), Refusal::NoSlot { .. }));
}

#[test]
fn calls_of_handlers_may_take_all_slots() {
    let mut pair = few();
    for token in 0..MIN_CALLS {
        start_nested(&mut pair, 1, token);
    }
    pair.start_waiting(100, nested(1));
    pair.start_waiting(101, unary(""));
}

#[test]
fn a_deep_call_that_finds_no_slot_is_refused_and_says_why() {
    let mut pair = full();
    for depth in [2, 3, 16] {
        let reason = pair.refused(nested(depth));
        let max_calls = MIN_CALLS;
        assert_eq!(reason, Refusal::NoSlot { max_calls, depth });
        let text = reason.to_string();
        assert!(text.contains("max_calls") && text.contains("64"), "{text}");
    }
    pair.start_waiting(100, nested(1));
    // A deep call does not overtake a waiting call either.
    pair.refused(nested(2));
    assert_eq!(pair.client.connection.calls_waiting(), 1);
}

/// The n-th slot of the client.
fn id(index: u32) -> CallId {
    CallId::new(Side::Connecting, index)
}

/// The tokens of the waiting calls, in the order in which they begin when `freed` slots become free
/// one after the other.
fn begun(pair: &mut Pair, freed: u32) -> Vec<u32> {
    let mut begun = Vec::new();
    for slot in 0..freed {
        let server = &mut pair.server.connection;
        server.reply(id(slot), Metadata::new(), Bytes::new());
        pair.run();
        for event in pair.client.heard() {
            if let Event::Started(id) = event {
                begun.extend(pair.client.connection.token(id).copied());
            }
        }
    }
    begun
}

#[test]
fn a_slot_that_is_free_goes_to_the_call_that_came_first_of_those_that_may_have_it() {
    let mut pair = full();
    for (token, depth) in [(100, 0), (101, 1), (102, 0), (103, 1)] {
        pair.start_waiting(token, nested(depth));
    }
    // The first slots that become free are those of outer calls.
    assert_eq!(begun(&mut pair, 4), [100, 101, 102, 103]);
}

#[test]
fn outer_calls_do_not_get_the_slots_that_are_left_to_others() {
    let mut pair = full();
    pair.start_waiting(100, unary(""));
    pair.start_waiting(101, nested(1));
    let server = &mut pair.server.connection;
    server.reply(id(OUTER_CALLS), Metadata::new(), Bytes::new());
    pair.run();
    assert!(
        pair.client
            .heard()
            .contains(&Event::Started(id(OUTER_CALLS)))
    );
    let begun = pair.client.connection.token(id(OUTER_CALLS));
    assert_eq!(begun, Some(&mut 101));
    assert_eq!(pair.client.connection.calls_waiting(), 1);
}

#[test]
fn lines_are_bounded_apart() {
    let least = config(|config| config.max_calls(MIN_CALLS));
    let patient = config(|config| config.max_waiting_calls(2));
    let mut pair = Pair::open_with(patient, least);
    for token in 0..MIN_CALLS {
        start_nested(&mut pair, 1, token);
    }
    for token in 0..2 {
        pair.start_waiting(100 + token, unary(""));
        pair.start_waiting(200 + token, nested(1));
    }
    assert_eq!(pair.refused(unary("")), Refusal::Full(2));
    assert_eq!(pair.refused(nested(1)), Refusal::Full(2));
    let client = &pair.client.connection;
    assert_eq!(
        (client.call_capacity(), client.nested_call_capacity()),
        (0, 0)
    );
    assert_eq!(client.nested_message_capacity(), 1);
}

#[test]
fn a_deep_call_waits_for_the_hello_and_then_for_nothing() {
    let least = config(|config| config.max_calls(MIN_CALLS));
    let mut pair = Pair::with(Config::default(), least);
    for token in 0..MIN_CALLS {
        start_nested(&mut pair, 1, token);
    }
    pair.start_waiting(100, nested(1));
    pair.start_waiting(101, nested(2));
    pair.run();
    let refused: Vec<_> = pair.client.heard();
    let depth = 2;
    let max_calls = MIN_CALLS;
    let reason = Refusal::NoSlot { max_calls, depth };
    assert!(
        refused.contains(&Event::Refused(101, reason)),
        "{refused:?}"
    );
    assert_eq!(pair.client.connection.calls_waiting(), 1);
}
