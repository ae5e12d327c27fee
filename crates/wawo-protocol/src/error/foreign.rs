//! Names other protocols by their first bytes, so that a user who connected to the wrong port is
//! told which protocol answered.

/// First bytes, escaped as by [`u8::escape_ascii`], and their sender. They are compared with at
/// most eight bytes that have come, perhaps fewer.
const PROTOCOLS: [(&str, &str); 23] = [
    (
        r"\x16\x03",
        "the peer begins with TLS, which this side does not speak here: connect without TLS, or \
         serve TLS at this address",
    ),
    (
        r"\x15\x03",
        "this is an alert of TLS, so the peer speaks TLS: connect with TLS",
    ),
    ("HTTP/", HTTP_SERVER),
    // Some servers answer bytes that they do not know with a page and no head.
    ("<!DOC", HTTP_SERVER),
    ("<!doc", HTTP_SERVER),
    ("<HTML", HTTP_SERVER),
    ("<html", HTTP_SERVER),
    ("GET ", HTTP_CLIENT),
    ("HEAD ", HTTP_CLIENT),
    ("POST ", HTTP_CLIENT),
    ("PUT ", HTTP_CLIENT),
    ("DELETE ", HTTP_CLIENT),
    ("PATCH ", HTTP_CLIENT),
    ("OPTIONS ", HTTP_CLIENT),
    ("CONNECT ", HTTP_CLIENT),
    ("PRI * ", HTTP_2),
    // The head of a settings frame, with which a server begins.
    (r"\x00\x00\x00\x04", HTTP_2),
    (r"\x00\x00\x06\x04", HTTP_2),
    (r"\x00\x00\x0c\x04", HTTP_2),
    (r"\x00\x00\x12\x04", HTTP_2),
    ("SSH-", "the peer speaks SSH"),
    ("PROXY ", PROXY),
    (r"\r\n\r\n\x00\r\nQ", PROXY),
];

const PROXY: &str = "this is a header of the PROXY protocol: name the proxy in `trusted_proxies` of the \
                     server, and set `proxy_protocol`";

const HTTP_CLIENT: &str = "the peer takes this side for an HTTP server";
const HTTP_SERVER: &str = "the peer is an HTTP server";
const HTTP_2: &str = "the peer speaks HTTP/2, as gRPC does";

/// The name of the protocol that the first bytes of a connection may belong to, as a part of a text
/// that comes after them.
pub(crate) fn hint(begins: &str) -> String {
    let mut protocols = PROTOCOLS.iter();
    let found = protocols.find(|(first, _)| begins.starts_with(first));
    found.map_or_else(String::new, |(_, hint)| format!("; {hint}"))
}
