//! A peer that sends forbidden bytes learns the violated rule, and no other peer is affected.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::TcpStream,
};
use wawo::{Peer, Server};

use crate::support::{EchoClient, EchoServer, Parrot, message, serve};

/// The preface, and an empty hello.
const BEGIN: &[u8] = b"WAWO/1\r\n\0\0\0\0\x01\0\0\0\0\0\0\0";

/// Sends bytes, and returns all bytes that come back until the end.
async fn send(mut socket: impl AsyncReadExt + AsyncWriteExt + Unpin, bytes: &[u8]) -> Vec<u8> {
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    answer
}

/// The code and text of a close packet, which is the last packet in `answer`.
fn close(answer: &[u8], text: &str) -> u16 {
    let end = answer.len() - text.len();
    assert_eq!(String::from_utf8_lossy(&answer[end..]), text);
    let head = &answer[end - 12..end];
    assert_eq!(head[4], 5, "a close packet");
    assert_eq!(head[..4], (text.len() as u32).to_be_bytes());
    u16::from_be_bytes([head[6], head[7]])
}

async fn refused(bytes: &[u8], code: u16, text: &str) {
    // Over memory, beside an honest peer at the same server.
    let mut server = Server::builder()
        .add_service(EchoServer::new(Parrot::default()))
        .build()
        .unwrap();
    let (here, there): (DuplexStream, DuplexStream) = tokio::io::duplex(64 * 1024);
    let honest_io = tokio::io::duplex(64 * 1024);
    let honest_at_server = server.accept_over(honest_io.1).unwrap();
    let honest = Peer::builder("").connect_over(honest_io.0).await.unwrap();
    let bad = server.accept_over(there).unwrap();
    assert_eq!(close(&send(here, bytes).await, text), code);
    assert!(bad.closed().await.to_string().contains(text));
    let reply = EchoClient::new(&honest).say(message("fine")).await.unwrap();
    assert_eq!(reply.data, "fine");
    assert!(!honest_at_server.is_closed());

    // Over TCP.
    let (_server, address, _) = serve("tcp://127.0.0.1:0").await;
    let socket = TcpStream::connect(address.trim_start_matches("tcp://")).await;
    assert_eq!(close(&send(socket.unwrap(), bytes).await, text), code);
}

#[tokio::test]
async fn a_length_of_four_gigabytes_is_refused_from_the_head() {
    let bytes = [BEGIN, b"\xff\xff\xff\xff\x06\x01\0\0\0\0\0\x01"].concat();
    let text = "a packet with 4294967295 bytes of payload; \
                this side takes at most 131072 (max_packet_bytes)";
    refused(&bytes, 2, text).await;
}

#[tokio::test]
async fn an_unknown_packet_kind_is_named() {
    let bytes = [BEGIN, b"\0\0\0\0\x63\0\0\0\0\0\0\0"].concat();
    refused(&bytes, 1, "unknown packet kind 99").await;
}

#[tokio::test]
async fn another_protocol_is_named_by_how_it_begins() {
    let text = r#"not a wawo connection: it begins with "GET / HT", not with "WAWO/1\r\n"; the peer takes this side for an HTTP server"#;
    refused(b"GET / HTTP/1.1\r\n\r\n", 1, text).await;
}

#[tokio::test]
async fn a_client_of_tls_at_a_plain_port_is_told_by_its_first_bytes() {
    let text = r#"it begins with "\x16\x03\x01\x00\xf4\x01\x00\x00", not with "WAWO/1\r\n"; the peer begins with TLS, which this side does not speak here: connect without TLS, or serve TLS at this address"#;
    let text = format!("not a wawo connection: {text}");
    refused(b"\x16\x03\x01\0\xf4\x01\0\0\xf0\x03\x03", 1, &text).await;
}

#[tokio::test]
async fn a_plain_client_at_a_port_of_tls_is_told_by_the_alert() {
    let (here, mut there) = tokio::io::duplex(1024);
    // The TLS alert "unexpected message", which a TLS server answers to a preface.
    let alert = b"\x15\x03\x03\0\x02\x02\x0a";
    there.write_all(alert).await.unwrap();
    let error = Peer::builder("").connect_over(here).await.unwrap_err();
    let hint = "; this is an alert of TLS, so the peer speaks TLS: connect with TLS";
    assert!(error.to_string().ends_with(hint), "{error}");
}

#[tokio::test]
async fn a_peer_that_goes_before_its_hello_may_speak_another_protocol() {
    let (here, there) = tokio::io::duplex(1024);
    drop(there);
    let error = Peer::builder("").connect_over(here).await.unwrap_err();
    let text = "before the hello of the peer, which may speak another protocol, or TLS";
    assert!(error.to_string().ends_with(text), "{error}");
    assert!(matches!(error, wawo::ConnectError::Hello { .. }));
}

#[tokio::test]
async fn a_later_version_is_named() {
    let text = r#"wawo version "WAWO/2\r\n" is not spoken here; this side speaks version 1"#;
    refused(b"WAWO/2\r\n", 3, text).await;
}

#[tokio::test]
async fn a_call_before_the_hello_is_refused() {
    let bytes = [
        &BEGIN[..8],
        b"\0\0\0\x08\x06\x01\0\0\0\0\0\x01\0\0\0\x07\0\0\0\x01",
    ]
    .concat();
    refused(&bytes, 1, "call packet before the hello").await;
}
