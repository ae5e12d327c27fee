//! Rules that a peer may break: each has its text and its close code, and the close packet contains
//! both.

use wawo_protocol::{
    CallId, CloseCode, Code, Config, ConnectionError, Event, MIN_CALLS, NewCall, StartedCall,
    packet::{CreditOf, End, PREFACE, Packet},
};

use crate::{
    pair::{bytes, config, stream, unary},
    raw::{
        Raw, call, call_as, continued, credit, end, first, last, message, more, one_way, ours,
        reply, theirs, whole,
    },
};

/// Two calls of the machine are in flight: 2 is unary, 4 has a stream of requests.
fn raw_with_calls() -> Raw {
    let mut raw = Raw::open_with(config(|config| config.max_calls(MIN_CALLS)));
    for (token, new) in [(1, unary("")), (2, stream())] {
        let started: Result<_, (u32, _)> = raw.machine.start_call(raw.now, new, token);
        assert_eq!(started, Ok(StartedCall::Sent(ours(token - 1))));
    }
    raw.said();
    raw
}

/// Sends valid packets, then one that breaks a rule.
fn violation(before: &[Packet], wrong: &Packet, text: &str) {
    closes(before, wrong, CloseCode::ProtocolViolation, text);
}

/// Sends valid packets, then one that exceeds a limit.
fn over_limit(before: &[Packet], wrong: &Packet, text: &str) {
    closes(before, wrong, CloseCode::LimitExceeded, text);
}

fn closes(before: &[Packet], wrong: &Packet, code: CloseCode, text: &str) {
    let mut raw = raw_with_calls();
    raw.send_all(before);
    raw.said();
    assert_eq!(raw.fault(wrong).to_string(), text);
    let text = text.to_owned();
    assert_eq!(raw.said(), [Packet::Close { code, text }]);
    assert!(raw.machine.is_closed());
}

#[test]
fn rules_of_the_connection() {
    let hello = Raw::greeted().0;
    violation(&[], &hello, "a second hello");
    violation(&[], &Packet::Pong(1), "a pong that answers no ping");
    violation(
        &[],
        &credit(CreditOf::Requests, 1 << 31),
        "credit that adds up to more than 2147483648",
    );
    over_limit(
        &[],
        &call(0, whole(bytes(128 * 1024 - 7))),
        "a packet with 131073 bytes of payload; this side takes at most 131072 (max_packet_bytes)",
    );
}

#[test]
fn rules_of_call_ids() {
    violation(
        &[call(0, None)],
        &call(0, None),
        "call 1 was started while a call with this id was in flight",
    );
    violation(
        &[],
        &call(1, None),
        "call 3 was started before the ids below it were used",
    );
    violation(
        &[],
        &call_as(ours(2), None),
        "call packet for call 6, which the sender of the packet may not send",
    );
    let calls: Vec<_> = (0..MIN_CALLS).map(|index| call(index, None)).collect();
    over_limit(
        &calls,
        &call(MIN_CALLS, None),
        "call 129 is beyond the 64 calls in flight that this side takes (max_calls)",
    );
}

#[test]
fn rules_of_callees() {
    violation(
        &[call(0, last(""))],
        &reply(theirs(0), last("")),
        "reply packet for call 1, which the sender of the packet may not send",
    );
    violation(
        &[],
        &reply(ours(2), last("")),
        "reply packet for call 6, which is not in flight",
    );
    violation(
        &[reply(ours(1), None)],
        &reply(ours(1), None),
        "reply packet for call 4, whose reply has begun already",
    );
    violation(
        &[],
        &message(ours(1), whole("")),
        "message packet for call 4, whose reply has not begun",
    );
    violation(
        &[],
        &Packet::Cancel(ours(0)),
        "cancel packet for call 2, which the sender of the packet may not send",
    );
}

/// The end of a direction that says that the call was not served.
fn refused(call: CallId) -> Packet {
    match end(call, Code::Ok) {
        Packet::End(end) => Packet::End(End {
            refused: true,
            ..end
        }),
        other => other,
    }
}

#[test]
fn only_a_callee_refuses_a_call_and_only_before_its_reply() {
    violation(
        &[call(0, None)],
        &refused(theirs(0)),
        "end packet for call 1, from its caller, who has no status to give",
    );
    violation(
        &[reply(ours(0), None)],
        &refused(ours(0)),
        "end packet for call 2, which cannot be refused after its reply has begun",
    );
}

#[test]
fn a_callee_does_not_end_a_call_well_in_the_midst_of_a_message() {
    let begun = [reply(ours(0), first("a", 3))];
    violation(
        &begun,
        &end(ours(0), Code::Ok),
        "end packet for call 2, whose message is not complete",
    );
    let mut raw = raw_with_calls();
    raw.send_all(&begun);
    let events = raw.send_all(&[end(ours(0), Code::Aborted)]);
    assert!(matches!(&events[..], [Event::Ended(ended)] if ended.code == Code::Aborted));
}

#[test]
fn nothing_follows_the_end_of_a_callee() {
    let ended = [end(ours(0), Code::Aborted)];
    for (packet, kind) in [
        (message(ours(0), whole("")), "message"),
        (end(ours(0), Code::Ok), "end"),
        (credit(CreditOf::Call(ours(0)), 1), "credit"),
        (reply(ours(0), None), "reply"),
    ] {
        let text = format!("{kind} packet for call 2, which is not in flight");
        violation(&ended, &packet, &text);
        violation(&[reply(ours(0), last(""))], &packet, &text);
    }
}

#[test]
fn rules_of_callers() {
    let finished = [call(0, last(""))];
    violation(
        &finished,
        &message(theirs(0), whole("")),
        "message packet for call 1, whose requests have ended",
    );
    violation(
        &finished,
        &end(theirs(0), Code::Ok),
        "end packet for call 1, whose requests have ended",
    );
    violation(
        &[call(0, None)],
        &end(theirs(0), Code::Aborted),
        "end packet for call 1, from its caller, who has no status to give",
    );
    for open in [
        vec![call(0, first("a", 2))],
        vec![call(0, None), message(theirs(0), first("a", 2))],
    ] {
        violation(
            &open,
            &end(theirs(0), Code::Ok),
            "end packet for call 1, whose message is not complete",
        );
    }
}

#[test]
fn a_slot_that_was_never_used_has_no_crossing_packets() {
    for (packet, kind) in [
        (message(theirs(0), whole("")), "message"),
        (end(theirs(0), Code::Ok), "end"),
        (Packet::Cancel(theirs(0)), "cancel"),
        (credit(CreditOf::Call(theirs(0)), 1), "credit"),
    ] {
        let text = format!("{kind} packet for call 1, which is not in flight");
        violation(&[], &packet, &text);
    }
}

#[test]
fn rules_of_chunks() {
    violation(
        &[call(0, None)],
        &continued(theirs(0), whole("a")),
        "message packet for call 1, which has no message to continue",
    );
    violation(
        &[call(0, first("a", 3))],
        &message(theirs(0), whole("b")),
        "message packet for call 1, whose message before is not complete",
    );
    for (call_id, before) in [
        (theirs(0), call(0, first("a", 3))),
        (ours(0), reply(ours(0), first("a", 3))),
    ] {
        let wire = call_id.to_wire();
        let text =
            format!("a message for call {wire} whose chunks do not add up to its stated 3 bytes");
        for wrong in [last("bcd"), last("b"), more("bc")] {
            violation(
                std::slice::from_ref(&before),
                &continued(call_id, wrong),
                &text,
            );
        }
    }
}

#[test]
fn rules_of_one_way_calls() {
    let begun = [one_way(Some(theirs(0)), first("a", 2))];
    for (packet, kind) in [
        (credit(CreditOf::Call(theirs(0)), 1), "credit"),
        (end(theirs(0), Code::Ok), "end"),
        (Packet::Cancel(theirs(0)), "cancel"),
    ] {
        let text = format!("{kind} packet for call 1, which is one-way");
        violation(&begun, &packet, &text);
    }
    over_limit(
        &[],
        &one_way(Some(theirs(0)), first("a", 4 * 1024 * 1024 + 1)),
        "a one-way message of 4194305 bytes; this side takes at most 4194304 (max_message_bytes)",
    );
}

#[test]
fn nothing_but_a_hello_may_come_first() {
    let early = [
        (Packet::Ping(1), "ping packet before the hello"),
        (call(0, last("")), "call packet before the hello"),
        (
            credit(CreditOf::Requests, 1),
            "credit packet before the hello",
        ),
    ];
    for (packet, text) in early {
        let mut raw = Raw::silent();
        assert!(raw.feed(&PREFACE).unwrap().is_empty());
        assert_eq!(raw.fault(&packet).to_string(), text);
    }
}

#[test]
fn a_close_may_come_before_the_hello() {
    let mut raw = Raw::silent();
    assert!(raw.feed(&PREFACE).unwrap().is_empty());
    let close = Packet::Close {
        code: CloseCode::VersionUnsupported,
        text: "no".to_owned(),
    };
    let error = raw.send(&close).unwrap_err();
    assert!(
        matches!(error, ConnectionError::ClosedByPeer { .. }),
        "{error}"
    );
}

#[test]
fn another_protocol_is_refused_at_its_first_byte_that_differs() {
    let expected = "not with \"WAWO/1\\r\\n\"";
    let not_wawo =
        |begins: &str| format!("not a wawo connection: it begins with {begins}, {expected}");
    let version = r#"wawo version "WAWO/2\r\n" is not spoken here; this side speaks version 1"#;
    let cases: [(&[u8], String, CloseCode); 4] = [
        (b"G", not_wawo(r#""G""#), CloseCode::ProtocolViolation),
        (
            b"\x16\x03",
            not_wawo(r#""\x16\x03""#)
                + "; the peer begins with TLS, which this side does not speak here: connect \
                   without TLS, or serve TLS at this address",
            CloseCode::ProtocolViolation,
        ),
        (b"WAX", not_wawo(r#""WAX""#), CloseCode::ProtocolViolation),
        (
            b"WAWO/2\r\n",
            version.to_owned(),
            CloseCode::VersionUnsupported,
        ),
    ];
    for (bytes, text, code) in cases {
        let mut raw = Raw::silent();
        raw.said();
        let error = raw.feed(bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the peer broke the protocol: {text}")
        );
        assert_eq!(raw.said(), [Packet::Close { code, text }]);
    }
}

#[test]
fn a_length_of_4_gib_is_refused_from_the_head_alone() {
    let mut raw = Raw::open();
    let header = [0xff, 0xff, 0xff, 0xff, 6, 1, 0, 0, 0, 0, 0, 1];
    let error = raw.feed(&header).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the peer broke the protocol: a packet with 4294967295 bytes of payload; \
         this side takes at most 131072 (max_packet_bytes)"
    );
}

#[test]
fn a_peer_that_has_gone_wrong_is_not_heard_again() {
    let mut raw = Raw::open();
    raw.fault(&Packet::Pong(9));
    assert_eq!(raw.send(&call(0, last(""))).unwrap(), []);
    assert!(matches!(raw.said()[..], [Packet::Close { .. }]));
}

#[test]
fn calls_of_a_broken_connection_come_back() {
    let mut raw = raw_with_calls();
    raw.fault(&Packet::Pong(9));
    let mut calls = raw.machine.take_calls();
    calls.sort_unstable();
    assert_eq!(calls, [(1, true), (2, true)]);
}

#[test]
fn a_new_call_in_every_slot_is_fine() {
    let mut raw = Raw::open_with(Config::default());
    for index in 0..1024 {
        let events = raw.send_all(&[call(index, last(""))]);
        assert!(matches!(events[..], [Event::Called(_)]));
    }
    let beyond = CallId::new(wawo_protocol::Side::Connecting, 1024);
    let fault = raw.fault(&call_as(beyond, None));
    assert!(fault.to_string().contains("1024 calls in flight"));
    let refused: Result<_, (u32, _)> = raw.machine.start_call(raw.now, NewCall { ..unary("") }, 1);
    assert!(refused.is_err(), "closed");
}
