//! Valid and invalid packets of a callee: the server has called back, as call 2.

use crate::{
    cases::{
        Case, Outcome,
        State::{self, Called, CalledForStream, Failed, ReplyChunk, Replying},
        case, ended, over_limit, violation,
    },
    wire::{
        CONTINUES, CREDIT, END, END_OF, MESSAGE, MORE, NO_MESSAGE, REPLIES, REPLY, Wire, cancel,
        credit, message, next, packet, stream, unary,
    },
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = wrong();
    cases.extend(chunks());
    cases.extend(after_the_end());
    cases.extend(statuses());
    cases.extend(apart());
    cases.extend(large());
    cases
}

fn reply() -> Wire {
    packet(REPLY).call(2)
}

fn chunk(flags: u8, bytes: &str) -> Wire {
    packet(MESSAGE).call(2).flags(flags).bytes(bytes)
}

/// Packets that the state of the server's call does not allow.
fn wrong() -> Vec<Case> {
    let not_begun = "message packet for call 2, whose reply has not begun";
    let begun = "reply packet for call 2, whose reply has begun already";
    let itself = "cancel packet for call 2, which the sender of the packet may not send";
    let other = "call packet for call 2, which the sender of the packet may not send";
    let again = || reply().flags(NO_MESSAGE);
    let with_message = || reply().flags(END);
    let rows: [(&str, State, Wire, &str); 8] = [
        (
            "a message before its reply",
            Called,
            next(2, "a"),
            not_begun,
        ),
        (
            "a chunk before its reply",
            Called,
            chunk(CONTINUES, "a"),
            not_begun,
        ),
        ("a cancel of the server's call", Called, cancel(2), itself),
        (
            "a call with the server's id",
            Called,
            unary(2, 1, "a"),
            other,
        ),
        ("a stream with the server's id", Called, stream(2, 6), other),
        ("a second reply", Replying, again(), begun),
        (
            "a second reply with a message",
            Replying,
            with_message(),
            begun,
        ),
        ("a reply within a message", ReplyChunk, reply(), begun),
    ];
    violations(rows)
}

/// Chunks of a reply in the wrong order.
fn chunks() -> Vec<Case> {
    let none = "message packet for call 2, which has no message to continue";
    let open = "message packet for call 2, whose message before is not complete";
    let sum = "a message for call 2 whose chunks do not add up to its stated 3 bytes";
    let one = "a message for call 2 whose chunks do not add up to its stated 1 bytes";
    let at_once = reply().flags(MORE).u32(1).bytes("a");
    let goes_on = chunk(CONTINUES | MORE, "bc");
    let rows: [(&str, State, Wire, &str); 6] = [
        (
            "a reply's chunk of nothing",
            Replying,
            chunk(CONTINUES, "a"),
            none,
        ),
        (
            "a message within the reply's",
            ReplyChunk,
            next(2, "new"),
            open,
        ),
        (
            "a reply's chunks one short",
            ReplyChunk,
            chunk(CONTINUES, "b"),
            sum,
        ),
        (
            "a reply's chunks one long",
            ReplyChunk,
            chunk(CONTINUES, "bcd"),
            sum,
        ),
        ("a reply's chunks that go on", ReplyChunk, goes_on, sum),
        (
            "a reply's total that is there",
            CalledForStream,
            at_once,
            one,
        ),
    ];
    violations(rows)
}

fn violations<const N: usize>(rows: [(&str, State, Wire, &str); N]) -> Vec<Case> {
    let rows = rows.into_iter();
    rows.map(|(name, state, bytes, text)| case(name, state, bytes, violation(text)))
        .collect()
}

/// A callee sends nothing after its end.
fn after_the_end() -> Vec<Case> {
    [
        ("reply", reply().flags(END)),
        ("message", next(2, "a")),
        ("end", packet(END_OF).call(2)),
        ("credit", credit(2, 1024)),
    ]
    .map(|(kind, bytes)| {
        let text = format!("{kind} packet for call 2, which is not in flight");
        let name = format!("{kind} packet after the end of a callee");
        case(name, Failed, bytes, violation(text))
    })
    .into()
}

/// Whatever the peer answers, the handler that called it gets a status.
fn statuses() -> Vec<Case> {
    let failed = "a call to another service failed";
    let mut cases = Vec::new();
    for code in [1, 2, 3, 16, 17, 1_000, u16::MAX] {
        let name = format!("a status with code {code}");
        let bytes = packet(END_OF).call(2).code(code);
        cases.push(case(name, Called, bytes, ended(13, failed)));
    }
    for (name, code) in [("deadline exceeded", 4), ("unavailable", 14)] {
        let name = format!("a status of {name}");
        let bytes = packet(END_OF).call(2).code(code);
        cases.push(case(name, Called, bytes, ended(code, failed)));
    }
    let read = || Outcome::Reply(message("all read"));
    let rows: [(&str, State, Wire, Outcome); 7] = [
        (
            "a good end and no reply",
            Called,
            packet(END_OF).call(2),
            ended(13, failed),
        ),
        (
            "a reply that is no message",
            Called,
            reply().flags(END).bytes([0xff]),
            ended(13, failed),
        ),
        (
            "a reply",
            Called,
            reply().flags(END).bytes(message("back")),
            Outcome::Reply(message("back")),
        ),
        (
            "an end of a stream",
            Replying,
            packet(END_OF).call(2),
            read(),
        ),
        (
            "an end within a message of the reply",
            ReplyChunk,
            packet(END_OF).call(2).code(10),
            ended(13, failed),
        ),
        (
            "one message for a stream",
            CalledForStream,
            reply().flags(END).bytes(message("one")),
            read(),
        ),
        (
            "credit for the server's call",
            Called,
            credit(2, 1024),
            Outcome::Ignored,
        ),
    ];
    let rows = rows.into_iter();
    cases.extend(rows.map(|(name, state, bytes, outcome)| case(name, state, bytes, outcome)));
    cases
}

/// Replies whose message and end come apart.
fn apart() -> Vec<Case> {
    let failed = "a call to another service failed";
    let back = || message("back");
    let apart = [
        (
            "a reply, then its end",
            reply().bytes(back()),
            packet(END_OF).call(2),
            true,
        ),
        (
            "a beginning, then a last message",
            reply().flags(NO_MESSAGE),
            next(2, back()).flags(END),
            true,
        ),
        (
            "a reply that begins and ends",
            reply().flags(NO_MESSAGE),
            packet(END_OF).call(2),
            false,
        ),
        (
            "two replies",
            reply().bytes(back()),
            next(2, back()).flags(END),
            false,
        ),
    ];
    let cases = apart.map(|(name, first, second, is_one)| {
        let outcome = match is_one {
            true => Outcome::Reply(back()),
            false => ended(13, failed),
        };
        case(
            name,
            Called,
            [first.build(), second.build()].concat(),
            outcome,
        )
    });
    cases.into()
}

fn large() -> Vec<Case> {
    let total = |total: u32| reply().flags(MORE).u32(total).bytes("a");
    let failed = "a call to another service failed";
    [
        (
            "a reply with a total above the limit",
            total(4_194_305).build(),
            ended(13, failed),
        ),
        (
            "a reply with the largest total",
            total(u32::MAX).build(),
            ended(13, failed),
        ),
        (
            "replies of too much credit",
            packet(CREDIT).flags(REPLIES).u32(u32::MAX).build(),
            violation("credit that adds up to more than 2147483648"),
        ),
        (
            "a reply that is too large for a packet",
            reply().flags(END).claim(131_073).build(),
            over_limit(
                "a packet with 131073 bytes of payload; \
                 this side takes at most 131072 (max_packet_bytes)",
            ),
        ),
    ]
    .map(|(name, bytes, outcome)| case(name, CalledForStream, bytes, outcome))
    .into()
}
