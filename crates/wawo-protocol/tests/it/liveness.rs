//! Detecting a dead peer: the deadline of the hello, and pings.

use std::time::Duration;

use wawo_protocol::{CloseCode, Config, ConnectionError, packet::Packet};

use crate::{
    pair::{Pair, config},
    raw::Raw,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_peer_that_never_greets_is_closed_in_time() {
    let mut raw = Raw::silent();
    raw.said();
    assert_eq!(raw.machine.poll_timeout(), Some(raw.now + 5 * SECOND));
    raw.now += 5 * SECOND - Duration::from_nanos(1);
    raw.machine.handle_timeout(raw.now).unwrap();
    raw.now += Duration::from_nanos(1);
    let error = raw.machine.handle_timeout(raw.now).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no hello from the peer within 5s (handshake_timeout)"
    );
    let text = error.to_string();
    let code = CloseCode::TimedOut;
    assert_eq!(raw.said(), [Packet::Close { code, text }]);
    assert_eq!(raw.machine.poll_timeout(), None);
}

#[test]
fn a_hello_that_drips_in_has_no_more_time() {
    let mut raw = Raw::silent();
    for byte in b"WAWO" {
        raw.now += SECOND;
        assert_eq!(raw.feed(&[*byte]).unwrap(), []);
    }
    raw.now += SECOND;
    let error = raw.machine.handle_timeout(raw.now).unwrap_err();
    assert!(matches!(error, ConnectionError::HandshakeTimedOut(_)));
}

#[test]
fn idle_sides_ping_each_other_and_stay_connected() {
    let mut pair = Pair::open();
    pair.delay = SECOND;
    pair.run_for(Duration::from_secs(3600));
    assert!(pair.client.error.is_none() && pair.server.error.is_none());
    assert!(pair.client.heard().is_empty() && pair.server.heard().is_empty());
}

#[test]
fn a_ping_is_answered_with_its_own_bytes() {
    let mut raw = Raw::open();
    raw.send_all(&[Packet::Ping(0xfeed)]);
    assert_eq!(raw.said(), [Packet::Pong(0xfeed)]);
}

#[test]
fn a_dead_peer_is_noticed_after_the_interval_and_the_timeout() {
    let mut pair = Pair::open();
    let call = pair.start(7, b"");
    pair.run();
    // From now on nothing arrives.
    pair.delay = Duration::from_secs(3600);
    pair.run_for(30 * SECOND - Duration::from_nanos(1));
    assert!(pair.client.error.is_none());
    pair.run_for(Duration::from_nanos(1));
    let error = pair.client.error.take().map(|error| error.to_string());
    let text = "no answer to a ping within 10s (keep_alive_timeout)";
    assert_eq!(error.as_deref(), Some(text));
    assert_eq!(pair.client.connection.token(call), Some(&mut 7));
    assert_eq!(pair.client.connection.take_calls(), [(7, true)]);
}

#[test]
fn any_packet_shows_that_the_peer_lives() {
    let mut raw = Raw::open_with(config(|config| {
        config
            .keep_alive_interval(SECOND)
            .keep_alive_timeout(SECOND)
    }));
    raw.now += SECOND;
    raw.machine.handle_timeout(raw.now).unwrap();
    assert_eq!(raw.said(), [Packet::Ping(1)]);
    // No pong, but another packet within the timeout.
    raw.now += SECOND / 2;
    raw.send_all(&[Packet::Ping(5)]);
    raw.now += SECOND / 2;
    raw.machine.handle_timeout(raw.now).unwrap();
    raw.now += SECOND / 2;
    assert!(raw.machine.handle_timeout(raw.now).is_err());
}

#[test]
fn a_busy_connection_needs_no_pings() {
    let mut raw = Raw::open_with(Config::default());
    for _ in 0..60 {
        raw.now += SECOND;
        raw.machine.handle_timeout(raw.now).unwrap();
        raw.send_all(&[Packet::Ping(1)]);
    }
    assert!(
        raw.said()
            .iter()
            .all(|packet| matches!(packet, Packet::Pong(_)))
    );
}

/// How long a side with this interval waits until it pings, if the other side asks for `asked`
/// milliseconds.
fn pings_after(interval: Duration, asked: Option<u32>) -> Duration {
    let settings = config(|config| {
        config
            .keep_alive_interval(interval)
            .max_keep_alive_interval(60 * SECOND)
    });
    let mut raw = Raw::with(settings);
    let entry = |asked: u32| [&[0, 15, 0, 0, 0, 4][..], &asked.to_be_bytes()].concat();
    let entries = asked.map_or_else(Vec::new, entry);
    let mut hello = b"WAWO/1\r\n\0\0\0".to_vec();
    hello.extend([entries.len() as u8, 1, 0, 0, 0, 0, 0, 0, 0]);
    hello.extend(entries);
    raw.feed(&hello).expect("a valid hello");
    raw.machine.poll_timeout().expect("a ping is planned") - raw.now
}

#[test]
fn a_side_pings_no_more_often_than_the_other_asks_within_its_limit() {
    let (short, long) = (10 * SECOND, 120 * SECOND);
    for (interval, asked, expected) in [
        (short, None, short),
        (short, Some(0), short),
        (short, Some(1), short),
        (short, Some(9_999), short),
        (short, Some(10_001), Duration::from_millis(10_001)),
        (short, Some(60_000), 60 * SECOND),
        (short, Some(60_001), 60 * SECOND),
        (short, Some(u32::MAX), 60 * SECOND),
        (long, Some(1), long),
        (long, Some(u32::MAX), long),
    ] {
        assert_eq!(pings_after(interval, asked), expected, "{asked:?}");
    }
}

/// A phone asks for a long interval, and the server with the default keeps to it.
#[test]
fn the_longer_interval_of_two_sides_holds_for_both() {
    let minute = 60 * SECOND;
    let phone = config(|config| config.keep_alive_interval(5 * minute));
    let mut pair = Pair::open_with(phone, Config::default());
    for node in [&pair.client, &pair.server] {
        assert_eq!(node.connection.poll_timeout(), Some(pair.now + 5 * minute));
    }
    pair.run_for(60 * minute);
    assert!(pair.client.error.is_none() && pair.server.error.is_none());
}
