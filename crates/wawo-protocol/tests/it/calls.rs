//! Calls from start to end: ids, limits on their number, cancelling.

use std::time::Duration;

use bytes::Bytes;
use wawo_protocol::{
    CallId, Code, Config, Event, MIN_CALLS, MIN_MESSAGE_BYTES, Metadata, Refusal, Side,
    StartedCall,
    packet::{CreditOf, Packet},
};

use crate::{
    pair::{OUTER_CALLS, Pair, bytes, config, unary},
    raw::{Raw, call, end, last, ours, theirs},
};

fn id(index: u32) -> CallId {
    CallId::new(Side::Connecting, index)
}

#[test]
fn a_call_arrives_whole_and_its_reply_comes_back_with_its_token() {
    let mut pair = Pair::open();
    let mut metadata = Metadata::new();
    metadata.append("user", "ada").unwrap();
    let mut new = unary("ping");
    new.metadata = metadata.clone();
    let started = pair.client.connection.start_call(pair.now, new, 42);
    assert_eq!(started, Ok(StartedCall::Sent(id(0))));
    pair.run();

    let called = pair.server.called();
    assert_eq!((called.call, called.end), (Some(id(0)), true));
    assert_eq!(called.message.as_deref(), Some(&b"ping"[..]));
    assert_eq!(called.metadata, metadata);

    let pong = Bytes::from_static(b"pong");
    pair.server.connection.reply(id(0), metadata.clone(), pong);
    pair.run();
    let ended = pair.client.ended();
    assert_eq!((ended.token, ended.code), (42, Code::Ok));
    assert_eq!(ended.message.as_deref(), Some(&b"pong"[..]));
    assert_eq!(ended.metadata, metadata);
    assert!(ended.ended_by_peer && ended.sent);
    assert_eq!(pair.client.connection.calls_started(), 0);
}

#[test]
fn a_call_costs_20_bytes_besides_its_message_24_with_a_deadline_and_its_reply_12() {
    let mut pair = Pair::open();
    let default = pair.now + Duration::from_secs(10);
    for (deadline, overhead) in [
        (Some(default), 20),
        (Some(default - Duration::from_secs(1)), 24),
    ] {
        let mut new = unary("ping");
        new.deadline = deadline;
        let started = pair.client.connection.start_call(pair.now, new, 1);
        assert_eq!(started, Ok(StartedCall::Sent(id(0))));
        assert_eq!(pair.client.connection.output().len(), 4 + overhead);
        pair.run();
        assert_eq!(pair.server.called().deadline, deadline);
        let server = &mut pair.server.connection;
        server.reply(id(0), Metadata::new(), Bytes::from_static(b"pong"));
        assert_eq!(server.output().len(), 4 + 12);
        pair.run();
        pair.client.ended();
    }
}

#[test]
fn both_sides_call_at_once_with_ids_of_their_own() {
    let mut pair = Pair::open();
    pair.delay = Duration::from_millis(50);
    let ours = pair.start(1, b"to the server");
    let new = unary("to the client");
    let started = pair.server.connection.start_call(pair.now, new, 2);
    let Ok(StartedCall::Sent(theirs)) = started else {
        panic!("{started:?}");
    };
    assert_eq!((ours.to_wire(), theirs.to_wire()), (1, 2));
    pair.run();
    assert_eq!(pair.server.called().call, Some(ours));
    assert_eq!(pair.client.called().call, Some(theirs));
    let nothing = Metadata::new;
    pair.server.connection.reply(ours, nothing(), Bytes::new());
    pair.client
        .connection
        .reply(theirs, nothing(), Bytes::new());
    pair.run();
    assert_eq!(pair.client.ended().token, 1);
    assert_eq!(pair.server.ended().token, 2);
}

#[test]
fn any_split_of_the_bytes_gives_the_same_events() {
    for part in [1, 2, 3, 7, 11, 12, 13, 64] {
        let mut pair = Pair::new();
        pair.part = part;
        let long = bytes(300);
        let started = pair
            .client
            .connection
            .start_call(pair.now, unary(long.clone()), 1);
        assert!(matches!(started, Ok(StartedCall::Sent(_))));
        pair.run();
        let events = pair.server.heard();
        let [Event::Opened(_), Event::Called(called)] = &events[..] else {
            panic!("in parts of {part}: {events:?}");
        };
        assert_eq!(called.message.as_ref(), Some(&long));
    }
}

#[test]
fn an_end_carries_code_text_details_and_metadata() {
    let mut pair = Pair::open();
    let call = pair.start(1, b"");
    pair.run();
    let mut end = wawo_protocol::packet::End {
        call,
        code: Code::NotFound,
        refused: false,
        metadata: Metadata::new(),
        text: "no such room".to_owned(),
        details: Bytes::from_static(b"details"),
    };
    end.metadata.append("retry", "no").unwrap();
    pair.server.connection.end(end.clone());
    pair.run();
    let ended = pair.client.ended();
    assert_eq!((ended.code, ended.text), (end.code, end.text));
    assert_eq!((ended.details, ended.metadata), (end.details, end.metadata));
}

#[test]
fn an_end_too_large_for_the_peer_loses_its_details_and_metadata_but_arrives() {
    let mut pair = Pair::open_with(
        config(|config| config.max_packet_bytes(16 * 1024)),
        Config::default(),
    );
    let call = pair.start(1, b"");
    pair.run();
    pair.server.called();
    let mut metadata = Metadata::new();
    for _ in 0..65 {
        metadata.append("one", "too many").unwrap();
    }
    pair.server.connection.end(wawo_protocol::packet::End {
        call,
        code: Code::Internal,
        refused: false,
        metadata,
        text: "ü".repeat(5000),
        details: bytes(16 * 1024),
    });
    pair.run();
    let ended = pair.client.ended();
    assert_eq!(ended.code, Code::Internal);
    let mark = "ü… [cut: a text with 10000 bytes] \
                [left out: 65 entries of metadata with 912 bytes, details with 16384 bytes]";
    assert!(ended.text.ends_with(mark), "{}", ended.text);
    assert!((4095..=4096).contains(&ended.text.len()));
    assert!(ended.details.is_empty() && ended.metadata.is_empty());
}

#[test]
fn ids_are_dense_and_used_again_after_the_end() {
    let mut pair = Pair::open();
    let ids = [0, 1, 2].map(|token| pair.start(token, b""));
    assert_eq!(ids, [id(0), id(1), id(2)]);
    pair.run();
    let server = &mut pair.server.connection;
    server.reply(id(1), Metadata::new(), Bytes::new());
    pair.run();
    assert_eq!(pair.client.ended().token, 1);
    assert_eq!(pair.start(3, b""), id(1));
    assert_eq!(pair.start(4, b""), id(3));
}

#[test]
fn calls_over_the_peers_limit_wait_for_a_slot_in_order() {
    let few = config(|config| config.max_calls(MIN_CALLS));
    let mut pair = Pair::open_with(Config::default(), few);
    for token in 0..OUTER_CALLS {
        pair.start(token, b"");
    }
    pair.start_waiting(100, unary(""));
    pair.start_waiting(101, unary(""));
    pair.run();
    assert_eq!(pair.server.heard().len(), OUTER_CALLS as usize);
    assert_eq!(pair.client.connection.calls_waiting(), 2);

    let server = &mut pair.server.connection;
    server.reply(id(5), Metadata::new(), Bytes::new());
    pair.run();
    let events = pair.client.heard();
    assert!(
        matches!(&events[..], [Event::Ended(_), Event::Started(_)]),
        "{events:?}"
    );
    assert_eq!(pair.client.connection.token(id(5)), Some(&mut 100));
    assert_eq!(pair.client.connection.calls_waiting(), 1);
}

#[test]
fn one_call_too_many_is_not_queued() {
    let least = config(|config| config.max_calls(MIN_CALLS));
    let patient = config(|config| config.max_waiting_calls(2));
    let mut pair = Pair::open_with(patient, least);
    for token in 0..OUTER_CALLS {
        pair.start(token, b"");
    }
    pair.start_waiting(100, unary(""));
    pair.start_waiting(101, unary(""));
    assert_eq!(pair.refused(unary("")), Refusal::Full(2));
}

#[test]
fn before_the_hello_only_what_every_peer_takes_is_sent() {
    let mut pair = Pair::new();
    let started = |pair: &mut Pair, length, token| {
        let call = unary(bytes(length));
        pair.client.connection.start_call(pair.now, call, token)
    };
    let least = MIN_MESSAGE_BYTES as usize;
    assert_eq!(started(&mut pair, least + 1, 1), Ok(StartedCall::Waiting));
    // A call behind a waiting one waits too.
    assert_eq!(started(&mut pair, 1, 2), Ok(StartedCall::Waiting));
    pair.run();
    let events = pair.client.heard();
    let ids = [id(0), id(1)].map(Event::Started);
    assert!(matches!(&events[0], Event::Opened(_)), "{events:?}");
    assert_eq!(events[1..], ids);
    let events = pair.server.heard();
    let lengths = events.iter().filter_map(|event| match event {
        Event::Called(called) => called.message.as_ref().map(Bytes::len),
        _ => None,
    });
    assert_eq!(lengths.collect::<Vec<_>>(), [least + 1, 1]);
}

#[test]
fn a_call_that_the_hello_shows_to_be_too_large_is_refused() {
    let small = config(|config| config.max_message_bytes(MIN_MESSAGE_BYTES));
    let mut pair = Pair::with(Config::default(), small);
    let too_large = unary(bytes(MIN_MESSAGE_BYTES as usize + 1));
    pair.start_waiting(9, too_large.clone());
    pair.run();
    let events = pair.client.heard();
    let reason = Refusal::MessageTooLarge {
        length: MIN_MESSAGE_BYTES as usize + 1,
        max: MIN_MESSAGE_BYTES,
    };
    assert_eq!(events[1..], [Event::Refused(9, reason.clone())]);
    // Now the limit is known, and the call is refused at once.
    assert_eq!(pair.refused(too_large), reason);
}

#[test]
fn metadata_over_the_peers_limit_is_refused_and_at_the_limit_arrives() {
    let mut pair = Pair::open();
    let with_entries = |count: usize| {
        let mut call = unary("");
        for _ in 0..count {
            call.metadata.append("k", "v").unwrap();
        }
        call
    };
    assert_eq!(
        pair.refused(with_entries(65)).to_string(),
        "metadata of 65 entries and 327 bytes; the peer takes at most 64 and 8192 \
         (its max_metadata_entries, max_metadata_bytes)"
    );
    let started = pair
        .client
        .connection
        .start_call(pair.now, with_entries(64), 1);
    assert!(matches!(started, Ok(StartedCall::Sent(_))));
    let mut call = unary("");
    // Two bytes for the count, three for the lengths, one for the key.
    call.metadata.append("k", bytes_of_ascii(8192 - 6)).unwrap();
    let started = pair.client.connection.start_call(pair.now, call.clone(), 2);
    assert!(matches!(started, Ok(StartedCall::Sent(_))));
    call.metadata = Metadata::new();
    call.metadata.append("k", bytes_of_ascii(8192 - 5)).unwrap();
    assert!(matches!(
        pair.refused(call),
        Refusal::MetadataTooLarge { bytes: 8193, .. }
    ));
    pair.run();
    assert_eq!(pair.server.heard().len(), 2);
    assert!(pair.server.error.is_none());
}

fn bytes_of_ascii(length: usize) -> Bytes {
    vec![b'a'; length].into()
}

#[test]
fn a_cancelled_call_gives_its_token_back_and_ends_on_the_other_side() {
    let mut pair = Pair::open();
    let call = pair.start(1, b"");
    pair.run();
    pair.server.called();
    assert_eq!(pair.client.connection.cancel(call), Some(1));
    assert_eq!(pair.client.connection.cancel(call), None);
    pair.run();
    assert_eq!(pair.server.heard(), [Event::Cancelled(call)]);
    // A reply that comes too late is dropped.
    let server = &mut pair.server.connection;
    server.reply(call, Metadata::new(), Bytes::new());
    pair.run();
    assert_eq!(pair.client.heard(), []);
    assert_eq!(pair.client.connection.calls_started(), 0);
}

#[test]
fn a_cancel_that_crosses_the_reply_has_one_outcome_and_frees_the_id_once() {
    let mut pair = Pair::open();
    let call = pair.start(1, b"");
    pair.run();
    pair.server.called();
    let server = &mut pair.server.connection;
    server.reply(call, Metadata::new(), Bytes::new());
    assert_eq!(pair.client.connection.cancel(call), Some(1));
    // The other side's end has not been read, so the id is not free.
    assert_eq!(pair.start(2, b""), id(1));
    pair.run();
    assert_eq!(pair.client.heard(), []);
    pair.server.called();
    assert_eq!(pair.start(3, b""), id(0));
    pair.run();
    assert_eq!(pair.server.called().call, Some(id(0)));
    assert!(pair.client.error.is_none() && pair.server.error.is_none());
}

#[test]
fn a_waiting_call_can_be_forgotten() {
    let mut pair = Pair::new();
    pair.start_waiting(1, unary(bytes(MIN_MESSAGE_BYTES as usize + 1)));
    pair.start_waiting(2, unary(""));
    pair.client.connection.cancel_waiting(|token| *token == 1);
    pair.run();
    assert_eq!(pair.client.heard()[1..], [Event::Started(id(0))]);
    assert_eq!(pair.client.connection.token(id(0)), Some(&mut 2));
}

#[test]
fn packets_of_an_ended_call_are_ignored_by_its_callee() {
    let mut raw = Raw::open();
    raw.send_all(&[call(0, None)]);
    raw.machine.end(wawo_protocol::packet::End {
        call: theirs(0),
        code: Code::Unimplemented,
        refused: false,
        metadata: Metadata::new(),
        text: String::new(),
        details: Bytes::new(),
    });
    assert_eq!(raw.said(), [end(theirs(0), Code::Unimplemented)]);
    let late = [
        crate::raw::message(theirs(0), last("late")),
        Packet::Cancel(theirs(0)),
        crate::raw::credit(CreditOf::Call(theirs(0)), 1),
        end(theirs(0), Code::Ok),
    ];
    assert_eq!(raw.send_all(&late), []);
    assert_eq!(raw.said(), []);
    // The id is free.
    let events = raw.send_all(&[call(0, last("again"))]);
    assert!(matches!(events[..], [Event::Called(_)]), "{events:?}");
}

#[test]
fn a_call_that_had_to_wait_is_heard_of_when_it_starts_before_it_ends() {
    let mut raw = Raw::open();
    for token in 0..=OUTER_CALLS {
        let started = raw.machine.start_call(raw.now, unary(""), token);
        assert!(started.is_ok());
    }
    assert_eq!(raw.machine.cancel(ours(0)), Some(0));
    // The second end is for the call that takes the slot freed by the first one, before that call
    // was sent.
    let mut twice = bytes::BytesMut::new();
    end(ours(0), Code::Cancelled).encode(&mut twice);
    end(ours(0), Code::Aborted).encode(&mut twice);
    let events = raw.feed(&twice).unwrap();
    let [Event::Started(started), Event::Ended(ended)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((*started, ended.call), (ours(0), Some(ours(0))));
    assert_eq!(ended.token, OUTER_CALLS);
}
