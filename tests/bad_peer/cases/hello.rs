//! Invalid hellos, and unusual but valid ones.

use crate::{
    cases::{
        Case, Outcome,
        State::{Open, Preface},
        case, violation,
    },
    wire::{HELLO, Wire, hello_entry, packet},
};

/// Entry, name, minimum and maximum of each limit.
const LIMITS: [(u16, &str, u32, u32); 8] = [
    (1, "max_packet_bytes", 16_384, 1 << 30),
    (2, "max_message_bytes", 65_536, 1 << 30),
    (3, "max_metadata_bytes", 8_192, 1 << 30),
    (4, "max_metadata_entries", 64, 65_535),
    (5, "max_calls", 64, 1 << 30),
    (6, "initial_credit_bytes", 65_536, 1 << 30),
    (7, "request_credit_bytes", 65_536, 1 << 30),
    (12, "reply_credit_bytes", 65_536, 1 << 30),
];

/// The entry of the default timeout, which is also a number.
const TIMEOUT: u16 = 8;
const CLAIMED_NAME: u16 = 9;
const CREDENTIALS: u16 = 10;
const SERVICES: u16 = 11;
const FEATURES: u16 = 13;
const ROLE: u16 = 14;
const KEEP_ALIVE: u16 = 15;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (entry, name, least, most) in LIMITS {
        for value in [0, least - 1, most + 1, u32::MAX] {
            let text =
                format!("in the hello, {name} is {value}; it must be from {least} to {most}");
            let bytes = hello([hello_entry(entry, &value.to_be_bytes())]);
            cases.push(case(text.clone(), Preface, bytes, violation(text)));
        }
        let bytes = hello([hello_entry(entry, &least.to_be_bytes())]);
        let name = format!("{name} at its least");
        cases.push(case(name, Preface, bytes, Outcome::Ignored));
    }
    cases.extend(numbers());
    cases.extend(twice());
    cases.extend(cut_off());
    cases.extend(roles());
    cases.extend(others());
    cases
}

/// The raw peer connects.
fn roles() -> Vec<Case> {
    let mut cases = Vec::new();
    for role in [0, 3, 255] {
        let text =
            format!("the role in the hello is {role}; it must be 1 (connecting) or 2 (accepting)");
        let bytes = hello([hello_entry(ROLE, &[role])]);
        cases.push(case(text.clone(), Preface, bytes, violation(text)));
    }
    for length in [0, 2, 4] {
        let text = format!("hello entry {ROLE} has {length} bytes, not 1");
        let bytes = hello([hello_entry(ROLE, &vec![1; length])]);
        cases.push(case(text.clone(), Preface, bytes, violation(text)));
    }
    let text = "both sides have accepted: the peer is a server too, and no client";
    let accepts = hello([hello_entry(ROLE, &[2])]);
    cases.push(case("another server", Preface, accepts, violation(text)));
    let connects = hello([hello_entry(ROLE, &[1])]);
    cases.push(case("a client", Preface, connects, Outcome::Ignored));
    cases
}

fn hello<const N: usize>(entries: [Vec<u8>; N]) -> Wire {
    packet(HELLO).bytes(entries.concat())
}

/// Numbers have four bytes.
fn numbers() -> Vec<Case> {
    let mut cases = Vec::new();
    let entries = LIMITS
        .iter()
        .map(|(entry, ..)| *entry)
        .chain([TIMEOUT, FEATURES, KEEP_ALIVE]);
    for entry in entries {
        for length in [0, 3, 5, 8] {
            let text = format!("hello entry {entry} has {length} bytes, not 4");
            let bytes = hello([hello_entry(entry, &vec![1; length])]);
            cases.push(case(text.clone(), Preface, bytes, violation(text)));
        }
    }
    cases
}

fn twice() -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in 1..=KEEP_ALIVE {
        let least = LIMITS.iter().find(|(number, ..)| *number == entry);
        let value = match least {
            Some((_, _, least, _)) => least.to_be_bytes().to_vec(),
            None if entry == ROLE => vec![1],
            None => b"text".to_vec(),
        };
        let bytes = hello([hello_entry(entry, &value), hello_entry(entry, &value)]);
        let text = format!("entry {entry} stands twice in the hello");
        cases.push(case(text.clone(), Preface, bytes, violation(text)));
    }
    cases
}

fn cut_off() -> Vec<Case> {
    let whole = hello_entry(CLAIMED_NAME, b"somebody");
    let claims = |length: u32| {
        let mut entry = whole.clone();
        entry[2..6].copy_from_slice(&length.to_be_bytes());
        entry
    };
    [
        ("a hello of one byte", whole[..1].to_vec()),
        ("a hello that ends after a type", whole[..2].to_vec()),
        ("a hello that ends within a length", whole[..5].to_vec()),
        ("a hello that ends before a value", whole[..6].to_vec()),
        ("a hello that ends within a value", whole[..13].to_vec()),
        ("an entry that claims one byte more", claims(9)),
        ("an entry that claims four gigabytes", claims(u32::MAX)),
        ("an entry that claims one byte less", claims(7)),
    ]
    .map(|(name, bytes)| {
        let text = "a hello that ends within an entry";
        case(name, Preface, hello([bytes]), violation(text))
    })
    .into()
}

fn others() -> Vec<Case> {
    let entry = hello_entry;
    let claimed_name = "the claimed name in the hello is not UTF-8 of at most 255 bytes";
    let over_packet = "in the hello, max_metadata_bytes is 16321; \
                       with max_packet_bytes 16384 it may be at most 16320";
    let fine = || Outcome::Ignored;
    let in_preface: [(&str, Wire, Outcome); 4] = [
        (
            "a claimed name of 256 bytes",
            hello([entry(CLAIMED_NAME, &[b'i'; 256])]),
            violation(claimed_name),
        ),
        (
            "a claimed name that is not UTF-8",
            hello([entry(CLAIMED_NAME, b"\xff")]),
            violation(claimed_name),
        ),
        (
            "metadata that does not fit into a packet",
            hello([entry(3, &16_321_u32.to_be_bytes())]),
            violation(over_packet),
        ),
        (
            "metadata that just fits into a packet",
            hello([entry(3, &16_320_u32.to_be_bytes())]),
            fine(),
        ),
    ];
    let other = hello([entry(5, &1_000_u32.to_be_bytes())]);
    let in_preface = in_preface.into_iter();
    let in_preface = in_preface.map(|(name, bytes, outcome)| case(name, Preface, bytes, outcome));
    let second = |name, bytes| case(name, Open, bytes, violation("a second hello"));
    in_preface
        .chain(harmless())
        .chain([
            second("the same hello again", hello([])),
            second("a hello with other limits", other),
        ])
        .collect()
}

/// Hellos that are unusual, and allowed.
fn harmless() -> impl Iterator<Item = Case> {
    let entry = hello_entry;
    let hellos: [(&str, Wire); 11] = [
        (
            "a claimed name of 255 bytes",
            hello([entry(CLAIMED_NAME, &[b'i'; 255])]),
        ),
        ("an empty claimed name", hello([entry(CLAIMED_NAME, b"")])),
        (
            "credentials that fill the hello",
            hello([entry(CREDENTIALS, &[7; 16_378])]),
        ),
        (
            "services that are no table",
            hello([entry(SERVICES, &[0xff; 100])]),
        ),
        (
            "a default timeout of 49 days",
            hello([entry(TIMEOUT, &[0xff; 4])]),
        ),
        ("an unknown entry 0", hello([entry(0, b"?")])),
        ("an unknown entry 16", hello([entry(16, b"?")])),
        (
            "features that nobody knows",
            hello([entry(FEATURES, &[0xff; 4])]),
        ),
        (
            "a keep-alive of 49 days",
            hello([entry(KEEP_ALIVE, &[0xff; 4])]),
        ),
        (
            "an unknown entry 65535, empty",
            hello([entry(u16::MAX, b"")]),
        ),
        (
            "2,730 unknown entries",
            packet(HELLO).bytes(entry(99, b"").repeat(2_730)),
        ),
    ];
    let cases = hellos.into_iter();
    cases.map(|(name, bytes)| case(name, Preface, bytes, Outcome::Ignored))
}
