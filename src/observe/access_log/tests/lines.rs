//! The text of lines.

use std::{
    num::NonZeroU64,
    time::{Duration, SystemTime},
};

use wawo_protocol::Code;

use super::{Call, end, json::Json, json_lines, text_lines};
use crate::{
    identity::Identity,
    observe::{
        CallSide, CallSummary, TraceContext,
        access_log::{
            fields::{AllowedKey, Fields, PrintIdentity},
            line::Form,
        },
    },
    peer_id::PeerId,
    status::Delivery,
    transport::Address,
};

struct User {
    name: &'static str,
}

/// A call of which all is known.
fn full_call(side: CallSide) -> Call {
    let mut call = Call::new(side)
        .with_metadata("user-agent", b"curl \"8\"")
        .with_metadata("user-agent", b"second")
        .with_metadata("api-token", b"s3cret")
        .with_metadata("trace-bin", &[0, 0xff, b'\n'])
        .with_metadata("other", b"unseen");
    call.peer = Some(PeerId::of(NonZeroU64::new(7).unwrap()));
    call.address = Some("tcp://127.0.0.1:4000".parse::<Address>().unwrap());
    call.identity = Some(Identity::new(User { name: "ada" }));
    call.trace = TraceContext::new([0xab; 16], [0x0c; 8], true);
    call.call_depth = 2;
    call
}

fn full_fields() -> Fields {
    let keys = ["User-Agent", "api-token", "trace-bin", "absent"];
    Fields {
        identity: Some(PrintIdentity::new(|user: &User| user.name)),
        keys: keys.into_iter().map(AllowedKey::new).collect(),
    }
}

fn line(fields: &Fields, form: Form, call: &Call, end: &CallSummary<'_>) -> String {
    let mut text = Vec::new();
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_796_036_730_123_456);
    fields.push_line(&mut text, form, time, &call.as_observed(), end);
    String::from_utf8(text).unwrap()
}

#[test]
fn a_line_has_all_that_is_known_of_a_call() {
    let call = full_call(CallSide::Server);
    let mut end = end(Code::Ok, "");
    (end.reply_messages, end.reply_bytes) = (3, 4_096);
    end.first_reply = Some(Duration::from_micros(99));
    let json = line(&full_fields(), Form::Json, &call, &end);
    let expected = concat!(
        r#"{"ts":"2026-11-30T11:05:30.123456Z","side":"server","method":"chat.v1.Chat/Join","code":"OK","#,
        r#""peer":7,"identity":"ada","remote":"tcp://127.0.0.1:4000","protocol":"wawo","queued_us":3,"#,
        r#""first_reply_us":99,"duration_us":152,"request_messages":1,"request_bytes":20,"#,
        r#""reply_messages":3,"reply_bytes":4096,"depth":2,"#,
        r#""trace_id":"abababababababababababababababab","span_id":"0c0c0c0c0c0c0c0c","#,
        r#""metadata":{"user-agent":"curl \"8\"","api-token":"..","trace-bin":"AP8K"}}"#,
        "\n"
    );
    assert_eq!(json, expected);
    let text = line(&full_fields(), Form::Text, &call, &end);
    let expected = concat!(
        "2026-11-30T11:05:30.123456Z server chat.v1.Chat/Join OK ",
        "peer=7 identity=ada remote=tcp://127.0.0.1:4000 protocol=wawo queued_us=3 ",
        "first_reply_us=99 duration_us=152 request_messages=1 request_bytes=20 ",
        "reply_messages=3 reply_bytes=4096 depth=2 ",
        "trace_id=abababababababababababababababab span_id=0c0c0c0c0c0c0c0c ",
        r#"metadata.user-agent="curl \"8\"" metadata.api-token=.. metadata.trace-bin=AP8K"#,
        "\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn a_failed_call_of_this_side_has_a_text_attempts_and_delivery() {
    let call = Call::new(CallSide::Client);
    for (delivery, name) in [
        (Delivery::NotSent, "not_sent"),
        (Delivery::Unknown, "unknown"),
        (Delivery::Responded, "responded"),
    ] {
        let mut end = end(Code::NotFound, "no such room");
        (end.delivery, end.attempts) = (Some(delivery), 2);
        let text = line(&Fields::default(), Form::Text, &call, &end);
        let expected = format!(
            "2026-11-30T11:05:30.123456Z client chat.v1.Chat/Join NOT_FOUND text=\"no such room\" \
             protocol=wawo duration_us=152 request_messages=1 request_bytes=20 reply_messages=0 \
             reply_bytes=0 attempts=2 delivery={name} depth=0\n"
        );
        assert_eq!(text, expected);
    }
}

#[test]
fn fields_without_a_value_are_left_out() {
    let mut call = Call::new(CallSide::Server);
    call.is_known = false;
    let json = line(
        &full_fields(),
        Form::Json,
        &call,
        &end(Code::Unimplemented, ""),
    );
    let expected = concat!(
        r#"{"ts":"2026-11-30T11:05:30.123456Z","side":"server","method":"_OTHER","#,
        r#""code":"UNIMPLEMENTED","protocol":"wawo","queued_us":3,"duration_us":152,"#,
        r#""request_messages":1,"request_bytes":20,"reply_messages":0,"reply_bytes":0,"depth":0}"#,
        "\n"
    );
    assert_eq!(json, expected);
}

#[test]
fn identities_and_metadata_are_not_logged_unless_asked_for() {
    let call = full_call(CallSide::Server);
    let json = line(&Fields::default(), Form::Json, &call, &end(Code::Ok, ""));
    let json = Json::parse(json.trim_end());
    assert_eq!((json.get("identity"), json.get("metadata")), (None, None));
    let fields = Fields {
        identity: Some(PrintIdentity::new(|number: &u32| *number)),
        ..Fields::default()
    };
    let json = line(&fields, Form::Json, &call, &end(Code::Ok, ""));
    assert_eq!(Json::parse(json.trim_end()).get("identity"), None);
}

/// Texts that try to end a line, a value or a string, or to control a terminal.
const EVIL: [&str; 8] = [
    "\n2026-11-30T11:05:30.123456Z server chat.v1.Chat/Join OK",
    "\",\"code\":\"OK",
    "\\",
    "a b=c",
    "\r\u{1b}]0;owned\u{7}\u{9b}2J",
    "\u{2028}\u{85}\u{202e}",
    "",
    "\0🦀\u{e0041}",
];

#[test]
fn no_text_can_begin_a_line_or_a_field() {
    for evil in EVIL {
        let mut call = Call::new(CallSide::Server);
        call.identity = Some(Identity::new(evil));
        call.address = Some(Address::Abstract(evil.to_owned()));
        let fields = Fields {
            identity: Some(PrintIdentity::new(|user: &&'static str| *user)),
            ..Fields::default()
        };
        let end = end(Code::Internal, evil);
        let json = line(&fields, Form::Json, &call, &end);
        let read = Json::parse(json.strip_suffix('\n').unwrap());
        assert_eq!(read.text("identity"), evil);
        assert_eq!(read.text("remote"), format!("unix://@{evil}"));
        assert_eq!(read.text("code"), "INTERNAL");
        assert!(evil.is_empty() || read.text("text") == evil);
        let text = line(&fields, Form::Text, &call, &end);
        for printed in [&json, &text] {
            let printed = printed.strip_suffix('\n').unwrap();
            assert!(!printed.contains(char::is_control), "{printed:?}");
            assert!(!printed.contains(['\u{2028}', '\u{202e}']), "{printed:?}");
        }
        let without_values = unquoted(&text);
        let fields = without_values
            .split_whitespace()
            .filter(|part| part.contains('='));
        let has_text = usize::from(!evil.is_empty());
        assert_eq!(fields.count(), 10 + has_text, "{text}");
    }
}

/// A line without the contents of its quotes.
fn unquoted(text: &str) -> String {
    let (mut outside, mut is_inside, mut is_escaped) = (String::new(), false, false);
    for c in text.chars() {
        if c == '"' && !is_escaped {
            is_inside = !is_inside;
        } else if !is_inside {
            outside.push(c);
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    assert!(!is_inside, "{text}");
    outside
}

#[test]
fn a_long_value_is_cut_so_that_a_line_has_a_limit() {
    let long: &'static [u8] = Vec::leak(vec![b'x'; 65_535]);
    let call = Call::new(CallSide::Server)
        .with_metadata("long", long)
        .with_metadata("long-bin", long);
    let text = "\n".repeat(100_000);
    let calls = |end: &CallSummary<'_>| {
        let keys = ["long", "long-bin"];
        let log = |log: super::AccessLog| log.metadata(keys);
        let json = json_lines(log, |log| call.end(log, end));
        let text = text_lines(log, |log| call.end(log, end));
        [json, text].concat()
    };
    for line in calls(&end(Code::Internal, &text)) {
        assert!(line.len() < 4_000, "{}", line.len());
        assert_eq!(line.matches('…').count(), 3, "{line}");
    }
}
