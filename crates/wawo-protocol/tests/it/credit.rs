//! Streams, chunks, and the credit of each direction of a call.

use bytes::Bytes;
use wawo_protocol::{
    CallId, Code, Config, Event, MIN_CREDIT_BYTES, MIN_MESSAGE_BYTES, Metadata, MethodId, NewCall,
    Overload, Refusal, ServiceId, Side, StartedCall,
    packet::{BatchBuilder, CreditOf, End, Packet},
};

use crate::{
    pair::{Pair, bytes, config, ok, send, stream, unary},
    raw::{
        Raw, call, continued, credit, end, first, last, message, more, ours, reply, theirs, whole,
    },
};

const INITIAL_CREDIT: usize = MIN_CREDIT_BYTES as usize;

fn narrow() -> Config {
    config(|config| config.initial_credit_bytes(MIN_CREDIT_BYTES))
}

fn start(pair: &mut Pair, call: NewCall) -> CallId {
    match pair.client.connection.start_call(pair.now, call, 1) {
        Ok(StartedCall::Sent(id)) => id,
        other => panic!("{other:?}"),
    }
}

/// The lengths of the messages among the events.
fn lengths(events: &[Event<u32>]) -> Vec<usize> {
    let messages = events.iter().filter_map(|event| match event {
        Event::Message { message, .. } => Some(message.len()),
        Event::Called(called) => called.message.as_ref().map(Bytes::len),
        Event::Replied { message, .. } => message.as_ref().map(Bytes::len),
        Event::Ended(ended) => ended.message.as_ref().map(Bytes::len),
        _ => None,
    });
    messages.collect()
}

#[test]
fn a_conversation_goes_both_ways_and_ends_with_the_callee() {
    let mut pair = Pair::open();
    let call = start(&mut pair, stream());
    pair.run();
    let called = pair.server.called();
    assert_eq!((called.message, called.end), (None, false));
    pair.server.connection.open_reply(call, Metadata::new());
    for text in ["one", "two"] {
        let client = &mut pair.client.connection;
        assert_eq!(send(client, call, Bytes::from(text)), Ok(true));
        pair.run();
        let message = Bytes::from(text);
        assert_eq!(pair.server.heard(), [Event::Message { call, message }]);
        let server = &mut pair.server.connection;
        assert_eq!(send(server, call, Bytes::from("yes")), Ok(true));
    }
    pair.client.connection.finish(call);
    pair.run();
    assert_eq!(pair.server.heard(), [Event::Finished(call)]);
    pair.server.connection.end(ok(call));
    pair.run();
    let events = pair.client.heard();
    assert!(
        matches!(
            &events[..],
            [
                Event::Replied { message: None, .. },
                Event::Message { .. },
                Event::Message { .. },
                Event::Ended(_),
            ]
        ),
        "{events:?}"
    );
    assert_eq!(pair.client.connection.calls_started(), 0);
}

#[test]
fn a_last_message_ends_its_direction_by_itself() {
    let mut raw = Raw::open();
    let started = raw.machine.start_call(raw.now, unary(""), 1);
    assert_eq!(started, Ok(StartedCall::Sent(ours(0))));
    raw.send_all(&[call(0, None)]);
    let events = raw.send_all(&[message(theirs(0), last("last"))]);
    assert_eq!(events.last(), Some(&Event::Finished(theirs(0))));
    let events = raw.send_all(&[reply(ours(0), None), message(ours(0), last("done"))]);
    let [Event::Replied { .. }, Event::Ended(ended)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(
        (ended.code, ended.message.as_deref()),
        (Code::Ok, Some(&b"done"[..]))
    );
}

#[test]
fn a_sender_stops_at_its_credit_and_goes_on_as_the_reader_consumes() {
    let mut pair = Pair::open_with(Config::default(), narrow());
    let call = start(&mut pair, stream());
    let part = INITIAL_CREDIT / 4;
    for index in 0..5 {
        let sent = send(&mut pair.client.connection, call, bytes(part));
        assert_eq!(sent, Ok(index < 4), "message {index}");
    }
    pair.run();
    assert_eq!(lengths(&pair.server.heard()), [part; 4]);
    assert_eq!(pair.client.heard(), []);
    // A quarter of the initial credit is not worth a packet, half of it is.
    pair.server.connection.consume(call, 1, part);
    pair.run();
    assert_eq!(pair.server.heard(), []);
    pair.server.connection.consume(call, 1, part);
    pair.run();
    assert_eq!(lengths(&pair.server.heard()), [part]);
    assert_eq!(pair.client.heard(), [Event::Writable(call)]);
}

#[test]
fn a_message_larger_than_the_window_arrives_though_nothing_is_consumed() {
    for part in [7919, usize::MAX] {
        let mut pair = Pair::open_with(narrow(), narrow());
        pair.part = part;
        let long = bytes(4 * 1024 * 1024);
        let call = start(&mut pair, unary(long.clone()));
        pair.run();
        let called = pair.server.called();
        assert_eq!((called.message, called.end), (Some(long.clone()), true));
        pair.server
            .connection
            .reply(call, Metadata::new(), long.clone());
        pair.run();
        assert_eq!(pair.client.ended().message, Some(long));
    }
}

#[test]
fn the_next_large_message_waits_until_the_first_is_consumed() {
    let mut pair = Pair::open_with(Config::default(), narrow());
    let call = start(&mut pair, stream());
    for _ in 0..2 {
        let sent = send(&mut pair.client.connection, call, bytes(3 * INITIAL_CREDIT));
        assert_eq!(sent, Ok(false));
    }
    pair.run();
    assert_eq!(lengths(&pair.server.heard()), [3 * INITIAL_CREDIT]);
    pair.server.connection.consume(call, 1, 3 * INITIAL_CREDIT);
    pair.run();
    assert_eq!(lengths(&pair.server.heard()), [3 * INITIAL_CREDIT]);
}

#[test]
fn large_messages_take_turns_and_small_calls_pass_them() {
    let mut pair = Pair::open();
    let long = bytes(1_000_000);
    for _ in 0..2 {
        start(&mut pair, unary(long.clone()));
    }
    start(&mut pair, unary("small"));
    pair.client.connection.fill_output();
    let said = pair.client.connection.output().len();
    assert!(said < 600_000, "{said} bytes wait: more than a few chunks");
    pair.run();
    let events = pair.server.heard();
    assert_eq!(lengths(&events), [5, 1_000_000, 1_000_000]);
}

#[test]
fn an_end_waits_for_what_is_queued_before_it_unless_the_call_is_given_up() {
    for code in [Code::Ok, Code::Aborted, Code::Cancelled] {
        let mut pair = Pair::open_with(narrow(), Config::default());
        let call = start(&mut pair, unary(""));
        pair.run();
        pair.server.called();
        let server = &mut pair.server.connection;
        assert!(server.open_reply(call, Metadata::new()));
        for _ in 0..2 {
            send(server, call, bytes(INITIAL_CREDIT)).unwrap();
        }
        server.end(End { code, ..ok(call) });
        pair.run();
        let events = pair.client.heard();
        assert_eq!(
            lengths(&events),
            [INITIAL_CREDIT],
            "the second waits for credit"
        );
        if code == Code::Cancelled {
            assert!(pair.client.connection.cancel(call).is_some());
            pair.run();
            assert_eq!(pair.client.connection.calls_started(), 0);
            continue;
        }
        pair.client.connection.consume(call, 1, INITIAL_CREDIT);
        pair.run();
        let events = pair.client.heard();
        assert_eq!(lengths(&events), [INITIAL_CREDIT]);
        let Some(Event::Ended(ended)) = events.last() else {
            panic!("{events:?}");
        };
        assert_eq!(ended.code, code);
    }
}

#[test]
fn a_callee_may_end_a_call_whose_requests_go_on() {
    let mut pair = Pair::open_with(Config::default(), narrow());
    let call = start(&mut pair, stream());
    for _ in 0..3 {
        send(&mut pair.client.connection, call, bytes(INITIAL_CREDIT)).unwrap();
    }
    pair.run();
    pair.server.heard();
    pair.server.connection.end(End {
        code: Code::OutOfRange,
        ..ok(call)
    });
    pair.run();
    assert_eq!(pair.client.ended().code, Code::OutOfRange);
    assert_eq!(
        send(&mut pair.client.connection, call, Bytes::new()),
        Ok(true)
    );
    pair.client.connection.finish(call);
    // The id serves another call, unaffected by state of the first one.
    assert_eq!(start(&mut pair, unary("next")), call);
    pair.run();
    assert_eq!(pair.server.called().message.as_deref(), Some(&b"next"[..]));
}

#[test]
fn a_message_over_the_limit_ends_its_call_and_no_other() {
    let mut raw = Raw::open_with(config(|config| config.max_message_bytes(MIN_MESSAGE_BYTES)));
    let total = MIN_MESSAGE_BYTES + 1;
    raw.send_all(&[call(0, None)]);
    let events = raw.send_all(&[
        call(1, first("a", total)),
        message(theirs(0), first("a", total)),
        continued(theirs(1), more("b")),
    ]);
    // The driver has not learned of the second call.
    let overload = Overload::RequestTooLarge {
        length: total as usize,
        max: MIN_MESSAGE_BYTES,
    };
    let overloaded = |method| Event::Overloaded {
        method,
        overload: overload.clone(),
    };
    let expected = [
        overloaded(Some((ServiceId(7), MethodId(1)))),
        Event::Stopped(theirs(0), Code::ResourceExhausted),
        overloaded(None),
    ];
    assert_eq!(events, expected);
    let said = raw.said();
    let ends = said.iter().map(|packet| match packet {
        Packet::End(end) => (end.call, end.code, end.text.as_str()),
        other => panic!("{other:?}"),
    });
    let text = "a message of 65537 bytes; the callee takes at most 65536 (max_message_bytes)";
    let code = Code::ResourceExhausted;
    let ends: Vec<_> = ends.collect();
    assert_eq!(ends, [(theirs(1), code, text), (theirs(0), code, text)]);
}

#[test]
fn a_reply_over_the_limit_ends_its_call_on_both_sides() {
    let mut raw = Raw::open();
    let new = unary("");
    let started = raw.machine.start_call(raw.now, new, 3);
    let ours = CallId::new(Side::Accepting, 0);
    assert_eq!(started, Ok(StartedCall::Sent(ours)));
    raw.said();
    let events = raw.send_all(&[reply(ours, first("a", 4 * 1024 * 1024 + 1))]);
    let [Event::Ended(ended)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((ended.token, ended.code), (3, Code::ResourceExhausted));
    assert_eq!(
        ended.text,
        "the reply has a message of 4194305 bytes; \
         the caller takes at most 4194304 (max_message_bytes)"
    );
    assert_eq!(raw.said(), [Packet::Cancel(ours)]);
    // Packets that were on their way are dropped, and the id is free at its end.
    let rest = [continued(ours, more("b")), end(ours, Code::Cancelled)];
    assert_eq!(raw.send_all(&rest), []);
    let started = raw.machine.start_call(raw.now, unary(""), 4);
    assert_eq!(started, Ok(StartedCall::Sent(ours)));
}

#[test]
fn a_reply_that_the_peer_cannot_take_becomes_an_error() {
    let mut pair = Pair::open_with(
        config(|config| config.max_message_bytes(MIN_MESSAGE_BYTES)),
        Config::default(),
    );
    let call = start(&mut pair, unary(""));
    pair.run();
    pair.server.called();
    let server = &mut pair.server.connection;
    server.reply(call, Metadata::new(), bytes(MIN_MESSAGE_BYTES as usize + 1));
    pair.run();
    let ended = pair.client.ended();
    assert_eq!(ended.code, Code::ResourceExhausted);
    assert_eq!(
        ended.text,
        "the reply has a message of 65537 bytes; the peer takes at most 65536 \
         (its max_message_bytes)"
    );
    let events = pair.server.heard();
    let [
        Event::Overloaded {
            method: None,
            overload,
        },
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(
        (overload.to_string(), overload.reason()),
        (ended.text, "max_message_bytes")
    );
}

#[test]
fn credit_at_its_greatest_sum_is_taken_and_one_more_is_a_fault() {
    let most: u32 = 1 << 31;
    let given = MIN_CREDIT_BYTES;
    for (grant, fits) in [(most - given, true), (most - given + 1, false)] {
        let mut raw = Raw::open();
        raw.send_all(&[call(0, last(""))]);
        raw.machine.open_reply(theirs(0), Metadata::new());
        let result = raw.send(&credit(CreditOf::Call(theirs(0)), grant));
        assert_eq!(result.is_ok(), fits, "{result:?}");
        for of in [CreditOf::Requests, CreditOf::Replies] {
            let result = Raw::open().send(&credit(of, grant));
            assert_eq!(result.is_ok(), fits, "{result:?}");
        }
    }
}

#[test]
fn a_window_of_messages_is_held_and_one_byte_more_is_a_fault() {
    let mut raw = Raw::open_with(narrow());
    raw.send_all(&[call(0, None)]);
    let quarter = INITIAL_CREDIT / 4;
    for _ in 0..4 {
        raw.send_all(&[message(theirs(0), whole(bytes(quarter)))]);
    }
    raw.send_all(&[message(theirs(0), whole(""))]);
    assert_eq!(raw.said(), []);
    let fault = raw.fault(&message(theirs(0), whole("x")));
    let text = "1 message bytes for call 1, where 0 were granted";
    assert_eq!(fault.to_string(), text);
}

#[test]
fn credit_that_comes_before_a_reply_counts_for_it() {
    let mut raw = Raw::open();
    let message = MIN_MESSAGE_BYTES as usize;
    raw.send_all(&[
        call(0, last("")),
        credit(CreditOf::Call(theirs(0)), MIN_CREDIT_BYTES),
        credit(CreditOf::Replies, 2 * MIN_CREDIT_BYTES),
    ]);
    assert!(raw.machine.open_reply(theirs(0), Metadata::new()));
    for _ in 0..2 {
        let sent = send(&mut raw.machine, theirs(0), bytes(message));
        assert_eq!(sent, Ok(false), "longer than a packet");
    }
    let said = raw.said();
    let chunks = said.iter().filter_map(|packet| match packet {
        Packet::Message { chunk, .. } => Some(chunk.bytes.len()),
        _ => None,
    });
    assert_eq!(chunks.sum::<usize>(), 2 * message);
}

#[test]
fn a_call_that_was_given_up_grants_no_more_credit() {
    let mut raw = Raw::open_with(narrow());
    let started = raw.machine.start_call(raw.now, unary(""), 1);
    assert_eq!(started, Ok(StartedCall::Sent(ours(0))));
    raw.send_all(&[reply(ours(0), whole(bytes(INITIAL_CREDIT)))]);
    assert_eq!(raw.machine.cancel(ours(0)), Some(1));
    raw.machine.consume(ours(0), 1, INITIAL_CREDIT);
    assert_eq!(raw.said().last(), Some(&Packet::Cancel(ours(0))));
}

#[test]
fn the_messages_before_one_over_the_limit_are_sent() {
    let mut raw = Raw::open();
    raw.send_all(&[call(0, last(""))]);
    assert!(raw.machine.open_reply(theirs(0), Metadata::new()));
    let (length, max) = (MIN_MESSAGE_BYTES as usize + 1, MIN_MESSAGE_BYTES);
    let mut batch = BatchBuilder::new(theirs(0));
    for length in [3, length, 5] {
        batch.push(|buffer| buffer.extend_from_slice(&bytes(length)));
    }
    let sent = raw.machine.send_batch(theirs(0), batch.take());
    assert_eq!(sent, Err(Refusal::MessageTooLarge { length, max }));
    let expected = message(theirs(0), whole(bytes(3)));
    assert_eq!(raw.said(), [reply(theirs(0), None), expected]);
}

#[test]
fn messages_longer_than_a_packet_leave_in_chunks_between_others() {
    let mut raw = Raw::open();
    raw.send_all(&[call(0, last(""))]);
    assert!(raw.machine.open_reply(theirs(0), Metadata::new()));
    let mut batch = BatchBuilder::new(theirs(0));
    for length in [3, 20_000, 5] {
        batch.push(|buffer| buffer.extend_from_slice(&bytes(length)));
    }
    let sent = raw.machine.send_batch(theirs(0), batch.take()).unwrap();
    assert_eq!((sent.messages, sent.bytes), (1, 3));
    let said = raw.said();
    let chunks = said.iter().filter_map(|packet| match packet {
        Packet::Message {
            chunk, continues, ..
        } => Some((chunk.bytes.len(), chunk.total, *continues)),
        _ => None,
    });
    let expected = [
        (3, None, false),
        (16_368, Some(20_000), false),
        (3_632, None, true),
        (5, None, false),
    ];
    assert_eq!(chunks.collect::<Vec<_>>(), expected);
}

#[test]
fn queued_messages_leave_beside_unqueued_ones() {
    let wide = || {
        config(|config| {
            config
                .initial_credit_bytes(1 << 29)
                .reply_credit_bytes(1 << 29)
        })
    };
    let mut pair = Pair::open_with(wide(), wide());
    let (long, short) = (start(&mut pair, unary("a")), start(&mut pair, unary("b")));
    pair.run();
    let server = &mut pair.server.connection;
    for call in [long, short] {
        assert!(server.open_reply(call, Metadata::new()));
    }
    for _ in 0..100 {
        assert_eq!(send(server, short, bytes(1_000)), Ok(true));
    }
    // The message is two packets long, so it is queued.
    assert_eq!(send(server, long, bytes(200_000)), Ok(false));
    // The output must not become shorter than now while bytes are added as others leave.
    let before = server.output().len();
    server.fill_output();
    assert!(server.output().len() > before + 100_000);
}
