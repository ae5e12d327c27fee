//! Requests to connect anew, packets of kinds that are not known, and the roles of the sides.

use std::time::Duration;

use bytes::BytesMut;
use wawo_protocol::{
    CloseCode, Config, ConnectionError, Event, PeerMisbehaved, Relocation, RelocationError, Side,
    packet::{PREFACE, Packet},
};

use crate::{
    pair::{Pair, beginning, config, connection, unary},
    raw::{Raw, call, last, theirs},
};

const SECOND: Duration = Duration::from_secs(1);

fn relocation() -> Relocation {
    Relocation::new(SECOND, 2 * SECOND, "tcp://b:1").expect("valid")
}

/// A packet with this header and payload.
fn packet(kind: u8, rest_of_header: [u8; 7], payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    let header = [&length.to_be_bytes()[..], &[kind], &rest_of_header].concat();
    [&header, payload].concat()
}

fn move_packet(payload: &[u8]) -> Vec<u8> {
    packet(128, [0; 7], payload)
}

/// The connecting side after the hellos of an accepting side that a test plays, and its input.
fn connecting() -> Raw {
    let mut raw = Raw::silent();
    raw.machine = connection(Side::Connecting, Config::default(), beginning());
    let hello = [&PREFACE[..], &packet(1, [0; 7], &[])].concat();
    raw.feed(&hello).expect("a valid hello");
    raw.said();
    raw
}

#[test]
fn the_connecting_side_is_asked_to_move_and_calls_go_on() {
    let mut pair = Pair::open();
    pair.start(1, b"hi");
    pair.server.connection.move_peer(&relocation());
    pair.run();
    let events = pair.client.heard();
    let [Event::Move(asked)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(*asked, relocation());
    assert_eq!(
        (asked.not_before(), asked.not_after()),
        (SECOND, 2 * SECOND)
    );
    pair.server.called();
    // Only the accepting side can ask.
    pair.client.connection.move_peer(&relocation());
    pair.run();
    assert!(pair.server.heard().is_empty());
    assert!(pair.client.error.is_none() && pair.server.error.is_none());
}

#[test]
fn nobody_is_asked_to_move_before_the_hellos_or_after_the_close() {
    let mut raw = Raw::silent();
    raw.machine.move_peer(&relocation());
    assert!(raw.said().is_empty());
    let mut raw = Raw::open();
    raw.machine.close(CloseCode::Normal, "");
    raw.machine.move_peer(&relocation());
    assert!(matches!(raw.said()[..], [Packet::Close { .. }]));
}

#[test]
fn a_request_to_move_has_limits() {
    let long = |length| Relocation::new(SECOND, SECOND, "a".repeat(length));
    assert_eq!(long(1024).unwrap().address().len(), 1024);
    assert_eq!(long(1025), Err(RelocationError::AddressTooLong(1025)));
    let text = "an address of 1025 bytes to move to; it may have at most 1024";
    assert_eq!(long(1025).unwrap_err().to_string(), text);
    let reversed = Relocation::new(2 * SECOND, SECOND, "").unwrap_err();
    let text = "the last moment to move, 1s, comes before the first, 2s";
    assert_eq!(reversed.to_string(), text);
    let never = Relocation::new(Duration::MAX, Duration::MAX, "").unwrap();
    assert_eq!(never.not_after(), Duration::from_millis(u32::MAX.into()));
}

#[test]
fn a_move_packet_that_is_wrong_is_a_violation() {
    let times = [0, 0, 0, 1, 0, 0, 0, 2];
    let with = |address: &[u8]| move_packet(&[&times[..], address].concat());
    for (bytes, expected) in [
        (
            move_packet(&times[..7]),
            "move packet with 7 bytes of payload, which does not fit its fields",
        ),
        (with(b"\xff"), "move packet whose text is not UTF-8"),
        (
            with(&[b'a'; 1025]),
            "an address of 1025 bytes to move to; it may have at most 1024",
        ),
        (
            move_packet(&[0, 0, 0, 2, 0, 0, 0, 1]),
            "the last moment to move, 1ms, comes before the first, 2ms",
        ),
        (
            packet(128, [1, 0, 0, 0, 0, 0, 0], &times),
            "move packet with flags 0x01, which it cannot have",
        ),
        (
            packet(128, [0, 0, 1, 0, 0, 0, 0], &times),
            "move packet with code 1",
        ),
        (
            packet(128, [0, 0, 0, 0, 0, 0, 3], &times),
            "move packet with call id 3",
        ),
    ] {
        let error = connecting().feed(&bytes).unwrap_err();
        let ConnectionError::PeerMisbehaved(fault) = error else {
            panic!("{error}");
        };
        assert_eq!(fault.to_string(), expected);
        assert_eq!(fault.close_code(), CloseCode::ProtocolViolation);
    }
    for address in [vec![b'a'; 1024], vec![]] {
        let events = connecting().feed(&with(&address)).unwrap();
        assert!(matches!(events[..], [Event::Move(_)]), "{events:?}");
    }
}

#[test]
fn the_accepting_side_ignores_requests_to_move() {
    let mut raw = Raw::open();
    let moved = Packet::Move(relocation());
    assert_eq!(raw.send_all(&[moved, call(0, last("hi"))]).len(), 1);
}

#[test]
fn packets_of_unknown_kinds_are_skipped_whatever_they_hold() {
    let mut raw = Raw::open();
    for kind in 129..=u8::MAX {
        let bytes = packet(kind, [0xff; 7], &[kind; 100]);
        assert_eq!(raw.feed(&bytes).unwrap(), []);
    }
    // The largest packet is skipped too, in parts, and a larger one is over the limit.
    let large = packet(200, [0; 7], &vec![7; 128 * 1024]);
    for part in large.chunks(1000) {
        assert_eq!(raw.feed(part).unwrap(), []);
    }
    assert!(matches!(
        raw.send_all(&[call(0, last("hi"))])[..],
        [Event::Called(_)]
    ));
    let error = raw.feed(&packet(200, [0; 7], &vec![7; 128 * 1024 + 1]));
    let fault = PeerMisbehaved::PacketTooLarge {
        length: 131_073,
        max: 131_072,
    };
    assert!(matches!(error, Err(ConnectionError::PeerMisbehaved(found)) if found == fault));
}

#[test]
fn kinds_below_128_are_not_skipped() {
    for kind in [0, 12, 127] {
        let fault = Raw::open().feed(&packet(kind, [0; 7], &[])).unwrap_err();
        let text = format!("the peer broke the protocol: unknown packet kind {kind}");
        assert_eq!(fault.to_string(), text);
    }
}

#[test]
fn packets_that_are_skipped_do_not_come_before_the_hello() {
    for (kind, name) in [(128, "move"), (129, "unknown")] {
        let mut raw = Raw::silent();
        let bytes = [&PREFACE[..], &packet(kind, [0; 7], &[0; 8])].concat();
        let error = raw.feed(&bytes).unwrap_err().to_string();
        assert!(
            error.ends_with(&format!("{name} packet before the hello")),
            "{error}"
        );
    }
}

/// A message may be in chunks, and its call in flight: what is skipped belongs to neither.
#[test]
fn packets_that_are_skipped_may_stand_between_chunks() {
    let mut raw = Raw::open();
    let mut bytes = BytesMut::new();
    call(0, crate::raw::first("he", 4)).encode(&mut bytes);
    bytes.extend_from_slice(&packet(131, [0; 7], b"who knows"));
    crate::raw::continued(theirs(0), last("re")).encode(&mut bytes);
    let events = raw.feed(&bytes).unwrap();
    let [Event::Called(called)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(called.message.as_deref(), Some(&b"here"[..]));
}

#[test]
fn packets_that_are_skipped_and_moves_count_as_carrying_nothing() {
    let limited = || Raw::open_with(config(|config| config.max_idle_packets(1_000)));
    let skipped = packet(255, [0; 7], &[]);
    let moved = move_packet(&[0; 8]);
    for bytes in [skipped, moved] {
        let mut raw = limited();
        for _ in 0..1_000 {
            raw.feed(&bytes).unwrap();
        }
        let error = raw.feed(&bytes).unwrap_err().to_string();
        assert!(error.contains("max_idle_packets"), "{error}");
    }
}

/// The preface, and a hello that has nothing but a role.
fn with_role(role: u8) -> Vec<u8> {
    [&PREFACE[..], &packet(1, [0; 7], &[0, 14, 0, 0, 0, 1, role])].concat()
}

#[test]
fn two_sides_of_one_role_are_told_so() {
    let roles = [
        (
            Side::Connecting,
            1,
            "both sides have connected: the peer is a client too, and no server",
        ),
        (
            Side::Accepting,
            2,
            "both sides have accepted: the peer is a server too, and no client",
        ),
    ];
    for (side, role, expected) in roles {
        let mut raw = Raw::silent();
        raw.machine = connection(side, Config::default(), beginning());
        let error = raw.feed(&with_role(role)).unwrap_err();
        let expected = format!("the peer broke the protocol: {expected}");
        assert_eq!(error.to_string(), expected);
        assert!(matches!(raw.said().last(), Some(Packet::Close { .. })));
        // The other role, and none, are right.
        for role in [&with_role(3 - role)[..], &with_role(role)[..8]] {
            let mut raw = Raw::silent();
            raw.machine = connection(side, Config::default(), beginning());
            raw.feed(role).unwrap();
        }
    }
}

#[test]
fn two_connecting_sides_end_at_once() {
    let mut pair = Pair::new();
    pair.server.connection = connection(Side::Connecting, Config::default(), beginning());
    pair.client
        .connection
        .start_call(pair.now, unary("hi"), 1)
        .unwrap();
    pair.run();
    for node in [&pair.client, &pair.server] {
        let error = node.error.as_ref().map(ToString::to_string);
        assert!(
            error
                .as_deref()
                .is_some_and(|text| text.contains("both sides have connected"))
        );
    }
    assert_eq!(pair.now, beginning());
}
