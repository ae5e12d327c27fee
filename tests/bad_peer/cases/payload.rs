//! Payloads that do not fit the fields of their packets.

use crate::{
    cases::{Case, Outcome, State::Open, case, violation},
    wire::{
        CALL, CANCEL, CLOSE, CONTINUES, CREDIT, DRAIN, END, END_OF, MESSAGE, METADATA, MORE, MOVE,
        NO_MESSAGE, ONE_WAY, PING, PONG, REPLIES, REPLY, TIMEOUT, Wire, packet,
    },
};

/// Kind, flags, call, and invalid lengths of payloads of zeros.
const WRONG_LENGTHS: [(&str, u8, u8, u32, &[usize]); 23] = [
    ("ping", PING, 0, 0, &[0, 7, 9, 131_072]),
    ("pong", PONG, 0, 0, &[0, 7, 9, 131_072]),
    ("drain", DRAIN, 0, 0, &[0, 7, 9, 131_072]),
    ("cancel", CANCEL, 0, 1, &[1, 4, 131_072]),
    ("credit", CREDIT, 0, 1, &[0, 3]),
    ("credit", CREDIT, 0, 0, &[0, 3]),
    ("credit", CREDIT, REPLIES, 0, &[0, 3]),
    ("call", CALL, END, 1, &[0, 4, 7]),
    ("call", CALL, NO_MESSAGE, 1, &[0, 7, 9, 131_072]),
    ("call", CALL, END | TIMEOUT, 1, &[8, 11]),
    ("call", CALL, NO_MESSAGE | TIMEOUT, 1, &[11, 13]),
    ("call", CALL, END | METADATA, 1, &[8, 9]),
    ("call", CALL, NO_MESSAGE | METADATA, 1, &[11]),
    ("call", CALL, MORE, 1, &[8, 11, 12]),
    ("call", CALL, MORE | ONE_WAY, 1, &[8, 11, 12]),
    ("call", CALL, MORE | TIMEOUT | METADATA, 1, &[13, 17, 18]),
    ("reply", REPLY, NO_MESSAGE, 2, &[1, 131_072]),
    ("reply", REPLY, END | METADATA, 2, &[0, 1]),
    ("reply", REPLY, MORE, 2, &[0, 3, 4]),
    ("message", MESSAGE, MORE, 1, &[0, 3, 4]),
    ("message", MESSAGE, CONTINUES, 1, &[0]),
    ("end", END_OF, METADATA, 1, &[0, 1, 3]),
    ("move", MOVE, 0, 0, &[0, 7]),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = lengths();
    cases.extend(texts());
    cases.extend(moves());
    let zero = "credit packet with bytes 0";
    for (name, id, flags) in [
        ("no credit for a call", 1, 0),
        ("no credit for requests", 0, 0),
        ("no credit for replies", 0, REPLIES),
    ] {
        let bytes = packet(CREDIT).call(id).flags(flags).u32(0);
        cases.push(case(name, Open, bytes, violation(zero)));
    }
    cases
}

/// The raw peer connects, so a request to move that is right is ignored.
fn moves() -> Vec<Case> {
    let to = |address: Vec<u8>| packet(MOVE).u64(0).bytes(address);
    let long = "an address of 1025 bytes to move to; it may have at most 1024";
    let reversed = "the last moment to move, 1ms, comes before the first, 2ms";
    let not_utf_8 = "move packet whose text is not UTF-8";
    let longest = to(vec![b'a'; 1024]);
    vec![
        case(long, Open, to(vec![b'a'; 1025]), violation(long)),
        case("the longest address", Open, longest, Outcome::Ignored),
        case(not_utf_8, Open, to(vec![0xff]), violation(not_utf_8)),
        case(
            reversed,
            Open,
            packet(MOVE).u32(2).u32(1),
            violation(reversed),
        ),
    ]
}

fn does_not_fit(kind: &str, length: usize) -> String {
    format!("{kind} packet with {length} bytes of payload, which does not fit its fields")
}

fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, number, flags, id, lengths) in WRONG_LENGTHS {
        for &length in lengths {
            let bytes = packet(number).flags(flags).call(id);
            let text = does_not_fit(kind, length);
            let name = format!("{text} ({flags:#04x}, call {id})");
            let bytes = bytes.bytes(vec![0; length]);
            cases.push(case(name, Open, bytes, violation(text)));
        }
    }
    for (name, flags) in [
        ("a chunk that goes on with nothing", CONTINUES | MORE),
        ("a chunk that ends with nothing", CONTINUES | END),
    ] {
        let bytes = packet(MESSAGE).flags(flags).call(1);
        cases.push(case(
            name,
            Open,
            bytes,
            violation(does_not_fit("message", 0)),
        ));
    }
    let long = packet(CREDIT).u32(1024).bytes([0]);
    let text = does_not_fit("credit", 5);
    cases.push(case(
        "a credit that is too long",
        Open,
        long,
        violation(text),
    ));
    cases
}

/// Texts that are cut off or not UTF-8.
fn texts() -> Vec<Case> {
    let end = || packet(END_OF).call(1);
    let key = |packet: Wire| packet.u16(1).entry([0xff, 0xfe], "");
    let rows: [(&str, Wire, &str); 9] = [
        (
            "half the length of a text",
            end().bytes([0]),
            "end packet with 1 bytes of payload, which does not fit its fields",
        ),
        (
            "a text that is cut off",
            end().u16(5).bytes("text"),
            "end packet with 6 bytes of payload, which does not fit its fields",
        ),
        (
            "a text of 65,535 bytes that is not there",
            end().u16(u16::MAX),
            "end packet with 2 bytes of payload, which does not fit its fields",
        ),
        (
            "a status that is not UTF-8",
            end().u16(1).bytes([0xff]),
            "end packet whose text is not UTF-8",
        ),
        (
            "a surrogate in a status",
            end().u16(3).bytes([0xed, 0xa0, 0x80]),
            "end packet whose text is not UTF-8",
        ),
        (
            "a reason that is not UTF-8",
            packet(CLOSE).bytes([0xc3]),
            "close packet whose text is not UTF-8",
        ),
        (
            "a key of a call that is not UTF-8",
            key(packet(CALL).call(1).flags(END | METADATA).u64(0)),
            "call packet whose text is not UTF-8",
        ),
        (
            "a key of a reply that is not UTF-8",
            key(packet(REPLY).call(2).flags(END | METADATA)),
            "reply packet whose text is not UTF-8",
        ),
        (
            "a key of an end that is not UTF-8",
            key(end().flags(METADATA)),
            "end packet whose text is not UTF-8",
        ),
    ];
    let rows = rows.into_iter();
    rows.map(|(name, bytes, text)| case(name, Open, bytes, violation(text)))
        .collect()
}
