//! The ends of connections: drain, close, cut.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use wawo_protocol::{
    CloseCode, Code, ConnectionError, Event, MIN_MESSAGE_BYTES, Metadata, PeerMisbehaved, Refusal,
    Side, StartedCall, packet::Packet,
};

use crate::{
    pair::{Pair, bytes, send, stream, unary},
    raw::{Raw, call, last, message, ours, theirs},
};

#[test]
fn a_draining_side_finishes_what_it_has_accepted_and_refuses_the_rest() {
    let mut pair = Pair::open();
    let accepted = pair.start(1, b"");
    pair.run();
    pair.server.called();
    // This call crosses the drain packet.
    pair.start(2, b"");
    pair.server.connection.drain();
    pair.run();
    assert_eq!(pair.server.heard(), [], "the late call is not served");
    let events = pair.client.heard();
    assert_eq!(
        events,
        [Event::Draining, Event::Refused(2, Refusal::Draining)]
    );
    assert_eq!(pair.refused(unary("")), Refusal::Draining);
    let server = &mut pair.server.connection;
    server.reply(accepted, Metadata::new(), Bytes::new());
    pair.run();
    assert_eq!(pair.client.ended().token, 1);
    assert_eq!(pair.client.connection.calls_started(), 0);
}

#[test]
fn a_drain_refuses_what_waits_and_counts_one_way_calls() {
    let mut pair = Pair::open();
    let mut one_way_call = unary("one way");
    one_way_call.one_way = true;
    pair.client
        .connection
        .send_one_way(pair.now, one_way_call)
        .unwrap();
    pair.start(1, b"");
    pair.run();
    assert_eq!(pair.server.heard().len(), 2);
    pair.server.connection.drain();
    pair.run();
    // Two calls were accepted, so the second is not refused.
    assert_eq!(pair.client.heard(), [Event::Draining]);

    let mut pair = Pair::new();
    pair.start_waiting(5, unary(bytes(MIN_MESSAGE_BYTES as usize + 1)));
    pair.server.connection.drain();
    pair.run();
    let events = pair.client.heard();
    // The hello allowed the call to leave; the drain packet says that it came too late.
    assert_eq!(events.last(), Some(&Event::Refused(5, Refusal::Draining)));
    assert_eq!(pair.server.heard().len(), 1, "only the hello");
}

#[test]
fn both_sides_may_drain_at_once() {
    let mut pair = Pair::open();
    let call = pair.start(1, b"");
    pair.run();
    pair.server.called();
    pair.client.connection.drain();
    pair.server.connection.drain();
    pair.run();
    assert_eq!(pair.client.heard(), [Event::Draining]);
    assert_eq!(pair.server.heard(), [Event::Draining]);
    let server = &mut pair.server.connection;
    server.reply(call, Metadata::new(), Bytes::new());
    pair.run();
    assert_eq!(pair.client.ended().code, Code::Ok);
}

#[test]
fn packets_of_a_call_after_the_drain_are_ignored_whatever_they_are() {
    let mut raw = Raw::open();
    raw.machine.drain();
    assert_eq!(raw.said(), [Packet::Drain { accepted: 0 }]);
    let late = [
        call(0, None),
        message(theirs(0), last("late")),
        Packet::Cancel(theirs(0)),
    ];
    assert_eq!(raw.send_all(&late), []);
    assert_eq!(raw.said(), []);
}

#[test]
fn a_close_tells_the_other_side_why_and_nothing_follows() {
    let mut pair = Pair::open();
    pair.start(1, b"");
    pair.run();
    pair.server.called();
    pair.server
        .connection
        .close(CloseCode::Normal, "good night");
    pair.server
        .connection
        .close(CloseCode::Internal, "once only");
    pair.run();
    let error = pair.client.error.take().expect("closed");
    assert_eq!(
        error.to_string(),
        "the peer closed the connection (normal): good night"
    );
    assert!(pair.client.connection.is_closed() && pair.server.connection.is_closed());
    assert_eq!(pair.client.connection.take_calls(), [(1, true)]);
    assert_eq!(pair.refused(unary("")), Refusal::Closed);
    for node in [&mut pair.client, &mut pair.server] {
        assert_eq!(node.connection.poll_timeout(), None);
        assert_eq!(node.connection.calls_started(), 0);
    }
}

#[test]
fn the_text_of_a_close_forges_no_line_of_a_log() {
    let mut pair = Pair::open();
    let text = "gut\u{e9}\n12:00 \u{1b}[31mERROR";
    pair.server.connection.close(CloseCode::Normal, text);
    pair.run();
    let error = pair.client.error.take().expect("closed");
    assert_eq!(
        error.to_string(),
        "the peer closed the connection (normal): gut\u{e9}\\n12:00 \\u{1b}[31mERROR"
    );
}

#[test]
fn events_before_a_close_come_first() {
    let mut pair = Pair::open();
    let call = pair.start(1, b"");
    pair.run();
    let server = &mut pair.server.connection;
    server.reply(call, Metadata::new(), Bytes::from_static(b"last words"));
    server.close(CloseCode::Normal, "");
    pair.run();
    assert_eq!(
        pair.client.ended().message.as_deref(),
        Some(&b"last words"[..])
    );
    let error = pair.client.error.take();
    assert!(matches!(error, Some(ConnectionError::ClosedByPeer { .. })));
}

#[test]
fn a_closed_machine_does_nothing_more() {
    let mut pair = Pair::open();
    let call = pair.start(1, b"");
    pair.run();
    pair.server.called();
    let server = &mut pair.server.connection;
    server.close(CloseCode::Normal, "");
    let said = server.output().len();
    server.reply(call, Metadata::new(), Bytes::new());
    assert!(!server.open_reply(call, Metadata::new()));
    server.consume(call, 1, 1);
    server.drain();
    server.fill_output();
    assert_eq!(send(server, call, Bytes::new()), Ok(true));
    assert_eq!(server.output().len(), said);
    let mut garbage = bytes::BytesMut::from(&b"garbage"[..]);
    assert!(matches!(
        server.poll_event(pair.now, &mut garbage),
        Ok(None)
    ));
    assert!(
        server
            .handle_timeout(pair.now + Duration::from_secs(100))
            .is_ok()
    );
}

#[test]
fn a_cut_connection_says_of_each_call_whether_it_was_sent() {
    let mut pair = Pair::open();
    pair.start(1, b"sent");
    pair.run();
    let call = pair
        .client
        .connection
        .start_call(pair.now, unary("not sent"), 2);
    assert!(call.is_ok());
    // After a single byte, the call may have been served.
    let output = pair.client.connection.output();
    output.advance(1);
    let call = pair
        .client
        .connection
        .start_call(pair.now, unary("not sent"), 3);
    assert!(call.is_ok());
    pair.client.connection.lose();
    let mut calls = pair.client.connection.take_calls();
    calls.sort_unstable();
    assert_eq!(calls, [(1, true), (2, true), (3, false)]);
}

#[test]
fn calls_written_before_a_close_packet_count_as_sent() {
    let mut pair = Pair::open();
    pair.start(1, b"on its way");
    let client = &mut pair.client.connection;
    client.close(CloseCode::Normal, "");
    assert_eq!(client.take_calls(), [(1, true)]);
}

#[test]
fn a_call_that_ends_together_with_its_connection_comes_back() {
    let mut pair = Pair::open();
    let deadline = Some(pair.now + Duration::from_secs(30));
    let call = wawo_protocol::NewCall {
        deadline,
        ..unary("")
    };
    let started = pair.client.connection.start_call(pair.now, call, 1);
    assert!(started.is_ok());
    let ping = pair.now + Duration::from_secs(20);
    pair.client.connection.handle_timeout(ping).unwrap();
    let both = pair.now + Duration::from_secs(30);
    let error = pair.client.connection.handle_timeout(both).unwrap_err();
    assert!(matches!(error, ConnectionError::KeepAliveTimedOut(_)));
    assert_eq!(pair.client.connection.take_calls(), [(1, true)]);
}

#[test]
fn a_call_that_expires_in_the_output_may_be_served_and_says_so() {
    let mut pair = Pair::open();
    let deadline = Some(pair.now + Duration::from_secs(1));
    let call = wawo_protocol::NewCall {
        deadline,
        ..unary("")
    };
    let started = pair.client.connection.start_call(pair.now, call, 1);
    assert!(started.is_ok());
    let late = pair.now + Duration::from_secs(2);
    pair.client.connection.handle_timeout(late).unwrap();
    pair.run();
    assert!(pair.client.ended().sent);
    assert!(matches!(pair.server.heard()[..], [Event::Called(_), ..]));
}

#[test]
fn a_cut_stream_ends_with_its_connection() {
    let mut pair = Pair::open();
    let started = pair.client.connection.start_call(pair.now, stream(), 1);
    assert!(started.is_ok());
    pair.run();
    pair.server.called();
    pair.cut();
    pair.delay = Duration::from_secs(3600);
    pair.run_for(Duration::from_secs(60));
    for node in [&mut pair.client, &mut pair.server] {
        let error = node.error.take();
        assert!(
            matches!(error, Some(ConnectionError::KeepAliveTimedOut(_))),
            "{error:?}"
        );
    }
    assert_eq!(pair.client.connection.take_calls(), [(1, true)]);
}

#[test]
fn nothing_follows_a_close_though_calls_have_more_to_say() {
    let mut raw = Raw::open();
    raw.send_all(&[call(0, None), call(1, last(""))]);
    for token in [1, 2] {
        let started = raw.machine.start_call(raw.now, stream(), token);
        assert_eq!(started, Ok(StartedCall::Sent(ours(token - 1))));
    }
    assert!(raw.machine.open_reply(theirs(0), Metadata::new()));
    let long = bytes(MIN_MESSAGE_BYTES as usize);
    raw.machine.reply(theirs(1), Metadata::new(), long);
    raw.machine.close(CloseCode::Normal, "");

    let sent = send(&mut raw.machine, theirs(0), bytes(1));
    assert_eq!(sent, Ok(true));
    raw.machine.finish(ours(0));
    assert_eq!(raw.machine.cancel(ours(1)), Some(2));
    assert!(!raw.machine.wants_output());
    let said = raw.said();
    assert!(matches!(said.last(), Some(Packet::Close { .. })));
    assert!(!raw.machine.has_events());
    assert_eq!(raw.machine.take_calls(), [(1, true)]);
}

/// Metrics count ends of connections by these words.
#[test]
fn the_end_of_a_connection_has_a_reason_in_one_word() {
    let time = Duration::from_secs(1);
    let lost = || std::io::Error::other("cut");
    let (reason, source) = (String::new(), None);
    let errors = [
        (ConnectionError::ClosedHere, "closed_here"),
        (
            ConnectionError::closed_by_peer(CloseCode::Normal, ""),
            "closed_by_peer",
        ),
        (
            ConnectionError::PeerMisbehaved(PeerMisbehaved::PongUnasked),
            "violation",
        ),
        (
            ConnectionError::HandshakeTimedOut(time),
            "handshake_timeout",
        ),
        (ConnectionError::AcceptTimedOut(time), "handshake_timeout"),
        (
            ConnectionError::KeepAliveTimedOut(time),
            "keep_alive_timeout",
        ),
        (ConnectionError::PacketTimedOut(time), "packet_timeout"),
        (
            ConnectionError::SlowReader {
                waiting: 1,
                timeout: time,
            },
            "write_timeout",
        ),
        (ConnectionError::Refused { reason, source }, "refused"),
        (
            ConnectionError::NoCredentials(Arc::new(lost())),
            "no_credentials",
        ),
        (ConnectionError::Lost(Arc::new(lost())), "lost"),
    ];
    for (error, reason) in errors {
        assert_eq!(error.reason(), reason);
        let setting = reason.strip_suffix("_timeout").map(|_| reason);
        let text = error.to_string();
        assert!(
            setting.is_none_or(|setting| text.contains(setting)),
            "{text}"
        );
    }
    assert_eq!(Side::Connecting.name(), "connecting");
    assert_eq!(Side::Accepting.name(), "accepting");
}
