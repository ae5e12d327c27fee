//! Metadata that breaks a rule or a limit (docs/protocol.md, "Metadata").

use crate::{
    cases::{
        Case, Outcome,
        State::{Called, Open},
        case, ended, over_limit, violation,
    },
    wire::{END, END_OF, METADATA, REPLY, SAY, Wire, call, message, packet, unary_with},
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = keys_and_values();
    cases.extend(sizes());
    cases.extend(cut_off());
    cases.extend(depths());
    cases.extend(of_callees());
    cases
}

/// A call of `say`, up to its metadata.
fn say() -> Wire {
    call(1, SAY, END | METADATA)
}

/// A call of `say` with `count` entries of one byte.
fn entries(count: u16) -> Wire {
    let empty = packet(0).entry("k", "").build()[12..].to_vec();
    say().u16(count).bytes(empty.repeat(count.into()))
}

fn served(call: Wire) -> (Wire, Outcome) {
    (call.bytes(message("hi")), Outcome::Reply(message("hi")))
}

fn keys_and_values() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, key) in [
        ("a key with a capital", "Key"),
        ("a key with a space", "a key"),
        ("a key with a line feed", "key\n"),
        ("a key with a zero", "k\0"),
        ("a key with a colon", ":path"),
        ("a key with a letter that is not ASCII", "sch\u{fc}ssel"),
    ] {
        let text =
            format!("metadata key {key:?}: only a-z, 0-9, `-`, `_` and `.` may stand in a key");
        let bytes = say().u16(1).entry(key, "");
        cases.push(case(name, Open, bytes, violation(text)));
    }
    let empty = say().u16(1).entry("", "value");
    let text = "metadata key of 0 bytes; a key has 1 to 255";
    cases.push(case("an empty key", Open, empty, violation(text)));
    for (name, value) in [
        ("a value with a line feed", &b"a\nb"[..]),
        ("a value with a carriage return", b"a\rb"),
        ("a value with a zero", b"\0"),
        ("a value with a delete", b"\x7f"),
        ("a value that is not ASCII", b"\xc3\xa9"),
        ("a value that is not text", b"\xff"),
    ] {
        let text = "metadata value of \"key\" is not printable ASCII; \
                    a key that ends in `-bin` takes any bytes";
        let bytes = say().u16(1).entry("key", value);
        cases.push(case(name, Open, bytes, violation(text)));
    }
    let any = say().u16(1).entry("key-bin", [0, 10, 127, 255]);
    let (bytes, outcome) = served(any);
    cases.push(case("a binary value of any bytes", Open, bytes, outcome));
    cases
}

fn sizes() -> Vec<Case> {
    let too_many = |count: u32| {
        let text = format!(
            "metadata with {count} entries; this side takes at most 64 (max_metadata_entries)"
        );
        over_limit(text)
    };
    let too_large = |size: u32| {
        let text = format!(
            "metadata with {size} bytes or more; this side takes at most 8192 (max_metadata_bytes)"
        );
        over_limit(text)
    };
    let three = say().u16(3).entry("a", [b'v'; 3_000]);
    let three = three.entry("b", [b'v'; 3_000]).entry("c", [b'v'; 3_000]);
    let thousands = say().u16(64).bytes(
        packet(0).entry("k", [b'v'; 200]).build()[12..]
            .to_vec()
            .repeat(64),
    );
    let (most, most_served) = served(say().u16(1).entry("k", [b'v'; 8_186]));
    let (many, many_served) = served(entries(64));
    let (none, none_served) = served(say().u16(0));
    [
        ("65 entries", entries(65), too_many(65)),
        ("10,000 entries", entries(10_000), too_many(10_000)),
        (
            "65,535 entries that are not there",
            say().u16(u16::MAX),
            too_many(65_535),
        ),
        (
            "a value one byte too long",
            say().u16(1).entry("k", [b'v'; 8_187]),
            too_large(8_193),
        ),
        (
            "a value of 65,535 bytes",
            say().u16(1).entry("k", [b'v'; 65_535]),
            too_large(65_541),
        ),
        ("three values too long together", three, too_large(9_014)),
        ("64 entries too long together", thousands, too_large(8_366)),
        ("8,192 bytes of metadata", most, most_served),
        ("64 entries of the same key", many, many_served),
        ("metadata of no entries", none, none_served),
    ]
    .map(|(name, bytes, outcome)| case(name, Open, bytes, outcome))
    .into()
}

/// Blocks that claim more bytes than the packet has. The lengths include the eight bytes of the
/// ids.
fn cut_off() -> Vec<Case> {
    let wrong = |length: usize| {
        let text =
            format!("call packet with {length} bytes of payload, which does not fit its fields");
        violation(text)
    };
    [
        ("an entry that is missing", say().u16(1), wrong(10)),
        (
            "the second of two entries is missing",
            say().u16(2).entry("k", ""),
            wrong(14),
        ),
        (
            "a key that is cut off",
            say().u16(1).bytes([5]).bytes("key"),
            wrong(14),
        ),
        (
            "a value without its length",
            say().u16(1).bytes([3]).bytes("key"),
            wrong(14),
        ),
        (
            "a value that is cut off",
            say().u16(1).bytes([3]).bytes("key").u16(u16::MAX),
            wrong(16),
        ),
    ]
    .map(|(name, bytes, outcome)| case(name, Open, bytes, outcome))
    .into()
}

/// Depths of calls; this limit ends only the call.
fn depths() -> Vec<Case> {
    let no_number = |depth: &str| {
        let text = format!("the metadata `wawo-depth` is {depth:?}, which is no number");
        ended(3, text)
    };
    let too_deep = |depth: &str| {
        let text = format!(
            "{depth} calls led to this one, each made by the handler of the one before; \
             at most 16 may (max_call_depth)"
        );
        ended(8, text)
    };
    [
        ("0", Outcome::Reply(message("hi"))),
        ("16", Outcome::Reply(message("hi"))),
        ("17", too_deep("17")),
        ("4294967295", too_deep("4294967295")),
        ("4294967296", no_number("4294967296")),
        ("-1", no_number("-1")),
        ("", no_number("")),
        ("deep", no_number("deep")),
    ]
    .map(|(depth, outcome)| {
        let bytes = unary_with(1, SAY, "hi", ("wawo-depth", depth));
        case(format!("a depth of {depth:?}"), Open, bytes, outcome)
    })
    .into()
}

fn of_callees() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, name, flags) in [(REPLY, "reply", END | METADATA), (END_OF, "end", METADATA)] {
        let with = || packet(kind).call(2).flags(flags);
        let many = with().u16(65);
        let text = "metadata with 65 entries; this side takes at most 64 (max_metadata_entries)";
        cases.push(case(
            format!("65 entries in the {name} to the server"),
            Called,
            many,
            over_limit(text),
        ));
        let huge = with().u16(1).entry("k", [b'v'; 8_187]);
        let text =
            "metadata with 8193 bytes or more; this side takes at most 8192 (max_metadata_bytes)";
        cases.push(case(
            format!("a huge value in the {name} to the server"),
            Called,
            huge,
            over_limit(text),
        ));
        let capital = with().u16(1).entry("Key", "");
        let text = "metadata key \"Key\": only a-z, 0-9, `-`, `_` and `.` may stand in a key";
        cases.push(case(
            format!("a key with a capital in the {name} to the server"),
            Called,
            capital,
            violation(text),
        ));
    }
    cases
}
