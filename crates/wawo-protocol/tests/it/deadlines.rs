//! Deadlines on the wire, at the caller, at the callee, and in the queue.

use std::time::Duration;

use bytes::Bytes;
use wawo_protocol::{Code, Config, Event, MIN_CALLS, Metadata, StartedCall, packet::Packet};

use crate::{
    pair::{OUTER_CALLS, Pair, config, unary},
    raw::{Raw, call, end, last, theirs},
};

/// The interval at which deadlines are checked.
const STEP: Duration = Duration::from_millis(5);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_call_without_a_timeout_has_the_default_that_its_caller_announced() {
    let mut pair = Pair::open_with(
        config(|config| config.default_timeout(Some(SECOND))),
        Config::default(),
    );
    let mut new = unary("");
    new.deadline = Some(pair.now + SECOND);
    let started = pair.client.connection.start_call(pair.now, new, 1);
    assert!(matches!(started, Ok(StartedCall::Sent(_))));
    pair.run();
    let deadline = pair.server.called().deadline;
    assert_eq!(deadline, Some(pair.now + SECOND));
}

#[test]
fn no_deadline_is_said_as_zero_where_a_default_was_announced() {
    let mut pair = Pair::open();
    pair.start(1, b"");
    pair.run();
    assert_eq!(pair.server.called().deadline, None);
}

#[test]
fn a_timeout_on_the_wire_is_never_shorter_than_what_was_set() {
    let mut pair = Pair::open();
    let mut new = unary("");
    let deadline = pair.now + Duration::from_micros(1_500_001);
    new.deadline = Some(deadline);
    let started = pair.client.connection.start_call(pair.now, new, 1);
    assert!(matches!(started, Ok(StartedCall::Sent(_))));
    pair.run();
    let there = pair.server.called().deadline.unwrap();
    assert_eq!(there, pair.now + Duration::from_millis(1501));
}

#[test]
fn the_caller_gives_up_at_its_deadline_and_tells_the_callee() {
    let mut pair = Pair::open();
    pair.delay = Duration::from_millis(100);
    let mut new = unary("");
    new.deadline = Some(pair.now + SECOND);
    let started = pair.client.connection.start_call(pair.now, new, 1);
    let Ok(StartedCall::Sent(call)) = started else {
        panic!("{started:?}");
    };
    pair.run_for(SECOND / 2);
    // The callee's clock started when it read the call; a faster cancel comes first.
    pair.delay = Duration::from_millis(50);
    pair.run_for(SECOND / 2);
    let ended = pair.client.ended();
    assert_eq!((ended.token, ended.code), (1, Code::DeadlineExceeded));
    assert_eq!(
        ended.text,
        "the deadline passed before the call was answered (timeout of the call)"
    );
    assert!(ended.sent && !ended.ended_by_peer);
    pair.server.called();
    pair.run_for(pair.delay);
    assert_eq!(pair.server.heard(), [Event::Cancelled(call)]);
    pair.run_for(SECOND);
    assert_eq!(pair.client.heard(), []);
    assert_eq!(pair.client.connection.calls_started(), 0);
}

#[test]
fn the_callee_answers_when_the_time_is_up_though_nobody_says_so() {
    let mut raw = Raw::open();
    let Packet::Call(mut late) = call(0, last("")) else {
        unreachable!("a call");
    };
    late.timeout_ms = Some(100);
    raw.send_all(&[Packet::Call(late)]);
    let due = raw.now + Duration::from_millis(100);
    assert_eq!(raw.machine.poll_timeout(), Some(due));
    raw.now = due - Duration::from_nanos(1);
    raw.machine.handle_timeout(raw.now).unwrap();
    assert_eq!(raw.feed(&[]).unwrap(), []);
    raw.now = due;
    raw.machine.handle_timeout(raw.now).unwrap();
    assert_eq!(
        raw.feed(&[]).unwrap(),
        [Event::Stopped(theirs(0), Code::DeadlineExceeded)]
    );
    let said = raw.said();
    let [Packet::End(ended)] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!(ended.code, Code::DeadlineExceeded);
    // The caller knows its own timeout.
    assert_eq!(ended.text, "");
}

#[test]
fn the_longest_timeout_is_taken_as_it_is() {
    let mut raw = Raw::open();
    let Packet::Call(mut long) = call(0, last("")) else {
        unreachable!("a call");
    };
    long.timeout_ms = Some(u32::MAX);
    let events = raw.send_all(&[Packet::Call(long)]);
    let [Event::Called(called)] = &events[..] else {
        panic!("{events:?}");
    };
    let days = raw.now + Duration::from_millis(u32::MAX.into());
    assert_eq!(called.deadline, Some(days));
}

#[test]
fn a_call_whose_time_is_up_in_the_queue_is_never_sent() {
    let few = config(|config| config.max_calls(MIN_CALLS));
    let mut pair = Pair::open_with(Config::default(), few);
    for token in 0..OUTER_CALLS {
        pair.start(token, b"");
    }
    let mut new = unary("");
    new.deadline = Some(pair.now + SECOND);
    pair.start_waiting(100, new);
    pair.run_for(SECOND);
    let ended = pair.client.ended();
    assert_eq!((ended.token, ended.call), (100, None));
    assert_eq!(
        ended.text,
        "the deadline passed before the call could be sent (timeout of the call)"
    );
    assert!(!ended.sent && !ended.ended_by_peer);
    assert_eq!(pair.server.heard().len(), OUTER_CALLS as usize);
    assert_eq!(pair.client.connection.calls_waiting(), 0);
}

#[test]
fn many_deadlines_cost_one_look_a_step_and_none_is_more_than_a_step_late() {
    let mut pair = Pair::open();
    let begin = pair.now;
    for token in 0..100 {
        let mut new = unary("");
        new.deadline = Some(begin + Duration::from_micros(100 * u64::from(token)));
        let started = pair.client.connection.start_call(pair.now, new, token);
        assert!(matches!(started, Ok(StartedCall::Sent(_))));
    }
    let mut looks = 0;
    let mut ended = 0;
    while let Some(at) = pair.client.connection.poll_timeout() {
        if at > begin + SECOND {
            break;
        }
        looks += 1;
        pair.now = at.max(pair.now);
        pair.client.connection.handle_timeout(pair.now).unwrap();
        let mut nothing = bytes::BytesMut::new();
        while let Ok(Some(event)) = pair.client.connection.poll_event(pair.now, &mut nothing) {
            let Event::Ended(end) = event else {
                panic!("{event:?}");
            };
            let due = begin + Duration::from_micros(100 * u64::from(end.token));
            assert!(pair.now - due <= STEP, "call {} is late", end.token);
            ended += 1;
        }
    }
    assert_eq!(ended, 100);
    assert!(looks <= 3, "{looks} looks within 10 ms");
}

#[test]
fn a_reply_in_time_is_not_disturbed_by_its_deadline() {
    let mut pair = Pair::open();
    let mut new = unary("");
    new.deadline = Some(pair.now + SECOND);
    let started = pair.client.connection.start_call(pair.now, new, 1);
    let Ok(StartedCall::Sent(call)) = started else {
        panic!("{started:?}");
    };
    pair.run_for(SECOND - Duration::from_nanos(1));
    pair.server.called();
    let server = &mut pair.server.connection;
    server.reply(call, Metadata::new(), Bytes::new());
    pair.run();
    assert_eq!(pair.client.ended().code, Code::Ok);
    pair.run_for(SECOND);
    assert_eq!(pair.client.heard(), []);
    assert_eq!(pair.server.heard(), []);
}

#[test]
fn a_late_answer_after_expiry_is_dropped() {
    let mut raw = Raw::open();
    let Packet::Call(mut late) = call(0, last("")) else {
        unreachable!("a call");
    };
    late.timeout_ms = Some(1);
    raw.send_all(&[Packet::Call(late)]);
    raw.now += Duration::from_millis(1);
    raw.machine.handle_timeout(raw.now).unwrap();
    assert_eq!(
        raw.feed(&[]).unwrap(),
        [Event::Stopped(theirs(0), Code::DeadlineExceeded)]
    );
    raw.machine.reply(theirs(0), Metadata::new(), Bytes::new());
    let said = raw.said();
    assert!(
        matches!(&said[..], [Packet::End(end)] if end.code == Code::DeadlineExceeded),
        "{said:?}"
    );
    assert!(raw.send_all(&[end(theirs(0), Code::Ok)]).is_empty());
}
