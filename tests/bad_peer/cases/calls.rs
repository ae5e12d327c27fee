//! Valid and invalid packets of a caller.

use crate::{
    cases::{
        Case, Outcome,
        State::{Answered, Chunk, OneWayChunk, Open, Stream, Unary},
        case, ended, over_limit, violation,
    },
    wire::{
        ACT, CALL, CANCEL, CONTINUES, CREDIT, DRAIN, END, END_OF, JOIN, MESSAGE, METADATA, MORE,
        NOTE, ONE_WAY, PONG, REPLIES, REPLY, SAY, SERVICE, TALK, TIMEOUT, Wire, call, cancel,
        credit, message, next, packet, stream, unary,
    },
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = ids();
    cases.extend(never_used());
    cases.extend(over());
    cases.extend(unary_in_flight());
    cases.extend(streams());
    cases.extend(chunks());
    cases.extend(one_way());
    cases.extend(credits());
    cases.extend(dispatch());
    cases.extend(apart());
    cases.extend(handled());
    cases.extend(timeouts());
    cases.extend(connection());
    cases
}

fn say(id: u32) -> Wire {
    unary(id, SAY, "hi")
}

fn reply() -> Outcome {
    Outcome::Reply(message("hi"))
}

fn end(id: u32) -> Wire {
    packet(END_OF).call(id)
}

fn ids() -> Vec<Case> {
    let mut cases = Vec::new();
    for id in [2, 4, 2_048, u32::MAX - 1] {
        let text =
            format!("call packet for call {id}, which the sender of the packet may not send");
        cases.push(case(text.clone(), Open, say(id), violation(text)));
    }
    for id in [3, 5, 2_047] {
        let text = format!("call {id} was started before the ids below it were used");
        cases.push(case(text.clone(), Open, say(id), violation(text)));
    }
    for id in [2_049, 1 << 31 | 1, u32::MAX] {
        let text = format!(
            "call {id} is beyond the 1024 calls in flight that this side takes (max_calls)"
        );
        cases.push(case(text.clone(), Open, say(id), over_limit(text)));
    }
    let text = "call 1 was started while a call with this id was in flight";
    for (name, state) in [
        ("the id of a unary call in flight", Unary),
        ("the id of a stream in flight", Stream),
        ("the id of a call in chunks", Chunk),
        ("the id of a one-way call in chunks", OneWayChunk),
    ] {
        cases.push(case(name, state, say(1), violation(text)));
    }
    cases.push(case("an id that is used again", Answered, say(1), reply()));
    cases
}

/// Packets for a slot that no call has used.
fn never_used() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut not_in_flight = |kind: &str, id: u32, bytes: Wire| {
        let text = format!("{kind} packet for call {id}, which is not in flight");
        cases.push(case(text.clone(), Open, bytes, violation(text)));
    };
    for id in [1, 2, 2_049, u32::MAX - 1, u32::MAX] {
        not_in_flight("message", id, next(id, "hi"));
        not_in_flight("end", id, end(id));
        not_in_flight("credit", id, credit(id, 1024));
    }
    for id in [1, 3, u32::MAX] {
        not_in_flight("cancel", id, cancel(id));
    }
    for id in [2, 4, u32::MAX - 1] {
        not_in_flight("reply", id, packet(REPLY).call(id).flags(END));
    }
    let mut wrong_side = |kind: &str, id: u32, bytes: Wire| {
        let text =
            format!("{kind} packet for call {id}, which the sender of the packet may not send");
        cases.push(case(text.clone(), Open, bytes, violation(text)));
    };
    for id in [2, u32::MAX - 1] {
        wrong_side("cancel", id, cancel(id));
    }
    for id in [1, u32::MAX] {
        wrong_side("reply", id, packet(REPLY).call(id).flags(END));
    }
    cases
}

/// Packets that may have crossed the end of their call.
fn over() -> Vec<Case> {
    let ignored: [(&str, Wire); 7] = [
        ("a message", next(1, "late")),
        ("a last message", packet(MESSAGE).call(1).flags(END)),
        (
            "a chunk",
            packet(MESSAGE)
                .call(1)
                .flags(CONTINUES | MORE)
                .bytes("late"),
        ),
        ("an end", end(1)),
        ("an end with a status", end(1).code(13).u16(0)),
        ("a cancel", cancel(1)),
        ("credit", credit(1, 1024)),
    ];
    let ignored = ignored.into_iter().map(|(what, bytes)| {
        let name = format!("{what} for a call that is over");
        case(name, Answered, bytes, Outcome::Ignored)
    });
    let text = "reply packet for call 1, which the sender of the packet may not send";
    let to_itself = packet(REPLY).call(1).flags(END);
    ignored
        .chain([case(
            "a reply to its own call that is over",
            Answered,
            to_itself,
            violation(text),
        )])
        .collect()
}

fn unary_in_flight() -> Vec<Case> {
    let text = |kind: &str| format!("{kind} packet for call 1, whose requests have ended");
    let itself = "reply packet for call 1, which the sender of the packet may not send";
    [
        (
            "a message after the only one",
            next(1, "more"),
            violation(text("message")),
        ),
        (
            "a chunk after the only message",
            packet(MESSAGE).call(1).flags(CONTINUES).bytes("more"),
            violation(text("message")),
        ),
        (
            "an end after the only message",
            end(1),
            violation(text("end")),
        ),
        (
            "a reply to its own call",
            packet(REPLY).call(1).flags(END),
            violation(itself),
        ),
        ("a cancel", cancel(1), ended(1, "")),
        ("credit for a unary call", credit(1, 1024), Outcome::Ignored),
        (
            "most credit for a unary call",
            credit(1, u32::MAX),
            violation("credit that adds up to more than 2147483648"),
        ),
        (
            "a cancel for another call",
            cancel(3),
            violation("cancel packet for call 3, which is not in flight"),
        ),
    ]
    .map(|(name, bytes, outcome)| case(name, Unary, bytes, outcome))
    .into()
}

fn streams() -> Vec<Case> {
    let status = "end packet for call 1, from its caller, who has no status to give";
    let packet_of = |length: usize| next(1, vec![0; length]).build();
    let over_credit = [packet_of(131_072), packet_of(131_072), packet_of(1)].concat();
    let all_credit = [packet_of(131_072), packet_of(131_072), packet_of(0)].concat();
    let twice = [end(1).build(), end(1).build()].concat();
    let rows: [(&str, Vec<u8>, Outcome); 11] = [
        (
            "an end of a caller with a code",
            end(1).code(1).into(),
            violation(status),
        ),
        (
            "an end of a caller with the largest code",
            end(1).code(u16::MAX).into(),
            violation(status),
        ),
        (
            "an end of a caller with a text",
            end(1).u16(2).bytes("no").into(),
            violation(status),
        ),
        (
            "an end of a caller with details",
            end(1).u16(0).bytes([1]).into(),
            violation(status),
        ),
        (
            "an end of a caller with metadata",
            end(1).flags(METADATA).u16(1).entry("k", "").into(),
            violation(status),
        ),
        (
            "two ends of a caller",
            twice,
            violation("end packet for call 1, whose requests have ended"),
        ),
        (
            "a chunk that continues nothing",
            packet(MESSAGE).call(1).flags(CONTINUES).bytes("a").into(),
            violation("message packet for call 1, which has no message to continue"),
        ),
        (
            "a byte over the credit of a call",
            over_credit,
            over_limit("1 message bytes for call 1, where 0 were granted"),
        ),
        (
            "all of the credit of a call, and an empty message",
            all_credit,
            Outcome::Ignored,
        ),
        ("a cancel of a stream", cancel(1).into(), ended(1, "")),
        (
            "a cancel of a stream that has ended",
            [end(1).build(), cancel(1).build()].concat(),
            ended(1, ""),
        ),
    ];
    let rows = rows.into_iter();
    rows.map(|(name, bytes, outcome)| case(name, Stream, bytes, outcome))
        .collect()
}

fn chunks() -> Vec<Case> {
    let chunk = |flags: u8, bytes: &str| packet(MESSAGE).call(1).flags(flags).bytes(bytes);
    let sum = "a message for call 1 whose chunks do not add up to its stated 3 bytes";
    let open = "end packet for call 1, whose message is not complete";
    let begun = [
        (
            "chunks one byte short",
            chunk(CONTINUES | END, "b"),
            violation(sum),
        ),
        (
            "chunks one byte long",
            chunk(CONTINUES | END, "bcd"),
            violation(sum),
        ),
        (
            "chunks that go on when all is there",
            chunk(CONTINUES | MORE, "bc"),
            violation(sum),
        ),
        (
            "a message within another",
            chunk(END, "new"),
            violation("message packet for call 1, whose message before is not complete"),
        ),
        ("an end within a message", end(1), violation(open)),
        ("a cancel within a message", cancel(1), ended(1, "")),
    ]
    .map(|(name, bytes, outcome)| case(name, Chunk, bytes, outcome));
    let first = |total: u32| call(1, SAY, MORE).u32(total).bytes("a");
    let too_large = |total: u32| {
        let text = format!(
            "a message of {total} bytes; the callee takes at most 4194304 (max_message_bytes)"
        );
        ended(8, text)
    };
    let sum = |total: u32| {
        violation(format!(
            "a message for call 1 whose chunks do not add up to its stated {total} bytes"
        ))
    };
    let beginning = [
        ("a total of zero", first(0), sum(0)),
        ("a total that is there at once", first(1), sum(1)),
        (
            "a total one above the limit",
            first(4_194_305),
            too_large(4_194_305),
        ),
        ("the largest total", first(u32::MAX), too_large(u32::MAX)),
        (
            "a total at the limit",
            first(4_194_304),
            Outcome::End(1, 1, String::new()),
        ),
    ];
    let beginning = beginning.map(|(name, bytes, outcome)| {
        // The last packet is valid, so the call must be cancelled to show that the packet was
        // accepted.
        let fine = matches!(outcome, Outcome::End(_, 1, _));
        let mut bytes = bytes.build();
        bytes.extend(cancel(1).build().into_iter().filter(|_| fine));
        case(name, Open, bytes, outcome)
    });
    begun.into_iter().chain(beginning).collect()
}

fn one_way() -> Vec<Case> {
    let text = |kind: &str| violation(format!("{kind} packet for call 1, which is one-way"));
    let sum = "a message for call 1 whose chunks do not add up to its stated 3 bytes";
    let begun = [
        ("a cancel of a one-way call", cancel(1), text("cancel")),
        ("an end of a one-way call", end(1), text("end")),
        ("credit for a one-way call", credit(1, 1024), text("credit")),
        (
            "a one-way message one byte short",
            packet(MESSAGE).call(1).flags(CONTINUES | END).bytes("b"),
            violation(sum),
        ),
        (
            "a one-way message within another",
            next(1, "new"),
            violation("message packet for call 1, whose message before is not complete"),
        ),
    ]
    .map(|(name, bytes, outcome)| case(name, OneWayChunk, bytes, outcome));
    let first = |total: u32| call(1, NOTE, MORE | ONE_WAY).u32(total).bytes("a");
    let large = [4_194_305, u32::MAX].map(|total| {
        let text = format!(
            "a one-way message of {total} bytes; \
             this side takes at most 4194304 (max_message_bytes)"
        );
        case(text.clone(), Open, first(total), over_limit(text))
    });
    begun.into_iter().chain(large).collect()
}

/// Credit adds up to at most 2^31; the hello granted 65,536.
fn credits() -> Vec<Case> {
    const LEFT: u32 = (1 << 31) - 65_536;
    let overflow = || violation("credit that adds up to more than 2147483648");
    let replies = |bytes: u32| packet(CREDIT).flags(REPLIES).u32(bytes);
    let mut cases = Vec::new();
    for (of, state, most, over, largest) in [
        (
            "a call",
            Stream,
            credit(1, LEFT),
            credit(1, LEFT + 1),
            credit(1, u32::MAX),
        ),
        (
            "requests",
            Open,
            credit(0, LEFT),
            credit(0, LEFT + 1),
            credit(0, u32::MAX),
        ),
        (
            "replies",
            Open,
            replies(LEFT),
            replies(LEFT + 1),
            replies(u32::MAX),
        ),
    ] {
        let twice = [most.build(), credit_of_one(of)].concat();
        let name = |what: &str| format!("{what} credit for {of}");
        cases.push(case(name("the most"), state, most, Outcome::Ignored));
        cases.push(case(name("one too much"), state, over, overflow()));
        cases.push(case(name("the largest"), state, largest, overflow()));
        cases.push(case(
            name("the most and one more"),
            state,
            twice,
            overflow(),
        ));
    }
    cases.push(case(
        "credit of one byte",
        Open,
        credit(0, 1),
        Outcome::Ignored,
    ));
    cases
}

fn credit_of_one(of: &str) -> Vec<u8> {
    match of {
        "a call" => credit(1, 1),
        "requests" => credit(0, 1),
        _ => packet(CREDIT).flags(REPLIES).u32(1),
    }
    .build()
}

/// The methods of the service under test.
const METHODS: &str = "Say, Act, Note, Repeat, Join, Talk";

/// Valid calls of missing services and methods.
fn dispatch() -> Vec<Case> {
    let to = |service: u32, method: u32| {
        let call = packet(CALL).call(1).flags(END).u32(service).u32(method);
        call.bytes(message("hi"))
    };
    let mut cases = Vec::new();
    for service in [0, 8, u32::MAX] {
        let text = format!(
            "no service with id {service} is served by the callee; served: tests.echo.Echo, tests.multiply.Multiply"
        );
        cases.push(case(text.clone(), Open, to(service, SAY), ended(12, text)));
    }
    for method in [0, 99, u32::MAX] {
        let text = format!("`tests.echo.Echo` has no method with id {method}; it has {METHODS}");
        cases.push(case(
            text.clone(),
            Open,
            to(SERVICE, method),
            ended(12, text),
        ));
    }
    cases
}

/// Requests whose message and end come apart.
fn apart() -> Vec<Case> {
    let mut cases = Vec::new();
    let wrong = |got: &str| {
        let text = format!("`tests.echo.Echo/Say` takes one request, and got {got}");
        ended(12, text)
    };
    let begun = || stream(1, SAY).build();
    let open = || call(1, SAY, 0).bytes(message("hi")).build();
    let more = || next(1, message("hi")).build();
    let end = || end(1).build();
    for (name, packets, outcome) in [
        ("a request, then its end", vec![open(), end()], reply()),
        (
            "a beginning, a request, an end",
            vec![begun(), more(), end()],
            reply(),
        ),
        (
            "a beginning and an end",
            vec![begun(), end()],
            wrong("none"),
        ),
        ("two requests", vec![open(), more()], wrong("several")),
        (
            "a beginning and two requests",
            vec![begun(), more(), more()],
            wrong("several"),
        ),
    ] {
        cases.push(case(name, Open, packets.concat(), outcome));
    }
    let unended = [open(), cancel(1).build()].concat();
    cases.push(case(
        "a request without an end",
        Open,
        unended,
        ended(1, ""),
    ));
    cases
}

/// Calls that reach a handler, or barely do not.
fn handled() -> Vec<Case> {
    let mut cases = Vec::new();
    let undecodable = call(1, SAY, END).bytes([0xff]);
    let text = "the request of 1 bytes for `tests.echo.Echo/Say` cannot be decoded: \
                failed to decode Protobuf message: invalid varint";
    cases.push(case(
        "a message that is none",
        Open,
        undecodable,
        ended(3, text),
    ));
    let empty = || Outcome::Reply(vec![]);
    cases.push(case(
        "a call of a one-way method",
        Open,
        unary(1, NOTE, "hi"),
        empty(),
    ));
    let one_way = call(0, SAY, END | ONE_WAY).bytes(message("hi"));
    cases.push(case(
        "a one-way call of `Say`",
        Open,
        one_way,
        Outcome::Ignored,
    ));
    let joined = call(1, JOIN, END).bytes(message("hi"));
    let length = Outcome::Reply(message("2"));
    cases.push(case("one request to `Join`", Open, joined, length));
    let failed = unary(1, ACT, "fail");
    cases.push(case(
        "a call that fails",
        Open,
        failed,
        ended(9, "as asked"),
    ));
    let panics = unary(1, ACT, "panic");
    let text = "the handler panicked";
    cases.push(case("a call that panics", Open, panics, ended(13, text)));
    cases
}

fn timeouts() -> Vec<Case> {
    let timed = |method: u32, millis: u32, data: &'static str| {
        let call = call(1, method, END | TIMEOUT);
        call.u32(millis).bytes(message(data))
    };
    // The caller knows its own timeout.
    let late = || ended(4, "");
    [
        ("no deadline", timed(SAY, 0, "hi"), reply()),
        ("a deadline of 49 days", timed(SAY, u32::MAX, "hi"), reply()),
        ("a deadline of 1 ms", timed(ACT, 1, "wait"), late()),
        ("a deadline of 20 ms", timed(ACT, 20, "wait"), late()),
        (
            "a request that does not end, with a deadline of 1 ms",
            call(1, SAY, TIMEOUT).u32(1).bytes(message("hi")),
            late(),
        ),
        (
            "a stream with a deadline of 1 ms",
            call(1, TALK, crate::wire::NO_MESSAGE | TIMEOUT).u32(1),
            late(),
        ),
    ]
    .map(|(name, bytes, outcome)| case(name, Open, bytes, outcome))
    .into()
}

fn connection() -> Vec<Case> {
    let unasked = || violation("a pong that answers no ping");
    let drain = |accepted: u64| packet(DRAIN).u64(accepted);
    let ten = drain(0).build().repeat(10);
    [
        ("a pong of zero", packet(PONG).u64(0).build(), unasked()),
        ("a pong of one", packet(PONG).u64(1).build(), unasked()),
        (
            "the largest pong",
            packet(PONG).u64(u64::MAX).build(),
            unasked(),
        ),
        ("a drain", drain(0).build(), Outcome::Ignored),
        (
            "a drain after 2^64 - 1 calls",
            drain(u64::MAX).build(),
            Outcome::Ignored,
        ),
        ("ten drains", ten, Outcome::Ignored),
        (
            "a close with a reason",
            packet(crate::wire::CLOSE).code(5).bytes("why not").into(),
            Outcome::Over,
        ),
        (
            "a close with the largest code",
            packet(crate::wire::CLOSE).code(u16::MAX).into(),
            Outcome::Over,
        ),
        (
            "a cancel, a message and an end of a new call",
            [
                stream(1, TALK).build(),
                next(1, "a").build(),
                packet(CANCEL).call(1).build(),
                next(1, "b").build(),
                end(1).build(),
            ]
            .concat(),
            ended(1, ""),
        ),
    ]
    .map(|(name, bytes, outcome)| case(name, Open, bytes, outcome))
    .into()
}
