//! Errors in the head of a packet, or in the bytes before all packets.

use crate::{
    cases::{
        Case, KINDS, Outcome,
        State::{Closed, Nothing, Open, Preface},
        case, over_limit, right, violation,
    },
    wire::{
        CALL, CANCEL, CLOSE, CONTINUES, CREDIT, DRAIN, END, END_OF, HELLO, MESSAGE, METADATA, MORE,
        MOVE, NO_MESSAGE, ONE_WAY, PING, PONG, REPLIES, REPLY, TIMEOUT, packet,
    },
};

/// The flags that each kind does not allow.
const FOREIGN_FLAGS: [(u8, &[u8]); 12] = [
    (HELLO, &ALL_FLAGS),
    (PING, &ALL_FLAGS),
    (PONG, &ALL_FLAGS),
    (DRAIN, &ALL_FLAGS),
    (CLOSE, &ALL_FLAGS),
    (CALL, &[CONTINUES, REPLIES]),
    (REPLY, &[TIMEOUT, ONE_WAY, CONTINUES, REPLIES]),
    (MESSAGE, &[METADATA, TIMEOUT, ONE_WAY, NO_MESSAGE, REPLIES]),
    (
        END_OF,
        &[END, MORE, TIMEOUT, ONE_WAY, NO_MESSAGE, CONTINUES],
    ),
    (CANCEL, &ALL_FLAGS),
    (
        CREDIT,
        &[END, MORE, METADATA, TIMEOUT, ONE_WAY, NO_MESSAGE, CONTINUES],
    ),
    (MOVE, &ALL_FLAGS),
];

const ALL_FLAGS: [u8; 8] = [
    END, MORE, METADATA, TIMEOUT, ONE_WAY, NO_MESSAGE, CONTINUES, REPLIES,
];

/// Flags of one kind that exclude each other, or that need another.
const EXCLUSIVE_FLAGS: [(u8, u8); 14] = [
    (CALL, END | MORE),
    (CALL, END | NO_MESSAGE),
    (CALL, MORE | NO_MESSAGE),
    (CALL, END | MORE | NO_MESSAGE),
    (CALL, ONE_WAY),
    (CALL, ONE_WAY | METADATA | TIMEOUT),
    (CALL, ONE_WAY | NO_MESSAGE),
    (CALL, ONE_WAY | END | MORE),
    (CALL, ONE_WAY | END | NO_MESSAGE),
    (REPLY, END | MORE),
    (REPLY, END | NO_MESSAGE),
    (REPLY, MORE | NO_MESSAGE),
    (MESSAGE, END | MORE),
    (MESSAGE, END | MORE | CONTINUES),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = prefaces();
    for kind in [0, 12, 13, 16, 32, 64, 99, 127] {
        let text = format!("unknown packet kind {kind}");
        cases.push(case(text.clone(), Open, packet(kind), violation(text)));
    }
    cases.extend(skipped());
    cases.extend(flags());
    cases.extend(codes());
    cases.extend(call_ids());
    cases.extend(lengths());
    cases.extend(order());
    cases
}

/// Packets of unknown kinds from 129 on, which are skipped whatever they hold.
fn skipped() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in [129, 200, 254, 255] {
        let name = format!("a packet of kind {kind}");
        let any = packet(kind).flags(0xff).code(7).call(u32::MAX);
        let any = any.bytes([kind; 1000]);
        cases.push(case(name, Open, any, Outcome::Ignored));
        let text = "unknown packet before the hello";
        let name = format!("a packet of kind {kind} before the hello");
        cases.push(case(name, Preface, packet(kind), violation(text)));
        let text = "a packet with 131073 bytes of payload; this side takes at most 131072 \
                    (max_packet_bytes)";
        let name = format!("a packet of kind {kind} that is too large");
        let large = packet(kind).claim(131_073);
        cases.push(case(name, Open, large, over_limit(text)));
    }
    cases
}

fn prefaces() -> Vec<Case> {
    let hinted = |begins: &str, hint: &str| {
        violation(format!(
            "not a wawo connection: it begins with \"{begins}\", not with \"WAWO/1\\r\\n\"{hint}"
        ))
    };
    let not_wawo = |begins: &str| hinted(begins, "");
    let version = |begins: &str| {
        let text =
            format!("wawo version \"{begins}\" is not spoken here; this side speaks version 1");
        Outcome::Close(3, text)
    };
    let cases: [(&str, &[u8], Outcome); 12] = [
        ("a single wrong byte", b"X", not_wawo("X")),
        ("a line feed", b"\n", not_wawo(r"\n")),
        (
            "http/1.1",
            b"GET / HTTP/1.1\r\n\r\n",
            hinted("GET / HT", "; the peer takes this side for an HTTP server"),
        ),
        (
            "http/2",
            b"PRI * HTTP/2.0\r\n\r\n",
            hinted("PRI * HT", "; the peer speaks HTTP/2, as gRPC does"),
        ),
        (
            "tls",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
            hinted(
                r"\x16\x03\x01\x02\x00\x01\x00\x01",
                "; the peer begins with TLS, which this side does not speak here: connect without \
                 TLS, or serve TLS at this address",
            ),
        ),
        ("zeros", &[0; 64], not_wawo(&r"\x00".repeat(8))),
        ("ones", &[0xff; 64], not_wawo(&r"\xff".repeat(8))),
        ("lower case", b"wawo/1\r\n", not_wawo(r"wawo/1\r\n")),
        (
            "a packet and no preface",
            b"\0\0\0\0\x01\0\0\0\0\0\0\0",
            not_wawo(r"\x00\x00\x00\x00\x01\x00\x00\x00"),
        ),
        ("version 2", b"WAWO/2\r\n", version(r"WAWO/2\r\n")),
        ("version 10", b"WAWO/10\r\n", version(r"WAWO/10\r")),
        ("a bare line feed", b"WAWO/1\n\n", version(r"WAWO/1\n\n")),
    ];
    let cases = cases.into_iter();
    let cases = cases.map(|(name, bytes, outcome)| case(name, Nothing, bytes, outcome));
    cases.collect()
}

fn flags() -> Vec<Case> {
    let foreign = FOREIGN_FLAGS
        .iter()
        .flat_map(|(kind, flags)| flags.iter().map(|flag| (*kind, *flag)));
    let wrong = |(kind, flags)| {
        let text = format!(
            "{} packet with flags {flags:#04x}, which it cannot have",
            name(kind)
        );
        case(
            text.clone(),
            Open,
            right(kind).flags(flags),
            violation(text),
        )
    };
    foreign.chain(EXCLUSIVE_FLAGS).map(wrong).collect()
}

fn codes() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, name) in KINDS {
        if kind == END_OF || kind == CLOSE {
            continue;
        }
        for code in [1, u16::MAX] {
            let text = format!("{name} packet with code {code}");
            let mut bytes = right(kind).code(code);
            // The fields that such a packet needs.
            bytes = match kind {
                CALL | MESSAGE => bytes.flags(END),
                _ => bytes,
            };
            cases.push(case(text.clone(), Open, bytes, violation(text)));
        }
    }
    cases
}

fn call_ids() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut wrong = |kind: u8, flags: u8, id: u32| {
        let text = format!("{} packet with call id {id}", name(kind));
        let bytes = right(kind).flags(flags).call(id);
        let name = format!("{text} and flags {flags:#04x}");
        cases.push(case(name, Open, bytes, violation(text)));
    };
    for kind in [HELLO, PING, PONG, DRAIN, CLOSE, MOVE] {
        wrong(kind, 0, 1);
        wrong(kind, 0, u32::MAX);
    }
    for kind in [REPLY, MESSAGE, END_OF, CANCEL] {
        wrong(kind, 0, 0);
    }
    wrong(CALL, END, 0);
    wrong(CALL, NO_MESSAGE, 0);
    wrong(CALL, ONE_WAY | MORE, 0);
    wrong(CALL, ONE_WAY | END, 1);
    wrong(CREDIT, REPLIES, 1);
    wrong(CREDIT, REPLIES, 2);
    cases
}

fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, name) in KINDS {
        let (state, max) = match kind {
            HELLO => (Preface, 16_384),
            _ => (Open, 131_072),
        };
        for length in [max + 1, 1 << 31, u32::MAX] {
            let text = format!(
                "a packet with {length} bytes of payload; \
                 this side takes at most {max} (max_packet_bytes)"
            );
            let flags = if kind == CALL { END } else { 0 };
            let bytes = right(kind).flags(flags).claim(length);
            let name = format!("{name} packet with {length} bytes");
            cases.push(case(name, state, bytes, over_limit(text)));
        }
    }
    cases
}

/// Packets before the hello, and after the last one.
fn order() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, name) in KINDS {
        let text = format!("{name} packet before the hello");
        let outcome = match kind {
            HELLO => Outcome::Ignored,
            CLOSE => Outcome::Over,
            _ => violation(text.clone()),
        };
        cases.push(case(text, Preface, right(kind), outcome));
        let name = format!("{name} packet after a close");
        cases.push(case(name, Closed, right(kind), Outcome::Over));
    }
    cases
}

fn name(kind: u8) -> &'static str {
    let found = KINDS.iter().find(|(number, _)| *number == kind);
    found.expect("one of the kinds").1
}
