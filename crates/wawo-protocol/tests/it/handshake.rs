//! The order of the hellos: the accepting side says nothing before it has decided.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use wawo_protocol::{
    CloseCode, Config, Connection, ConnectionError, Event, Refusal, StartedCall,
    packet::{PREFACE, Packet},
};

use crate::{
    pair::{Pair, beginning, nested, unary},
    raw::Raw,
};

/// A machine that has got a hello with a call behind it, and has not decided.
fn undecided(config: Config) -> (Connection<u32>, BytesMut) {
    let mut client = Pair::new().client.connection;
    let started = client.start_call(beginning(), unary("early"), 1);
    started.expect("an early call");
    let mut input = BytesMut::from(client.output().first());
    let mut machine = Connection::accepting(config, beginning());
    let event = machine.poll_event(beginning(), &mut input);
    assert!(matches!(event, Ok(Some(Event::Opened(_)))), "{event:?}");
    (machine, input)
}

fn output(machine: &mut Connection<u32>) -> Vec<u8> {
    machine.fill_output();
    let bytes = machine.output().first().to_vec();
    machine.output().advance(bytes.len());
    assert!(machine.output().is_empty());
    bytes
}

#[test]
fn nothing_is_written_or_read_before_the_answer() {
    let (mut machine, mut input) = undecided(Config::default());
    let (now, left) = (beginning(), input.len());
    for message in ["one", "another"] {
        let started = machine.start_call(now, unary(message), 2);
        assert_eq!(started, Ok(StartedCall::Waiting));
    }
    assert!(matches!(machine.poll_event(now, &mut input), Ok(None)));
    assert_eq!((input.len(), machine.is_open()), (left, false));
    assert!(output(&mut machine).is_empty());

    machine.accept(now, Bytes::from("proof")).unwrap();
    let said = output(&mut machine);
    assert!(said.starts_with(&PREFACE));
    let is_there = |text: &[u8]| said.windows(text.len()).any(|part| part == text);
    assert!(is_there(b"proof") && is_there(b"another"));
    let mut events = Vec::new();
    while let Some(event) = machine.poll_event(now, &mut input).unwrap() {
        events.push(event);
    }
    let [Event::Started(_), Event::Started(_), Event::Called(called)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(called.message.as_deref(), Some(&b"early"[..]));
}

#[test]
fn credentials_that_are_too_long_leave_the_hello_unanswered() {
    let (mut machine, _) = undecided(Config::default());
    let now = beginning();
    machine.accept(now, vec![0; 15_873].into()).unwrap_err();
    assert!(output(&mut machine).is_empty() && !machine.is_open());
    machine.accept(now, vec![0; 15_872].into()).unwrap();
    assert!(machine.is_open());
    output(&mut machine);
    // There is nothing to answer any more.
    machine.accept(now, Bytes::new()).unwrap();
    assert!(output(&mut machine).is_empty());
}

#[test]
fn a_close_takes_the_place_of_the_hello() {
    let expected = |text: &str| {
        let mut bytes = BytesMut::from(&PREFACE[..]);
        let (code, text) = (CloseCode::Normal, text.to_owned());
        Packet::Close { code, text }.encode(&mut bytes);
        bytes.to_vec()
    };
    let (mut machine, _) = undecided(Config::default());
    machine.close(CloseCode::Normal, "full");
    assert_eq!(output(&mut machine), expected("full"));
    let mut silent = Connection::accepting(Config::default(), beginning());
    silent.close(CloseCode::Normal, "early");
    silent.close(CloseCode::Normal, "again");
    assert_eq!(output(&mut silent), expected("early"));
    assert_eq!(silent.accept(beginning(), Bytes::new()), Ok(()));
    assert!(output(&mut silent).is_empty());
}

#[test]
fn a_transport_that_is_lost_early_gets_nothing() {
    let (mut machine, _) = undecided(Config::default());
    machine.lose();
    machine.accept(beginning(), Bytes::new()).unwrap();
    assert!(output(&mut machine).is_empty() && machine.is_closed());
}

#[test]
fn a_side_that_does_not_decide_in_time_says_so() {
    let (mut machine, _) = undecided(Config::default());
    let late = beginning() + Duration::from_secs(5);
    assert_eq!(machine.poll_timeout(), Some(late));
    let error = machine.handle_timeout(late).unwrap_err();
    assert!(matches!(error, ConnectionError::AcceptTimedOut(_)));
    let text = "the authentication was not done within 5s (handshake_timeout)";
    assert_eq!(error.to_string(), text);
    let said = output(&mut machine);
    assert!(said.starts_with(&PREFACE) && said.ends_with(text.as_bytes()));
}

#[test]
fn a_drain_before_the_answer_follows_it() {
    let mut raw = Raw::silent();
    raw.machine.drain();
    assert!(raw.said().is_empty());
    raw.feed(b"WAWO/1\r\n\0\0\0\0\x01\0\0\0\0\0\0\0").unwrap();
    let said = raw.said();
    assert!(
        matches!(said[..], [Packet::Hello(_), Packet::Drain { accepted: 0 }]),
        "{said:?}"
    );
}

/// The first packet has the limit of a hello, whatever it is, so that a handshake holds no more.
#[test]
fn no_packet_in_place_of_the_hello_is_longer_than_a_hello() {
    for kind in [1, 5, 6, 200] {
        for (length, is_over) in [(16_384_u32, false), (16_385, true)] {
            let mut raw = Raw::silent();
            let header = [&length.to_be_bytes()[..], &[kind, 0, 0, 0, 0, 0, 0, 0]].concat();
            let header = match kind {
                6 => [&length.to_be_bytes()[..], &[6, 1, 0, 0, 0, 0, 0, 1]].concat(),
                _ => header,
            };
            let result = raw.feed(&[&PREFACE[..], &header].concat());
            assert_eq!(result.is_err(), is_over, "{kind}: {result:?}");
        }
    }
}

/// A deep call may not wait for a slot, but for the hellos it may.
#[test]
fn deep_calls_wait_for_the_answer_as_others_do() {
    let (mut machine, mut input) = undecided(Config::default());
    let now = beginning();
    let started = machine.start_call(now, nested(2), 7);
    assert_eq!(started, Ok(StartedCall::Waiting));
    machine.accept(now, Bytes::new()).unwrap();
    let event = machine.poll_event(now, &mut input);
    assert!(matches!(event, Ok(Some(Event::Started(_)))), "{event:?}");
}

#[test]
fn calls_that_wait_end_with_a_connection_that_is_not_accepted() {
    let (mut machine, _) = undecided(Config::default());
    machine.start_call(beginning(), unary("x"), 3).unwrap();
    machine.close(CloseCode::Normal, "no");
    let calls = machine.take_calls();
    assert_eq!(calls, [(3, false)], "not sent");
    let after = machine.start_call(beginning(), unary("x"), 4);
    assert_eq!(after, Err((4, Refusal::Closed)));
}

#[test]
fn two_accepting_sides_say_nothing_and_time_out() {
    let mut machines =
        [(), ()].map(|()| Connection::<u32>::accepting(Config::default(), beginning()));
    for machine in &mut machines {
        assert!(output(machine).is_empty());
        let late = beginning() + Duration::from_secs(5);
        let error = machine.handle_timeout(late).unwrap_err();
        assert!(matches!(error, ConnectionError::HandshakeTimedOut(_)));
    }
}
