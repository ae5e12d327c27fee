//! Memory for the other end of a custom protocol is bounded, whatever it does. Time is paused, so a
//! test waits for the clock only when nothing else is left to do.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::BytesMut;
use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use wawo::{
    Code, Config, CustomPacket, CustomProtocol, MethodId, PacketCodec, PacketKind, Peer, Server,
};

use crate::{
    custom_protocol::{
        act,
        plain::{ECHO, Plain, Raw, raw, raw_with, say},
    },
    support::{EchoClient, EchoServer, Parrot, message},
};

/// The minimum of `max_calls`.
const MAX_CALLS: u32 = 64;

/// Longer than all pending work takes, and shorter than any timeout.
const DONE: Duration = Duration::from_secs(1);

fn with_few_calls() -> Raw {
    let config = Config::builder().max_calls(MAX_CALLS).build().unwrap();
    let (here, there) = tokio::io::duplex(64 * 1024);
    let parrot = Parrot::default();
    let seen = parrot.0.clone();
    let server = Server::builder()
        .config(config)
        .add_service(EchoServer::new(parrot));
    let mut server = server.build().unwrap();
    let framed = CustomProtocol::accepting(there, Plain::default());
    let peer = server.accept_over(framed).unwrap();
    Raw {
        socket: here,
        input: BytesMut::new(),
        peer,
        seen,
        server,
    }
}

/// The bytes of many requests.
fn requests(numbers: std::ops::Range<u32>) -> BytesMut {
    let mut bytes = BytesMut::new();
    for number in numbers {
        Plain::default()
            .encode(act(number, "wait"), &mut bytes)
            .unwrap();
    }
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_call_beyond_the_limit_fails_and_the_others_go_on() {
    let mut end = with_few_calls();
    for number in 0..MAX_CALLS {
        end.send(act(number, "hold")).await;
    }
    end.send(act(MAX_CALLS, "fine")).await;
    let (code, text) = end.next_failure().await;
    assert_eq!(code, Code::ResourceExhausted);
    assert_eq!(
        text,
        "64 calls are in flight; the callee takes 64 (max_calls)"
    );
    end.seen.release.notify_waiters();
    for _ in 0..MAX_CALLS {
        assert_eq!(end.next().await.kind, PacketKind::Reply);
    }
    end.send(act(MAX_CALLS, "fine")).await;
    assert_eq!(end.next().await.kind, PacketKind::Reply);
}

#[tokio::test(start_paused = true)]
async fn calls_that_follow_cancelled_ones_wait_for_their_places() {
    let mut end = with_few_calls();
    let mut bytes = requests(0..MAX_CALLS);
    for number in 0..MAX_CALLS {
        let cancel = CustomPacket::cancel(number);
        Plain::default().encode(cancel, &mut bytes).unwrap();
    }
    for number in 0..MAX_CALLS {
        let again = act(number, "fine");
        Plain::default().encode(again, &mut bytes).unwrap();
    }
    Plain::default()
        .encode(CustomPacket::cancel(3), &mut bytes)
        .unwrap();
    end.socket.write_all(&bytes).await.unwrap();
    let mut answers = 0;
    while let Ok(answer) = timeout(DONE, end.next()).await {
        assert_eq!(answer.kind, PacketKind::Reply);
        answers += 1;
    }
    // The cancelled call may have been answered before.
    assert!((MAX_CALLS - 1..=MAX_CALLS).contains(&answers), "{answers}");
}

#[tokio::test(start_paused = true)]
async fn an_end_that_asks_and_never_reads_is_not_read_and_goes_on_when_it_reads() {
    const FLOOD: u32 = 200_000;
    let end = with_few_calls();
    let flood = requests(0..FLOOD);
    let (mut read, mut write) = tokio::io::split(end.socket);
    let mut written = 0;
    while let Ok(more) = timeout(DONE, write.write(&flood[written..])).await {
        written += more.unwrap();
    }
    let refused = written / (flood.len() / FLOOD as usize);
    assert!((10_000..40_000).contains(&refused), "{refused}");

    // All calls but the first ones are refused, down to the last.
    let writing = tokio::spawn(async move {
        write.write_all(&flood[written..]).await.unwrap();
        write
    });
    let mut input = BytesMut::new();
    let mut failures = 0;
    while failures < FLOOD - MAX_CALLS {
        read.read_buf(&mut input).await.unwrap();
        while let Some(packet) = Plain::default().decode(&mut input).unwrap() {
            assert_ne!(packet.kind, PacketKind::Reply);
            failures += 1;
        }
    }
    writing.await.unwrap();
    assert_eq!(end.seen.begun.load(Ordering::SeqCst), MAX_CALLS as usize);
}

#[tokio::test(start_paused = true)]
async fn output_for_a_stuck_transport_is_bounded() {
    const CALL_BYTES: usize = 12 + 8 + 10_000;
    let (_here, there) = tokio::io::duplex(1);
    // Sends much, as a driver would.
    let mut framed = CustomProtocol::connecting(there, Plain::default());
    let begin = b"WAWO/1\r\n\0\0\0\0\x01\0\0\0\0\0\0\0";
    framed.write_all(begin).await.unwrap();
    let mut written = 0;
    'calls: for call in 0_u32.. {
        let mut bytes = BytesMut::new();
        let length = CALL_BYTES as u32 - 12;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(b"\x06\x01\0\0");
        bytes.extend_from_slice(&(2 * call + 1).to_be_bytes());
        bytes.extend_from_slice(b"\0\0\0\x07\0\0\0\x01");
        bytes.resize(CALL_BYTES, 0);
        while !bytes.is_empty() {
            let Ok(taken) = timeout(DONE, framed.write(&bytes)).await else {
                break 'calls;
            };
            let taken = taken.unwrap();
            written += taken;
            bytes.split_to(taken).clear();
        }
    }
    let most = 1024 * 1024 + 2 * CALL_BYTES;
    assert!((1024 * 1024..most).contains(&written), "{written}");
}

#[tokio::test(start_paused = true)]
async fn an_end_that_reads_nothing_for_long_is_given_up() {
    let end = raw();
    let stub = EchoClient::new(&end.peer);
    let call = || stub.say(message(vec![0; 60_000])).timeout(DONE);
    let calls = (0..100).map(|_| call());
    for status in join_all(calls).await {
        assert_eq!(status.unwrap_err().code(), Code::DeadlineExceeded);
    }
    let error = end.peer.closed().await.to_string();
    assert!(error.starts_with("the peer does not read: "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_message_to_the_other_end_has_room_in_a_packet_or_fails_before() {
    let mut end = raw_with(|framed| framed.max_packet_bytes(100_064));
    let stub = EchoClient::new(&end.peer);
    let call = stub.say(message(vec![0; 100_000]));
    let status = call.await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(
        status.message().contains("the peer takes at most 100000"),
        "{status}"
    );

    // The same for a reply: the request has room for a longer head.
    let request = CustomPacket::request(ECHO, MethodId(1), 1, say(vec![0; 100_001]));
    end.send(request).await;
    assert_eq!(end.next_failure().await.0, Code::ResourceExhausted);
    let call = tokio::spawn(async move { stub.say(message(vec![0; 99_996])).await });
    let request = end.next().await;
    assert_eq!(request.payload.len(), 100_000);
    end.send(CustomPacket::reply(request.call, request.payload))
        .await;
    assert_eq!(call.await.unwrap().unwrap().data.len(), 99_996);
}

#[tokio::test(start_paused = true)]
async fn a_call_for_which_no_number_is_left_fails() {
    let mut end = raw_with(|framed| framed.max_call_number(1));
    let stub = EchoClient::new(&end.peer);
    let first = tokio::spawn({
        let stub = stub.clone();
        async move { stub.say(message("first")).await }
    });
    let request = end.next().await;
    let status = stub.say(message("second")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(
        status.message(),
        "all call numbers are in flight (CustomProtocol::max_call_number)"
    );
    end.send(CustomPacket::reply(request.call, say("done")))
        .await;
    assert_eq!(first.await.unwrap().unwrap().data, "done");
}

#[tokio::test(start_paused = true)]
async fn the_longest_message_passes_in_one_packet() {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let mut server = server.build().unwrap();
    let _ = server
        .accept_over(CustomProtocol::accepting(there, Plain::default()))
        .unwrap();
    let framed = CustomProtocol::connecting(here, Plain::default());
    let peer = Peer::builder("").connect_over(framed).await.unwrap();
    // With tag and length, 128 KiB: more than fits into a packet of wawo's own protocol.
    let data = vec![1; 128 * 1024 - 4];
    let reply = EchoClient::new(&peer).say(message(data.clone())).await;
    assert_eq!(reply.unwrap().data, data);
}
