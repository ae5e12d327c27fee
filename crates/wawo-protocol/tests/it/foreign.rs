//! The first bytes of other protocols, and the hints that the error gives.

use bytes::BytesMut;
use wawo_protocol::packet::decode_preface;

fn text(first: &[u8]) -> String {
    let preface = decode_preface(&mut BytesMut::from(first));
    preface.expect_err("no preface").to_string()
}

#[test]
fn other_protocols_are_told_by_their_first_bytes() {
    let http = b"\0\0\x12\x04\0\0\0\0\0\0\x03";
    for (first, protocol) in [
        (&b"\x16\x03\x01\x02\0\x01\0\x01\xfc"[..], "begins with TLS"),
        (b"\x16\x03", "begins with TLS"),
        (b"\x15\x03\x03\0\x02\x02\x46", "connect with TLS"),
        (b"GET / HTTP/1.1\r\n", "for an HTTP server"),
        (b"POST /x HTTP/1.1\r\n", "for an HTTP server"),
        (b"HTTP/1.1 400 Bad", "is an HTTP server"),
        (b"<!DOCTYPE HTML>", "is an HTTP server"),
        (b"PRI * HTTP/2.0\r\n", "HTTP/2"),
        (http, "HTTP/2"),
        (b"SSH-2.0-OpenSSH", "SSH"),
    ] {
        let text = text(first);
        assert!(text.contains(protocol), "{text}");
    }
}

#[test]
fn bytes_that_no_protocol_has_are_only_shown_and_escaped_once() {
    let text = text(b"\x16\x04\n\"");
    let expected = r#"not a wawo connection: it begins with "\x16\x04\n\"", not with "WAWO/1\r\n""#;
    assert_eq!(text, expected);
    // One byte may be the start of anything.
    assert!(!self::text(b"\x16").contains("TLS"));
}
