//! The limits of a peer: allowed up to the limit, and not beyond.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use wawo_protocol::{
    CloseCode, Code, Config, ConnectionError, Event, MIN_CREDIT_BYTES, MIN_MESSAGE_BYTES,
    MIN_METADATA_BYTES, Metadata, MethodId, NewCall, Overload, Refusal, ServiceId, StartedCall,
    packet::{CreditOf, End, Packet},
};

use crate::{
    pair::{Pair, bytes, config, ok, send, stream, unary},
    raw::{
        Raw, call, call_as, continued, credit, end, first, last, message, more, one_way, ours,
        reply, theirs, whole,
    },
};

const SECOND: Duration = Duration::from_secs(1);

/// Checks that the machine closes the connection with this text, and does nothing else.
fn closes(raw: &mut Raw, packet: &Packet, text: &str) {
    assert_eq!(raw.fault(packet).to_string(), text);
    let said = raw.said();
    let Some(Packet::Close { code, .. }) = said.last() else {
        panic!("{said:?}");
    };
    assert_eq!(*code, CloseCode::LimitExceeded);
}

/// The event of a call that was refused before the driver got it.
fn unserved(overload: Overload) -> Event<u32> {
    let method = Some((ServiceId(7), MethodId(1)));
    Event::Overloaded { method, overload }
}

/// The event of a call that ended although the driver had got it.
fn served(overload: Overload) -> Event<u32> {
    let method = None;
    Event::Overloaded { method, overload }
}

/// A machine with the minimum credit for requests and for replies.
fn poor() -> Config {
    config(|config| {
        config
            .request_credit_bytes(MIN_CREDIT_BYTES)
            .reply_credit_bytes(MIN_CREDIT_BYTES)
    })
}

#[test]
fn streams_of_requests_that_are_not_consumed_stop_at_the_credit_of_all_calls() {
    let mut raw = Raw::open_with(poor());
    raw.send_all(&[call(0, None), call(1, None)]);
    // Two of these exceed the credit. The first may begin, because a message may begin while any
    // credit is left.
    let half = MIN_CREDIT_BYTES as usize / 2;
    raw.send_all(&[
        message(theirs(0), whole(bytes(half))),
        message(theirs(1), whole(bytes(half))),
    ]);
    let held = u64::from(MIN_CREDIT_BYTES) + 128;
    assert_eq!(raw.machine.held_bytes().0, held);
    // A new call may still begin, because waiting calls may depend on it.
    assert_eq!(raw.send_all(&[call(2, whole("x"))]).len(), 1);
    let text = "a message without credit for all calls together (request_credit_bytes)";
    closes(&mut raw, &message(theirs(2), whole("")), text);
}

/// While replies wait, further calls are refused, and further replies are bounded.
#[test]
fn while_replies_of_so_much_wait_calls_are_refused_unserved() {
    const MAX: usize = 60_000;
    let mut raw = Raw::open_with(config(|config| config.max_waiting_reply_bytes(MAX)));
    let calls: Vec<_> = (0..3).map(|index| call(index, last("x"))).collect();
    assert_eq!(raw.send_all(&calls).len(), 3);
    let reply = |raw: &mut Raw, index, length| {
        let message = bytes(length);
        raw.machine.reply(theirs(index), Metadata::new(), message);
    };
    // One packet of it fits into the output at once. While any of it waits, all of it counts.
    reply(&mut raw, 0, MAX);
    assert_eq!(raw.machine.waiting_reply_bytes(), MAX as u64);
    assert_eq!(raw.send_all(&[call(3, last("x"))]).len(), 1, "at the limit");
    reply(&mut raw, 1, MAX / 2);
    let waiting = MAX + MAX / 2;
    assert_eq!(raw.machine.waiting_reply_bytes(), waiting as u64);
    let events = raw.send_all(&[call(4, last("x")), call(5, None)]);
    let (waits, max) = (waiting as u64, MAX);
    let wait = Overload::WaitingReplies {
        waiting: waits,
        max,
    };
    assert_eq!(events, [unserved(wait.clone()), unserved(wait)]);
    // Handlers that are at work may still reply, up to twice the limit.
    reply(&mut raw, 2, MAX / 2 + 1);
    reply(&mut raw, 3, MAX / 2);
    let ends: Vec<_> = raw
        .said()
        .into_iter()
        .filter_map(|packet| match packet {
            Packet::End(end) => Some((end.call, end.code, end.refused, end.text)),
            _ => None,
        })
        .collect();
    let refused = format!(
        "a call while replies of {waiting} bytes wait to be read; \
         the callee takes none over {MAX} (max_waiting_reply_bytes)"
    );
    let given_up = format!(
        "a reply of {} bytes, where others of {waiting} bytes wait to be read; \
         the callee keeps at most twice {MAX} (max_waiting_reply_bytes)",
        MAX / 2 + 1
    );
    let code = Code::ResourceExhausted;
    let expected = [
        (theirs(4), code, true, refused.clone()),
        (theirs(5), code, true, refused),
        (theirs(2), code, false, given_up),
    ];
    assert_eq!(ends, expected);
    // Replies that were read make room.
    assert_eq!(raw.machine.waiting_reply_bytes(), 0);
    let events = raw.send_all(&[call(0, last("x"))]);
    let reply = Overload::Reply {
        length: MAX / 2 + 1,
        waiting: waits,
        max,
    };
    assert_eq!(events[..1], [served(reply)]);
    assert!(matches!(events[1..], [Event::Called(_)]), "{events:?}");
}

/// Replies count while they wait for their turn or for room in the output, and so do statuses.
#[test]
fn replies_that_wait_for_room_in_the_output_count() {
    const REPLIES: u32 = 17;
    let mut raw = Raw::open();
    let calls: Vec<_> = (0..=REPLIES).map(|index| call(index, last("x"))).collect();
    raw.send_all(&calls);
    for index in 0..REPLIES {
        let reply = bytes(MIN_MESSAGE_BYTES as usize);
        raw.machine.reply(theirs(index), Metadata::new(), reply);
    }
    let waiting = u64::from(REPLIES * MIN_MESSAGE_BYTES);
    assert_eq!(raw.machine.waiting_reply_bytes(), waiting);
    raw.machine.end(End {
        call: theirs(REPLIES),
        code: Code::Aborted,
        refused: false,
        metadata: Metadata::new(),
        text: "0123456789".into(),
        details: bytes(100),
    });
    assert_eq!(raw.machine.waiting_reply_bytes(), waiting + 110);
    // A call that its peer cancels no longer counts, except for its end.
    raw.send_all(&[Packet::Cancel(theirs(0))]);
    let waiting = waiting + 110 - u64::from(MIN_MESSAGE_BYTES);
    assert_eq!(raw.machine.waiting_reply_bytes(), waiting);
    raw.said();
    assert_eq!(raw.machine.waiting_reply_bytes(), 0);
}

#[test]
fn calls_may_begin_with_so_much_together_and_one_byte_more_is_refused_unserved() {
    const MAX: usize = (MIN_MESSAGE_BYTES + MIN_METADATA_BYTES) as usize;
    const PART: usize = MAX / 2;
    let mut raw = Raw::open_with(config(|config| {
        config
            .max_message_bytes(MIN_MESSAGE_BYTES)
            .max_opening_bytes(MAX)
    }));
    let events = raw.send_all(&[
        call(0, last(bytes(PART))),
        call(1, last(bytes(PART + 1))),
        call(2, last(bytes(PART))),
        call(3, last("")),
    ]);
    let [Event::Called(_), event, Event::Called(_), Event::Called(_)] = &events[..] else {
        panic!("{events:?}");
    };
    let opening = Overload::Opening {
        bytes: PART as u64 + 1,
        before: PART as u64,
        max: MAX,
    };
    assert_eq!(*event, unserved(opening.clone()));
    let said = raw.said();
    let [Packet::End(end)] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!((end.call, end.refused), (theirs(1), true));
    let text = format!(
        "a call that begins with {} bytes, where those in flight have {PART}; \
         the callee takes at most {MAX} (max_opening_bytes)",
        PART + 1
    );
    assert_eq!(end.text, text);
    assert_eq!(raw.machine.held_bytes().0, MAX as u64);
    // An ended call makes room, and its stated length counts too.
    raw.machine.reply(theirs(0), Metadata::new(), Bytes::new());
    let part = PART as u32;
    let events = raw.send_all(&[call(0, first("x", part + 1)), call(1, first("x", part))]);
    assert_eq!(events, [unserved(opening)]);
    assert_eq!(raw.machine.held_bytes().0, MAX as u64);
}

#[test]
fn empty_messages_cost_credit_too() {
    let mut raw = Raw::open_with(poor());
    raw.send_all(&[call(0, None)]);
    for _ in 0..MIN_CREDIT_BYTES / 64 {
        raw.send_all(&[message(theirs(0), whole(""))]);
    }
    let text = "a message without credit for all calls together (request_credit_bytes)";
    closes(&mut raw, &message(theirs(0), whole("")), text);
}

#[test]
fn streams_of_replies_that_are_not_consumed_stop_at_the_credit_of_all_calls() {
    let mut raw = Raw::open_with(poor());
    for token in 0..3 {
        let started = raw.machine.start_call(raw.now, unary(""), token);
        assert_eq!(started, Ok(StartedCall::Sent(ours(token))));
    }
    let half = bytes(MIN_CREDIT_BYTES as usize / 2);
    raw.send_all(&[
        reply(ours(0), None),
        message(ours(0), whole(half.clone())),
        reply(ours(1), whole("the first is free")),
        message(ours(1), whole(half)),
        reply(ours(2), whole("so a reply may always begin")),
    ]);
    let text = "a message without credit for all calls together (reply_credit_bytes)";
    closes(&mut raw, &message(ours(2), last("")), text);
}

#[test]
fn an_honest_side_waits_for_credit_of_all_calls_and_goes_on_with_it() {
    let mut pair = Pair::open_with(poor(), poor());
    let most = MIN_CREDIT_BYTES as usize;
    let first = pair.start(1, b"");
    pair.start(2, b"");
    pair.run();
    pair.server.heard();
    let server = &mut pair.server.connection;
    assert!(server.open_reply(first, Metadata::new()));
    assert_eq!(send(server, first, bytes(most)), Ok(true));
    // The first reply of the other stream overtakes it; the next one waits until that reply was
    // consumed.
    let second = wawo_protocol::CallId::new(wawo_protocol::Side::Connecting, 1);
    assert!(server.open_reply(second, Metadata::new()));
    assert_eq!(send(server, second, bytes(5)), Ok(false));
    server.end(ok(second));
    pair.run();
    assert_eq!(pair.client.heard().len(), 3);
    pair.client.connection.consume(first, 1, most);
    pair.run();
    let events = pair.client.heard();
    let [Event::Message { message, .. }, Event::Ended(ended)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((ended.token, message), (2, &bytes(5)));
}

#[test]
fn a_call_that_is_over_gives_back_what_it_held() {
    let mut raw = Raw::open_with(poor());
    for round in 0..10 {
        raw.send_all(&[
            call(0, None),
            message(theirs(0), whole(bytes(60_000))),
            Packet::Cancel(theirs(0)),
        ]);
        assert_eq!(raw.machine.held_bytes(), (0, 0), "round {round}");
        raw.said();
    }
}

#[test]
fn so_many_streams_may_be_open_and_one_more_is_refused_unserved() {
    let mut raw = Raw::open_with(config(|config| config.max_streams(2)));
    let events = raw.send_all(&[call(0, None), call(1, whole("first")), call(2, None)]);
    let [Event::Called(_), Event::Called(_), event] = &events[..] else {
        panic!("{events:?}");
    };
    let streams = Overload::Streams { max: 2 };
    assert_eq!(*event, unserved(streams.clone()));
    let text = "2 streams are open already (max_streams)";
    let said = raw.said();
    let [Packet::End(end)] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!((end.call, end.refused, &*end.text), (theirs(2), true, text));
    // Unary calls are not streams, until their reply begins as one.
    raw.send_all(&[call(2, last(""))]);
    assert!(!raw.machine.open_reply(theirs(2), Metadata::new()));
    assert_eq!(raw.feed(b"").unwrap(), [served(streams)]);
    let said = raw.said();
    assert!(
        matches!(&said[..], [Packet::End(end)] if !end.refused && end.text == text),
        "{said:?}"
    );
    // A stream that ends makes room.
    raw.send_all(&[Packet::Cancel(theirs(0)), call(0, None)]);
    assert_eq!(raw.said().len(), 1);
    // After the end of the connection there are no events.
    raw.send_all(&[call(2, last(""))]);
    raw.machine.close(CloseCode::Normal, "");
    assert!(!raw.machine.open_reply(theirs(2), Metadata::new()));
    assert!(!raw.machine.has_events());
}

#[test]
fn so_many_calls_may_be_cancelled_within_a_second() {
    let mut raw = Raw::open_with(config(|config| config.max_cancels_per_second(1_000)));
    for _ in 0..2 {
        for _ in 0..1_000 {
            raw.send_all(&[call(0, None), Packet::Cancel(theirs(0))]);
        }
        raw.now += SECOND;
    }
    for _ in 0..1_000 {
        raw.send_all(&[call(0, None), Packet::Cancel(theirs(0))]);
    }
    raw.send_all(&[call(0, None)]);
    let text = "more than 1000 cancels within a second (max_cancels_per_second)";
    closes(&mut raw, &Packet::Cancel(theirs(0)), text);
}

#[test]
fn pings_that_come_too_early_end_the_connection_after_some() {
    let mut raw = Raw::open();
    for _ in 0..3 {
        for _ in 0..4 {
            raw.send_all(&[Packet::Ping(1)]);
        }
        // A ping in time resets the count.
        raw.now += SECOND / 2;
    }
    for _ in 0..4 {
        raw.send_all(&[Packet::Ping(1)]);
    }
    let text = "more than 3 pings in a row, each too soon after the one before (max_early_pings)";
    closes(&mut raw, &Packet::Ping(1), text);
}

#[test]
fn packets_that_carry_nothing_end_the_connection_after_many() {
    let idle: [fn(u32) -> Packet; 6] = [
        |_| credit(CreditOf::Requests, 1023),
        |_| message(theirs(0), whole("")),
        |_| Packet::Cancel(theirs(0)),
        |_| end(theirs(0), Code::Ok),
        |_| credit(CreditOf::Call(theirs(0)), 2048),
        |_| credit(CreditOf::Call(theirs(0)), 1),
    ];
    for packet in idle {
        let mut raw = Raw::open_with(config(|config| config.max_idle_packets(1_000)));
        raw.send_all(&[call(0, None), Packet::Cancel(theirs(0))]);
        for index in 0..1_000 {
            raw.send_all(&[packet(index)]);
        }
        // A packet with an effect resets the count.
        raw.send_all(&[call(0, None), Packet::Cancel(theirs(0))]);
        for index in 0..1_000 {
            raw.send_all(&[packet(index)]);
        }
        let text = "more than 1000 packets in a row that carry nothing (max_idle_packets)";
        closes(&mut raw, &packet(1_000), text);
    }
}

#[test]
fn a_drain_that_is_said_again_and_again_carries_nothing() {
    let mut raw = Raw::open_with(config(|config| config.max_idle_packets(1_000)));
    let drain = Packet::Drain { accepted: 0 };
    for _ in 0..1_001 {
        raw.send_all(std::slice::from_ref(&drain));
    }
    let text = "more than 1000 packets in a row that carry nothing (max_idle_packets)";
    closes(&mut raw, &drain, text);
}

#[test]
fn a_message_in_crumbs_is_refused_after_a_hundred() {
    let mut raw = Raw::open();
    raw.send_all(&[call(0, first("x", 1_000_000))]);
    for _ in 0..99 {
        raw.send_all(&[continued(theirs(0), more("x"))]);
    }
    let text = "a message for call 1 with more than 100 chunks under 1 KiB (max_small_chunks)";
    closes(&mut raw, &continued(theirs(0), more("x")), text);
}

#[test]
fn a_packet_must_become_whole_in_time() {
    let mut raw = Raw::open();
    let mut packet = BytesMut::new();
    call(0, last("hello")).encode(&mut packet);
    let (start, rest) = packet.split_at(5);
    raw.feed(start).unwrap();
    raw.now += 10 * SECOND - Duration::from_nanos(1);
    raw.machine.handle_timeout(raw.now).unwrap();
    assert_eq!(raw.feed(&rest[..3]).unwrap(), []);
    raw.now += Duration::from_nanos(1);
    let error = raw.machine.handle_timeout(raw.now).unwrap_err();
    let text = "a packet was not complete within 10s (packet_timeout)";
    assert_eq!(error.to_string(), text);
    let close = Packet::Close {
        code: CloseCode::TimedOut,
        text: text.to_owned(),
    };
    assert_eq!(raw.said(), [close]);
}

#[test]
fn a_packet_that_became_whole_leaves_no_deadline_behind() {
    let mut raw = Raw::open();
    let mut packet = BytesMut::new();
    call(0, last("hello")).encode(&mut packet);
    for _ in 0..3 {
        raw.feed(&packet[..5]).unwrap();
        raw.now += 9 * SECOND;
        raw.machine.handle_timeout(raw.now).unwrap();
        assert_eq!(raw.feed(&packet[5..]).unwrap().len(), 1);
        raw.machine.reply(theirs(0), Metadata::new(), Bytes::new());
    }
}

#[test]
fn a_peer_that_does_not_read_is_cut_off() {
    let mut raw = Raw::open();
    raw.send_all(&[call(0, last(""))]);
    raw.machine.reply(theirs(0), Metadata::new(), bytes(8_000));
    raw.machine.output_blocked(raw.now);
    // The peer takes enough within each period, so it is slow but not dead.
    for _ in 0..1 {
        raw.now += 10 * SECOND;
        raw.machine.output().advance(4 * 1024);
        raw.machine.handle_timeout(raw.now).unwrap();
    }
    raw.now += 10 * SECOND;
    raw.machine.output().advance(1_000);
    let error = raw.machine.handle_timeout(raw.now).unwrap_err();
    let text = "the peer does not read: 2916 bytes wait for 10s (write_timeout)";
    assert_eq!(error.to_string(), text);
}

#[test]
fn bytes_that_the_transport_took_and_holds_back_are_not_read_either() {
    let mut raw = Raw::open();
    raw.send_all(&[call(0, last(""))]);
    raw.machine.output_flushed();
    raw.machine.reply(theirs(0), Metadata::new(), bytes(988));
    raw.said();
    raw.machine.output_blocked(raw.now);
    raw.machine.fill_output();
    raw.now += 10 * SECOND;
    let error = raw.machine.handle_timeout(raw.now).unwrap_err();
    let text = "the peer does not read: 1000 bytes wait for 10s (write_timeout)";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_flush_that_ends_in_time_ends_the_wait() {
    let mut raw = Raw::open();
    for _ in 0..3 {
        raw.send_all(&[call(0, last(""))]);
        raw.machine.reply(theirs(0), Metadata::new(), Bytes::new());
        raw.said();
        raw.machine.output_blocked(raw.now);
        raw.now += 6 * SECOND;
        raw.machine.handle_timeout(raw.now).unwrap();
        raw.machine.output_flushed();
    }
}

#[test]
fn a_peer_that_has_read_all_may_take_its_time_again() {
    let mut raw = Raw::open();
    for _ in 0..3 {
        raw.send_all(&[call(0, last(""))]);
        raw.machine.reply(theirs(0), Metadata::new(), Bytes::new());
        raw.machine.output_blocked(raw.now);
        raw.now += 6 * SECOND;
        raw.machine.handle_timeout(raw.now).unwrap();
        raw.said();
        raw.machine.fill_output();
    }
}

#[test]
fn a_call_whose_reader_grants_nothing_is_ended() {
    let mut raw = Raw::open();
    let mut patient = call(0, last(""));
    if let Packet::Call(call) = &mut patient {
        call.timeout_ms = Some(0);
    }
    raw.send_all(&[patient]);
    assert!(raw.machine.open_reply(theirs(0), Metadata::new()));
    let initial_credit = MIN_CREDIT_BYTES as usize;
    for _ in 0..2 {
        let sent = send(&mut raw.machine, theirs(0), bytes(initial_credit));
        assert_eq!(sent, Ok(false));
    }
    raw.said();
    // Pings keep the connection alive, but not the call.
    for _ in 0..3 {
        raw.now += 10 * SECOND;
        raw.send_all(&[Packet::Ping(1)]);
        raw.machine.handle_timeout(raw.now).unwrap();
    }
    let events = raw.feed(&[]).unwrap();
    assert_eq!(events, [Event::Stopped(theirs(0), Code::ResourceExhausted)]);
    let said = raw.said();
    let Some(Packet::End(end)) = said.last() else {
        panic!("{said:?}");
    };
    assert_eq!(end.code, Code::ResourceExhausted);
    assert_eq!(
        end.text,
        "the peer gave no credit for the call within 30s (stall_timeout)"
    );
}

#[test]
fn a_call_of_ours_that_is_granted_nothing_is_given_up() {
    let mut raw = Raw::open();
    let started = raw.machine.start_call(raw.now, stream(), 7);
    assert_eq!(started, Ok(StartedCall::Sent(ours(0))));
    let initial_credit = MIN_CREDIT_BYTES as usize;
    for _ in 0..2 {
        send(&mut raw.machine, ours(0), bytes(initial_credit)).unwrap();
    }
    raw.said();
    for _ in 0..3 {
        raw.now += 10 * SECOND;
        raw.send_all(&[Packet::Ping(1)]);
        raw.machine.handle_timeout(raw.now).unwrap();
    }
    let events = raw.feed(&[]).unwrap();
    let [Event::Ended(ended)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((ended.token, ended.code), (7, Code::ResourceExhausted));
    assert!(matches!(raw.said().last(), Some(Packet::Cancel(_))));
}

#[test]
fn a_deadline_of_a_caller_is_capped() {
    for (said, capped) in [
        (Some(0), 5_000),
        (Some(60_000), 5_000),
        (Some(1_000), 1_000),
    ] {
        let mut raw = Raw::open_with(config(|config| config.max_timeout(Some(5 * SECOND))));
        let mut packet = call(0, last(""));
        if let Packet::Call(call) = &mut packet {
            call.timeout_ms = said;
        }
        let events = raw.send_all(&[packet]);
        let [Event::Called(called)] = &events[..] else {
            panic!("{events:?}");
        };
        let deadline = raw.now + Duration::from_millis(capped);
        assert_eq!(called.deadline, Some(deadline));
    }
}

#[test]
fn answers_wait_with_their_calls_while_the_peer_does_not_read() {
    let mut raw = Raw::open_with(config(|config| config.max_calls(64)));
    raw.send_all(&[credit(CreditOf::Replies, 1 << 24)]);
    // Nobody takes the output. It fills, and then calls keep their slots.
    let answer = bytes(10_000);
    let mut answered = 0;
    for index in 0..64 {
        raw.send_all(&[call(index, last(""))]);
        raw.machine
            .reply(theirs(index), Metadata::new(), answer.clone());
        answered += 1;
    }
    let waiting = raw.machine.output().len();
    assert!(waiting < 256 * 1024 + 2 * answer.len(), "{waiting} bytes");
    let in_flight = raw.machine.calls_served();
    assert!(in_flight > 30, "{in_flight} of {answered} in flight");
    // Calls that fail or are cancelled keep their slots too.
    raw.send_all(&[Packet::Cancel(theirs(63))]);
    assert_eq!(raw.machine.calls_served(), in_flight);
    assert!(raw.machine.output().len() == waiting);
    let text = "call 127 was started while a call with this id was in flight";
    assert_eq!(raw.fault(&call(63, last(""))).to_string(), text);
}

#[test]
fn a_waiting_answer_leaves_when_the_peer_reads_and_a_cancelled_one_does_not() {
    let mut raw = Raw::open();
    for index in 0..64 {
        raw.send_all(&[call(index, last(""))]);
        raw.machine
            .reply(theirs(index), Metadata::new(), bytes(10_000));
    }
    assert!(raw.machine.calls_served() > 0);
    raw.send_all(&[Packet::Cancel(theirs(63))]);
    // The peer grants the bytes that it has read, in time.
    raw.send_all(&[credit(CreditOf::Replies, 1 << 20)]);
    let mut said = Vec::new();
    while raw.machine.calls_served() > 0 {
        said.extend(raw.said());
    }
    said.extend(raw.said());
    let replies = said
        .iter()
        .filter(|packet| matches!(packet, Packet::Reply(_)));
    assert_eq!(replies.count(), 63);
    let cancelled = said.iter().any(
        |packet| matches!(packet, Packet::End(end) if end.call == theirs(63) && end.code == Code::Cancelled),
    );
    assert!(cancelled);
}

#[test]
fn a_caller_that_says_all_before_it_reads_comes_to_its_end() {
    let mut raw = Raw::open_with(config(|config| {
        config.initial_credit_bytes(MIN_CREDIT_BYTES)
    }));
    raw.send_all(&[call(0, None)]);
    // The reply is complete, and waits for credit that the caller has not given yet.
    assert!(raw.machine.open_reply(theirs(0), Metadata::new()));
    for _ in 0..2 {
        let sent = send(&mut raw.machine, theirs(0), bytes(40_000));
        assert_eq!(sent, Ok(false));
    }
    raw.machine.end(End {
        call: theirs(0),
        code: Code::Ok,
        refused: false,
        metadata: Metadata::new(),
        text: String::new(),
        details: Bytes::new(),
    });
    raw.said();
    let mut granted = MIN_CREDIT_BYTES;
    for _ in 0..20 {
        raw.send_all(&[message(theirs(0), whole(bytes(32_000)))]);
        granted -= 32_000;
        for packet in raw.said() {
            if let Packet::Credit {
                of: CreditOf::Call(_),
                bytes,
            } = packet
            {
                granted += bytes;
            }
        }
        assert!(granted >= 32_000);
    }
}

#[test]
fn a_slot_that_a_chunked_one_way_message_frees_goes_to_a_call_that_waits() {
    let few = config(|config| {
        config
            .max_calls(64)
            .max_packet_bytes(16 * 1024)
            .request_credit_bytes(64 << 20)
    });
    let mut pair = Pair::open_with(Config::default(), few);
    for _ in 0..64 {
        let one_way_call = NewCall {
            one_way: true,
            ..unary(bytes(17_000))
        };
        pair.client
            .connection
            .send_one_way(pair.now, one_way_call)
            .unwrap();
    }
    pair.start_waiting(1, unary("x"));
    pair.run();
    let events = pair.server.heard();
    let calls = events
        .iter()
        .filter(|event| matches!(event, Event::Called(called) if called.call.is_some()));
    assert_eq!(calls.count(), 1);
    assert_eq!(pair.client.connection.calls_waiting(), 0);
}

#[test]
fn an_oversized_last_reply_frees_its_slot_and_nothing_is_said_after_it() {
    let mut raw = Raw::open_with(config(|config| config.max_message_bytes(MIN_MESSAGE_BYTES)));
    let started = raw.machine.start_call(raw.now, unary(""), 5);
    assert_eq!(started, Ok(StartedCall::Sent(ours(0))));
    raw.said();
    let events = raw.send_all(&[reply(ours(0), last(bytes(100_000)))]);
    assert!(matches!(&events[..], [Event::Ended(ended)] if ended.code == Code::ResourceExhausted));
    let said = raw.said();
    assert!(
        !said
            .iter()
            .any(|packet| matches!(packet, Packet::Cancel(_))),
        "{said:?}"
    );
    assert_eq!(raw.machine.calls_started(), 0);
}

#[test]
fn an_end_fits_into_the_least_packet() {
    let least = config(|config| {
        config
            .max_packet_bytes(16 * 1024)
            .max_metadata_bytes(16 * 1024 - 64)
    });
    let mut pair = Pair::open_with(least, Config::default());
    let call = pair.start(1, b"");
    pair.run();
    pair.server.called();
    let mut metadata = Metadata::new();
    metadata.append("k-bin", bytes(16_000)).unwrap();
    pair.server.connection.end(End {
        call,
        code: Code::Internal,
        refused: false,
        metadata,
        text: "x".repeat(1000),
        details: Bytes::new(),
    });
    pair.run();
    let mark = " [left out: 1 entry of metadata with 16010 bytes]";
    assert_eq!(pair.client.ended().text, "x".repeat(1000) + mark);
}

#[test]
fn requests_that_nobody_reads_any_more_are_granted_also_in_the_middle_of_one() {
    let narrow = config(|config| config.initial_credit_bytes(MIN_CREDIT_BYTES));
    let mut pair = Pair::open_with(Config::default(), narrow);
    let started = pair.client.connection.start_call(pair.now, stream(), 1);
    let Ok(StartedCall::Sent(call)) = started else {
        panic!("{started:?}");
    };
    for length in [60_000, 200_000] {
        let client = &mut pair.client.connection;
        send(client, call, bytes(length)).unwrap();
    }
    pair.run();
    assert_eq!(pair.server.heard().len(), 2);
    // The call of a driver whose handler drops its requests.
    let server = &mut pair.server.connection;
    server.consume(call, usize::MAX, usize::MAX);
    pair.run();
    let events = pair.server.heard();
    assert!(
        matches!(&events[..], [Event::Message { message, .. }] if message.len() == 200_000),
        "{events:?}"
    );
}

#[test]
fn times_without_end_are_no_fault() {
    let patient = config(|config| {
        config
            .keep_alive_interval(Duration::MAX)
            .keep_alive_timeout(Duration::MAX)
            .handshake_timeout(Duration::MAX)
            .packet_timeout(Duration::MAX)
            .write_timeout(Duration::MAX)
            .stall_timeout(Duration::MAX)
            .default_timeout(Some(Duration::MAX))
            .max_timeout(Some(Duration::MAX))
    });
    let mut pair = Pair::open_with(patient.clone(), patient);
    pair.start(1, b"");
    pair.run_for(Duration::from_secs(3600));
    assert!(pair.client.error.is_none() && pair.server.error.is_none());
}

#[test]
fn a_large_packet_on_a_slow_link_is_no_silence() {
    let mut raw = Raw::open_with(config(|config| {
        config
            .max_packet_bytes(8 << 20)
            .max_message_bytes(8 << 20)
            .initial_credit_bytes(8 << 20)
            .packet_timeout(60 * SECOND)
    }));
    let mut packet = BytesMut::new();
    call(0, last(bytes(4 << 20))).encode(&mut packet);
    for part in packet.chunks(100_000) {
        raw.now += SECOND;
        raw.machine.handle_timeout(raw.now).unwrap();
        raw.feed(part).unwrap();
    }
}

#[test]
fn a_hello_has_its_own_limit() {
    let mut raw = Raw::silent();
    let mut wire = BytesMut::from(&b"WAWO/1\r\n"[..]);
    wire.extend_from_slice(&16_385_u32.to_be_bytes());
    wire.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
    let error = raw.feed(&wire).unwrap_err();
    assert!(
        matches!(error, ConnectionError::PeerMisbehaved(_)),
        "{error}"
    );
    assert!(error.to_string().contains("16385 bytes"), "{error}");
}

#[test]
fn a_one_way_message_holds_credit_until_it_was_served() {
    let mut raw = Raw::open_with(poor());
    let events = raw.send_all(&[one_way(None, last(bytes(1_000)))]);
    let [Event::Called(called)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(raw.machine.held_bytes(), (1_064, 0));
    raw.machine.one_way_served(called.cost);
    assert_eq!(raw.machine.held_bytes(), (0, 0));
}

#[test]
fn calls_of_a_draining_side_hold_nothing() {
    let mut raw = Raw::open_with(poor());
    raw.machine.drain();
    for index in 0..100 {
        let id = theirs(index);
        raw.send_all(&[call_as(id, whole(bytes(1_000)))]);
        raw.said();
        assert_eq!(raw.machine.held_bytes(), (0, 0));
    }
}

#[test]
fn credit_waits_while_the_peer_does_not_read_and_comes_when_it_does() {
    let mut raw = Raw::open();
    raw.send_all(&[call(0, None)]);
    // Each of these messages needs a grant to become whole, and is consumed at once.
    for _ in 0..100_000 {
        raw.send_all(&[
            message(theirs(0), first("a", 2)),
            continued(theirs(0), whole("b")),
        ]);
        raw.machine.consume(theirs(0), 1, 2);
        raw.machine.fill_output();
    }
    let waiting = raw.machine.output().len();
    assert!(waiting < 256 * 1024 + 64, "{waiting} bytes");
    raw.said();
    // The withheld grants have come. Without them, these messages would exceed the initial credit.
    for _ in 0..2 {
        raw.send_all(&[message(theirs(0), whole(bytes(100_000)))]);
    }
}

/// Metrics count refusals by these words, so each names the setting that its text names.
#[test]
fn a_refusal_names_the_setting_that_has_the_limit() {
    let (length, max) = (9, 8);
    let metadata = |entries, bytes| Refusal::MetadataTooLarge {
        entries,
        bytes,
        max_entries: max,
        max_bytes: max,
    };
    let refusals = [
        (
            Refusal::NoSlot {
                max_calls: 1,
                depth: 2,
            },
            "max_calls",
        ),
        (Refusal::Full(1), "max_waiting_calls"),
        (
            Refusal::MessageTooLarge { length, max },
            "max_message_bytes",
        ),
        (metadata(9, 8), "max_metadata_entries"),
        (metadata(8, 9), "max_metadata_bytes"),
    ];
    for (refusal, reason) in refusals {
        assert_eq!(refusal.reason(), reason);
        assert!(refusal.to_string().contains(reason), "{refusal}");
    }
    assert_eq!(Refusal::Closed.reason(), "closed");
    assert_eq!(Refusal::Draining.reason(), "draining");
    let (max, waiting, bytes, before) = (8, 9, 9, 0);
    let overloads = [
        (Overload::Streams { max }, "max_streams"),
        (
            Overload::Opening { bytes, before, max },
            "max_opening_bytes",
        ),
        (
            Overload::WaitingReplies { waiting, max },
            "max_waiting_reply_bytes",
        ),
        (
            Overload::Reply {
                length,
                waiting,
                max,
            },
            "max_waiting_reply_bytes",
        ),
        (
            Overload::RequestTooLarge { length, max: 8 },
            "max_message_bytes",
        ),
        (
            Overload::ReplyTooLarge(metadata(9, 8)),
            "max_metadata_entries",
        ),
    ];
    for (overload, reason) in overloads {
        assert_eq!(overload.reason(), reason);
        assert!(overload.to_string().contains(reason), "{overload}");
    }
}
