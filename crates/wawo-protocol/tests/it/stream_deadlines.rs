//! Deadlines of streams: which bound applies when, and how a status reports it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use wawo_protocol::{
    Code, Config, DeadlineSource, Event, MIN_CALLS, Metadata, NewCall, StartedCall,
    packet::{Chunk, End, Packet},
};

use crate::{
    pair::{OUTER_CALLS, Pair, config, stream, unary},
    raw::{Raw, call, first, last, more, theirs, whole},
};

const SECOND: Duration = Duration::from_secs(1);

fn bounds(max_timeout: u32, max_stream_time: Option<u32>) -> Config {
    config(|config| {
        config
            .max_timeout(Some(max_timeout * SECOND))
            .max_stream_time(max_stream_time.map(|seconds| seconds * SECOND))
    })
}

/// A machine that is called with a timeout, 0 for none, and its events.
fn called(config: Config, timeout: Duration, chunk: Chunk) -> (Raw, Vec<Event<u32>>) {
    let mut raw = Raw::open_with(config);
    let Packet::Call(mut call) = call(0, chunk) else {
        unreachable!("a call");
    };
    call.timeout_ms = Some(timeout.as_millis() as u32);
    let events = raw.send_all(&[Packet::Call(call)]);
    (raw, events)
}

/// The time after which a machine ends its call, before keep-alive does, and its end packet.
fn ends(raw: &mut Raw) -> (Duration, End) {
    let begin = raw.now;
    // The first timeout may find nothing due.
    for _ in 0..2 {
        raw.now = raw.machine.poll_timeout().expect("a deadline");
        raw.machine.handle_timeout(raw.now).expect("the peer lives");
        if let Some(Packet::End(end)) = raw.said().pop() {
            return (raw.now - begin, end);
        }
    }
    panic!("it has not ended");
}

#[test]
fn a_callee_bounds_streams_as_it_does_other_calls_unless_told_otherwise() {
    for (config, asked, ended, setting) in [
        (bounds(5, None), 0, 5, "max_timeout of the callee, 5s"),
        (bounds(5, None), 9, 5, "max_timeout of the callee, 5s"),
        (bounds(5, None), 3, 3, ""),
        (
            bounds(5, Some(10)),
            0,
            10,
            "max_stream_time of the callee, 10s",
        ),
        (bounds(5, Some(10)), 9, 9, ""),
        (
            bounds(5, Some(2)),
            0,
            2,
            "max_stream_time of the callee, 2s",
        ),
    ] {
        // The first request may come in parts. Only when it is whole does the machine know that
        // others follow.
        for parts in [false, true] {
            let chunk = if parts {
                first("re", 4)
            } else {
                whole("request")
            };
            let (mut raw, mut events) = called(config.clone(), asked * SECOND, chunk);
            if parts {
                let rest = Packet::Message {
                    call: theirs(0),
                    chunk: Chunk {
                        more: false,
                        ..more("st")
                    },
                    continues: true,
                };
                events = raw.send_all(&[rest]);
            }
            let [Event::Called(called)] = &events[..] else {
                panic!("{events:?}");
            };
            let ended = ended * SECOND;
            assert_eq!(called.deadline, Some(raw.now + ended), "{setting}");
            let (time, end) = ends(&mut raw);
            assert_eq!((time, end.code), (ended, Code::DeadlineExceeded));
            let text = format!(
                "the stream was under way for {ended:.1?} when its deadline passed ({setting})"
            );
            // The caller knows its own timeout.
            let text = if setting.is_empty() { "" } else { &*text };
            assert_eq!(end.text, text);
        }
    }
}

#[test]
fn a_call_with_one_request_becomes_a_stream_when_its_reply_begins_as_one() {
    for (longest, opened_at, setting) in [
        (Some(10), 4, "max_stream_time of the callee, 10s"),
        // Counted from the start of the call.
        (Some(2), 1, "max_stream_time of the callee, 2s"),
        (None, 4, "max_timeout of the callee, 5s"),
    ] {
        let (mut raw, events) = called(bounds(5, longest), Duration::ZERO, last(""));
        let [Event::Called(called)] = &events[..] else {
            panic!("{events:?}");
        };
        let begin = raw.now;
        let whole = longest.unwrap_or(5) * SECOND;
        assert_eq!(called.deadline, Some(begin + 5 * SECOND));
        assert_eq!(raw.machine.stream_deadline(theirs(0)), Some(begin + whole));
        raw.now = begin + opened_at * SECOND;
        raw.machine.handle_timeout(raw.now).unwrap();
        let mut nothing = BytesMut::new();
        assert!(matches!(
            raw.machine.poll_event(raw.now, &mut nothing),
            Ok(None)
        ));
        assert!(raw.machine.open_reply(theirs(0), Metadata::new()));
        raw.said();
        let (_, end) = ends(&mut raw);
        assert_eq!(raw.now, begin + whole);
        let text = format!(
            "the stream was under way for {whole:.1?} when its deadline passed ({setting})"
        );
        assert_eq!(end.text, text);
    }
}

#[test]
fn until_its_reply_begins_a_call_with_one_request_has_the_time_of_one() {
    let (mut raw, _) = called(bounds(5, Some(10)), Duration::ZERO, last(""));
    let (time, end) = ends(&mut raw);
    assert_eq!(time, 5 * SECOND);
    let text = "the deadline passed before the call was answered (max_timeout of the callee, 5s)";
    assert_eq!(end.text, text);
}

/// The code and text of a call with a timeout of 4 s that ends after some time: by the clock of its
/// callee, or, with `by_handler`, by its handler.
fn ended_there(
    new: NewCall,
    source: DeadlineSource,
    time: Duration,
    by_handler: Option<&str>,
) -> String {
    let config = config(|config| config.default_timeout(Some(4 * SECOND)));
    let mut pair = Pair::open_with(config, Config::default());
    let call = NewCall {
        deadline: Some(pair.now + 4 * SECOND),
        deadline_source: source,
        ..new
    };
    let started = pair.client.connection.start_call(pair.now, call, 1);
    let Ok(StartedCall::Sent(id)) = started else {
        panic!("{started:?}");
    };
    pair.run();
    pair.server.called();
    pair.now += time;
    match by_handler {
        // The callee's clock is checked first.
        None => pair.server.handle_time(pair.now),
        Some(text) => {
            pair.server.connection.end(End {
                call: id,
                code: Code::DeadlineExceeded,
                refused: false,
                metadata: Metadata::new(),
                text: text.to_owned(),
                details: Bytes::new(),
            });
        }
    }
    pair.run();
    let ended = pair.client.ended();
    assert_eq!(
        (ended.ended_by_peer, ended.code),
        (true, Code::DeadlineExceeded)
    );
    ended.text
}

#[test]
fn a_caller_names_the_setting_also_when_the_clock_of_its_callee_is_first() {
    use DeadlineSource::{Call, DefaultTimeout, Handler, Method};
    for (source, setting) in [
        (DefaultTimeout, "default_timeout, 4s"),
        (Call, "timeout of the call"),
        (Method, "option (wawo.method).timeout_ms"),
        (Handler, "deadline of the handler that made the call"),
    ] {
        let text = format!("the deadline passed before the call was answered ({setting})");
        assert_eq!(ended_there(unary(""), source, 4 * SECOND, None), text);
        let text =
            format!("the stream was under way for 4.0s when its deadline passed ({setting})");
        assert_eq!(ended_there(stream(), source, 4 * SECOND, None), text);
    }
}

#[test]
fn the_deadline_text_of_a_handler_is_kept() {
    let source = DeadlineSource::Call;
    for (time, said) in [(4, "mine"), (1, "mine"), (1, "")] {
        let text = ended_there(unary(""), source, time * SECOND, Some(said));
        assert_eq!(text, said);
    }
}

/// The text of a call of ours that has passed its deadline, after 4 s.
fn ended_here(source: DeadlineSource, call: NewCall, is_answered: bool) -> String {
    let config = config(|config| {
        config
            .default_timeout(Some(4 * SECOND))
            .stream_timeout(Some(4 * SECOND))
    });
    let mut pair = Pair::open_with(config, Config::default());
    let call = NewCall {
        deadline: Some(pair.now + 4 * SECOND),
        deadline_source: source,
        ..call
    };
    let started = pair.client.connection.start_call(pair.now, call, 1);
    let Ok(StartedCall::Sent(id)) = started else {
        panic!("{started:?}");
    };
    pair.run();
    if is_answered {
        assert!(pair.server.connection.open_reply(id, Metadata::new()));
    }
    pair.run();
    pair.client.heard();
    // Otherwise the callee, which is told of the deadline, would end the call too.
    pair.delay = SECOND;
    pair.run_for(4 * SECOND);
    let ended = pair.client.ended();
    assert!(!ended.ended_by_peer);
    assert_eq!(ended.code, Code::DeadlineExceeded);
    ended.text
}

#[test]
fn a_caller_tells_the_setting_and_whether_a_stream_was_under_way() {
    use DeadlineSource::{Call, DefaultTimeout, Handler, Method, StreamTimeout};
    for (source, setting) in [
        (DefaultTimeout, "default_timeout, 4s"),
        (StreamTimeout, "stream_timeout, 4s"),
        (Call, "timeout of the call"),
        (Method, "option (wawo.method).timeout_ms"),
        (Handler, "deadline of the handler that made the call"),
    ] {
        let under_way =
            format!("the stream was under way for 4.0s when its deadline passed ({setting})");
        let not_answered = format!("the deadline passed before the call was answered ({setting})");
        assert_eq!(ended_here(source, stream(), false), under_way);
        assert_eq!(ended_here(source, stream(), true), under_way);
        assert_eq!(ended_here(source, unary(""), true), under_way);
        assert_eq!(ended_here(source, unary(""), false), not_answered);
        let in_chunks = unary(Bytes::from(vec![0; 1 << 20]));
        assert_eq!(ended_here(source, in_chunks, false), not_answered);
    }
}

#[test]
fn a_stream_without_a_deadline_lasts_while_its_peer_lives() {
    let mut pair = Pair::open();
    let started = pair.client.connection.start_call(pair.now, stream(), 1);
    let Ok(StartedCall::Sent(id)) = started else {
        panic!("{started:?}");
    };
    pair.run();
    assert_eq!(pair.server.called().deadline, None);
    assert!(pair.server.connection.open_reply(id, Metadata::new()));
    pair.run_for(3600 * SECOND);
    assert!(matches!(pair.client.heard()[..], [Event::Replied { .. }]));
    // The peer is gone: keep-alive ends the connection, and the stream with it.
    pair.cut();
    pair.delay = 3600 * SECOND;
    pair.run_for(31 * SECOND);
    assert!(pair.client.error.is_some() && pair.server.error.is_some());
    assert_eq!(pair.client.connection.take_calls(), [(1, true)]);
}

#[test]
fn a_call_without_a_deadline_does_not_wait_for_a_slot_for_ever() {
    let few = config(|config| config.max_calls(MIN_CALLS));
    let mut pair = Pair::open_with(Config::default(), few);
    for token in 0..OUTER_CALLS {
        pair.start(token, b"");
    }
    pair.start_waiting(100, stream());
    pair.run_for(30 * SECOND - SECOND / 1000);
    assert_eq!(pair.client.heard(), []);
    pair.run_for(SECOND / 1000);
    let ended = pair.client.ended();
    assert_eq!((ended.token, ended.call), (100, None));
    assert_eq!(ended.code, Code::ResourceExhausted);
    assert!(!ended.sent && !ended.ended_by_peer);
    assert_eq!(
        ended.text,
        "the peer, which takes 64 calls at a time (its max_calls), had no room for the call \
         within 30s (stall_timeout)"
    );
}
