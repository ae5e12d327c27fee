//! The other end of a custom protocol misbehaves: it learns the reason, and no other peer is
//! affected.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use wawo::{Code, CustomPacket, CustomProtocol, MethodId, PacketCodec, Peer, Server};

use crate::{
    custom_protocol::{
        act,
        plain::{ECHO, Plain, Raw, raw, raw_with, say},
    },
    support::{EchoClient, message},
};

/// Waits until the connection is closed, and checks the reason. Meanwhile, an honest peer of wawo's
/// own protocol at the same server is served.
async fn closed(mut end: Raw, reason: &str) {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let at_server = end.server.accept_over(there).unwrap();
    let honest = Peer::builder("").connect_over(here).await.unwrap();
    let error = end.peer.closed().await.to_string();
    assert_eq!(error, format!("the peer closed the connection ({reason}"));
    // The transport is closed too.
    let mut rest = Vec::new();
    end.socket.read_to_end(&mut rest).await.unwrap();
    let reply = EchoClient::new(&honest).say(message("fine")).await.unwrap();
    assert_eq!(reply.data, "fine");
    assert!(!at_server.is_closed());
}

#[tokio::test]
async fn an_error_of_the_codec_is_the_reason() {
    let mut end = raw();
    end.socket.write_all(b"\0\0\0\x05GET /").await.unwrap();
    let reason = "protocol violation): the codec cannot read what came: a packet of 5 bytes";
    closed(end, reason).await;
}

/// A codec that panics on every read.
#[derive(Debug)]
struct Panicking;

impl PacketCodec for Panicking {
    type Error = String;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<CustomPacket>, String> {
        assert!(input.is_empty(), "no bytes, please");
        Ok(None)
    }

    fn encode(&mut self, packet: CustomPacket, _: &mut BytesMut) -> Result<(), String> {
        panic!("no packets, please: {packet:?}")
    }
}

/// A codec runs in the driver of its connection, so its panic ends only this connection.
#[tokio::test]
async fn a_codec_that_panics_ends_its_connection_alone() {
    let mut end = raw();
    let server = &mut end.server;
    for is_read in [true, false] {
        let (mut here, there) = tokio::io::duplex(1024);
        let peer = server
            .accept_over(CustomProtocol::accepting(there, Panicking))
            .unwrap();
        match is_read {
            true => here.write_all(b"a packet").await.unwrap(),
            false => {
                let status = EchoClient::new(&peer).say(message("hi")).await.unwrap_err();
                assert_eq!(status.code(), Code::Unavailable);
            }
        }
        peer.closed().await;
        let mut rest = Vec::new();
        here.read_to_end(&mut rest).await.unwrap();
        drop(peer);
        assert_eq!(server.handle().peers().len(), 1, "the other one is left");
    }
    let (here, there) = tokio::io::duplex(1024);
    let _ = server.accept_over(there).unwrap();
    let honest = Peer::builder("").connect_over(here).await.unwrap();
    EchoClient::new(&honest).say(message("fine")).await.unwrap();
}

#[tokio::test]
async fn a_packet_that_cannot_be_written_is_the_reason_and_none_of_it_is_sent() {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let end = raw();
    let mut server = end.server;
    let framed = CustomProtocol::accepting(there, Plain { unwritable: 100 });
    let peer = server.accept_over(framed).unwrap();
    let mut end = Raw {
        socket: here,
        peer,
        server,
        ..end
    };
    end.send(CustomPacket::request(ECHO, MethodId(1), 1, say("small")))
        .await;
    assert_eq!(end.next().await.payload, say("small"));
    let large = CustomPacket::request(ECHO, MethodId(1), 2, say(vec![0; 200]));
    end.send(large).await;
    let reason = "internal fault): the codec cannot write a packet of this side: \
                  203 bytes do not fit";
    closed(end, reason).await;
}

#[tokio::test]
async fn a_call_number_in_flight_is_not_taken_again() {
    let mut end = raw();
    end.send(act(5, "wait")).await;
    end.send(act(5, "fine")).await;
    let reason = "protocol violation): call 5 was started while a call with this number was \
                  in flight";
    closed(end, reason).await;
}

#[tokio::test]
async fn an_answer_to_a_call_that_was_never_made_is_refused() {
    for call in [0, 1] {
        let mut end = raw();
        end.send(CustomPacket::reply(call, Bytes::new())).await;
        let reason =
            format!("protocol violation): a reply for call {call}, which this side never made");
        closed(end, &reason).await;
    }
    let mut end = raw();
    end.send(CustomPacket::failure(9, Code::Internal, "")).await;
    let reason = "protocol violation): a failure for call 9, which this side never made";
    closed(end, reason).await;
}

#[tokio::test]
async fn a_failure_needs_a_code() {
    let mut end = raw();
    end.send(CustomPacket::failure(1, Code::Ok, "")).await;
    let reason = "protocol violation): a failure with the code Ok for call 1; a failure needs \
                  another code";
    closed(end, reason).await;
}

#[tokio::test]
async fn a_stream_that_ends_within_a_packet_is_told_from_one_that_ends_after_it() {
    let mut end = raw();
    end.socket.write_all(b"\0\0\0\x0d\x01").await.unwrap();
    end.socket.shutdown().await.unwrap();
    let reason = "protocol violation): the other end closed the transport within a packet, \
                  5 bytes after its start";
    closed(end, reason).await;

    let mut end = raw();
    end.send(act(1, "fine")).await;
    end.next().await;
    end.socket.shutdown().await.unwrap();
    closed(end, "normal): the other end closed the transport").await;
}

#[tokio::test]
async fn a_packet_may_have_the_limit_and_not_a_byte_more() {
    // The head has 17 bytes, the protobuf 3 + 1000.
    let framed = |max| raw_with(move |framed| framed.max_packet_bytes(max));
    let request = || CustomPacket::request(ECHO, MethodId(1), 1, say(vec![0; 1000]));
    let mut end = framed(1020);
    end.send(request()).await;
    assert_eq!(end.next().await.payload, say(vec![0; 1000]));

    let mut end = framed(1019);
    end.send(request()).await;
    let reason = "limit exceeded): 1019 bytes came without a whole packet, which has no more \
                  (CustomProtocol::max_packet_bytes)";
    closed(end, reason).await;
}

#[tokio::test]
async fn a_one_way_message_over_the_limit_of_the_server_is_the_reason() {
    let mut end = raw_with(|framed| framed.max_packet_bytes(8 * 1024 * 1024));
    let large = say(vec![0; 5 * 1024 * 1024]);
    let length = large.len();
    end.send(CustomPacket::request(ECHO, MethodId(1), 1, large.clone()))
        .await;
    assert_eq!(end.next_failure().await.0, Code::ResourceExhausted);
    end.send(CustomPacket::one_way(ECHO, MethodId(3), large))
        .await;
    let reason = format!(
        "limit exceeded): a one-way message of {length} bytes; this side takes at most 4194304 \
         (max_message_bytes)"
    );
    closed(end, &reason).await;
}

#[tokio::test]
async fn the_text_of_an_error_is_cut() {
    let end = raw();
    let (here, there) = tokio::io::duplex(1024);
    let mut server = end.server;
    let peer = server
        .accept_over(CustomProtocol::accepting(there, Wordy))
        .unwrap();
    let error = peer.closed().await.to_string();
    assert!((1000..1200).contains(&error.len()), "{}", error.len());
    drop(here);
}

/// A codec whose errors are long.
struct Wordy;

impl PacketCodec for Wordy {
    type Error = String;

    fn decode(&mut self, _: &mut BytesMut) -> Result<Option<CustomPacket>, String> {
        Err("no ".repeat(1 << 20))
    }

    fn encode(&mut self, _: CustomPacket, _: &mut BytesMut) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test]
async fn random_bytes_end_the_connection_and_nothing_else() {
    let mut seed = 1_u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    for _ in 0..200 {
        let mut end = raw();
        // Small numbers are likely, so the bytes often form packets.
        let mut byte = || [random() % 20, random() % 8, 0, 0][usize::from(random() % 4)];
        let bytes: Vec<u8> = (0..2000).map(|_| byte()).collect();
        // The connection may end before all bytes are written.
        let _ = end.socket.write_all(&bytes).await;
        let _ = end.socket.shutdown().await;
        end.peer.closed().await;
    }
}

#[tokio::test]
async fn an_end_that_is_given_to_the_wrong_side_is_told_so() {
    let (here, _there) = tokio::io::duplex(1024);
    let framed = CustomProtocol::accepting(here, Plain::default());
    let error = Peer::builder("").connect_over(framed).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("both sides have connected"), "{error}");
    assert!(
        error.ends_with("use CustomProtocol::accepting for a server, CustomProtocol::connecting for connect_over"),
        "{error}"
    );
}

/// Two accepting sides wait for each other's hello.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_given_the_end_that_connects_times_out() {
    let mut server = Server::builder().build().unwrap();
    let (here, _there) = tokio::io::duplex(1024);
    let framed = CustomProtocol::connecting(here, Plain::default());
    let peer = server.accept_over(framed).unwrap();
    let call = EchoClient::new(&peer).say(message("hi")).no_timeout();
    let status = call.await.unwrap_err();
    assert_eq!(status.delivery(), wawo::Delivery::NotSent);
    let error = peer.closed().await.to_string();
    assert_eq!(
        error,
        "no hello from the peer within 5s (handshake_timeout)"
    );
}

#[tokio::test]
async fn an_error_of_the_transport_comes_after_what_was_read_before_it() {
    let mut end = raw();
    let mut bytes = BytesMut::new();
    let note = CustomPacket::one_way(ECHO, MethodId(3), say("note"));
    PacketCodec::encode(&mut Plain::default(), note, &mut bytes).unwrap();
    let broken = Broken(bytes.freeze());
    let framed = CustomProtocol::accepting(broken, Plain::default());
    let peer = end.server.accept_over(framed).unwrap();
    let error = peer.closed().await.to_string();
    assert_eq!(error, "the connection was lost: cable cut");
    end.seen
        .until(|seen| seen.notes.load(std::sync::atomic::Ordering::SeqCst) == 1)
        .await;
}

/// A transport that delivers its bytes, then fails, and accepts no writes.
struct Broken(Bytes);

impl AsyncRead for Broken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Ready(Err(io::Error::other("cable cut")));
        }
        buf.put_slice(&std::mem::take(&mut self.0));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
