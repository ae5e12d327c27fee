//! The hello as bytes: it comes back as it was, and each fault in it is named.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use wawo_protocol::{
    Config, Connection, Hello, Limits, PeerMisbehaved, Side,
    packet::{HEADER_BYTES, Packet, decode, decode_preface},
};

use crate::pair::beginning;

/// A hello packet with this payload, as bytes.
fn packet(payload: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u32(payload.len() as u32);
    bytes.put_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.put_slice(payload);
    bytes
}

fn read(mut bytes: BytesMut) -> Result<Hello, PeerMisbehaved> {
    match decode(&mut bytes, &Limits::default())? {
        Some(Packet::Hello(hello)) => Ok(*hello),
        other => panic!("{other:?}"),
    }
}

/// The payload of the hello that a connection with this configuration sends.
fn payload(config: Config, credentials: &'static str) -> Bytes {
    let credentials = Bytes::from(credentials);
    let connection = Connection::<()>::connecting(config, credentials, beginning());
    let mut connection = connection.expect("credentials that fit");
    let mut bytes = BytesMut::from(connection.output().first());
    assert_eq!(decode_preface(&mut bytes), Ok(true));
    bytes.freeze().slice(HEADER_BYTES..)
}

#[test]
fn a_hello_comes_back_as_it_was_and_unknown_entries_are_skipped() {
    let config = Config::builder().claimed_name("ada");
    let config = config.default_timeout(Some(Duration::from_micros(1_001)));
    let config = config.build().unwrap().with_services("a table".into());
    let payload = payload(config.unwrap(), "secret");
    let hello = read(packet(&payload)).unwrap();
    assert_eq!(hello.limits, Limits::default());
    assert_eq!((hello.features, hello.role), (0, Some(Side::Connecting)));
    assert_eq!(hello.keep_alive, Some(Duration::from_secs(20)));
    // Whole milliseconds, rounded up.
    assert_eq!(hello.default_timeout, Some(Duration::from_millis(2)));
    assert_eq!(
        (&*hello.claimed_name, &*hello.credentials),
        ("ada", &b"secret"[..])
    );
    assert_eq!(hello.services, "a table");
    let more = [&payload[..], &[0x7f, 0xff, 0, 0, 0, 2, 1, 2]].concat();
    assert_eq!(read(packet(&more)), Ok(hello));
}

#[test]
fn a_hello_does_not_hold_what_it_was_read_into() {
    let config = Config::default().with_services("a table".into()).unwrap();
    let mut input = packet(&payload(config, "secret"));
    let length = input.len();
    let hello = decode(&mut input, &Limits::default());
    assert!(matches!(hello, Ok(Some(Packet::Hello(_)))), "{hello:?}");
    assert!(input.try_reclaim(length));
}

#[test]
fn an_empty_hello_announces_the_minimum() {
    let hello = read(packet(&[])).unwrap();
    assert_eq!(hello.limits, Limits::MINIMUM);
    assert_eq!((hello.default_timeout, hello.keep_alive), (None, None));
    assert_eq!((hello.features, hello.role), (0, None));
}

#[test]
fn features_and_wishes_are_read_and_bits_that_are_not_known_ignored() {
    let entries = [
        &[0, 13, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff][..],
        &[0, 14, 0, 0, 0, 1, 2],
        &[0, 15, 0, 0, 0, 4, 0, 0, 0x03, 0xe8],
    ];
    let hello = read(packet(&entries.concat())).unwrap();
    assert_eq!(
        (hello.features, hello.role),
        (u32::MAX, Some(Side::Accepting))
    );
    assert_eq!(hello.keep_alive, Some(Duration::from_secs(1)));
    let no_wish = read(packet(&[0, 15, 0, 0, 0, 4, 0, 0, 0, 0])).unwrap();
    assert_eq!(no_wish.keep_alive, None);
}

#[test]
fn each_fault_in_a_hello_is_named() {
    let good = payload(Config::default(), "");
    for cut in 1..good.len() {
        let result = read(packet(&good[..cut]));
        assert!(
            result.is_ok() || result == Err(PeerMisbehaved::HelloCutOff),
            "{cut}: {result:?}"
        );
    }
    let twice = [&good[..], &good[..]].concat();
    let fault = PeerMisbehaved::HelloEntryTwice(1);
    assert_eq!(read(packet(&twice)), Err(fault));
    let short = packet(&[0, 5, 0, 0, 0, 2, 1, 1]);
    let (entry, length, expected) = (5, 2, 4);
    let fault = PeerMisbehaved::HelloEntryLength {
        entry,
        length,
        expected,
    };
    assert_eq!(read(short), Err(fault));
    for role in [0, 3, 255] {
        let wrong = packet(&[0, 14, 0, 0, 0, 1, role]);
        assert_eq!(read(wrong), Err(PeerMisbehaved::HelloRole(role)));
    }
    let long = read(packet(&[0, 14, 0, 0, 0, 2, 1, 1])).unwrap_err();
    assert_eq!(long.to_string(), "hello entry 14 has 2 bytes, not 1");
    let small = read(packet(&[0, 5, 0, 0, 0, 4, 0, 0, 0, 1]));
    assert!(matches!(small, Err(PeerMisbehaved::HelloLimit(_))));
    let name = packet(&[0, 9, 0, 0, 0, 1, 0xff]);
    assert_eq!(read(name), Err(PeerMisbehaved::HelloClaimedName));
}
