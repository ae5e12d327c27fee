//! Custom protocols: the features of wawo work over them, and violations of the other end are
//! reported and affect no other peer.

mod limits;
pub(crate) mod plain;
mod wrong;

use std::{sync::atomic::Ordering, time::Duration};

use bytes::BytesMut;
use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tower::filter::FilterLayer;
use wawo::{
    Code, CustomPacket, CustomProtocol, MethodId, PacketCodec, PacketKind, Peer, Request, Server,
    Status,
};

use crate::{
    custom_protocol::plain::{ECHO, Plain, packets, raw, raw_with, say},
    support::{EchoClient, EchoServer, Parrot, RepeatRequest, message},
};

/// Both ends of a connection in the plain protocol, each serving a parrot to the other.
async fn pair(pipe_bytes: usize) -> (Server, Peer, Peer) {
    let (here, there) = tokio::io::duplex(pipe_bytes);
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let mut server = server.build().unwrap();
    let to_client = server
        .accept_over(CustomProtocol::accepting(there, Plain::default()))
        .unwrap();
    let to_server = Peer::builder("")
        .add_service(EchoServer::new(Parrot::default()))
        .connect_over(CustomProtocol::connecting(here, Plain::default()))
        .await
        .unwrap();
    (server, to_server, to_client)
}

#[tokio::test]
async fn a_program_that_knows_only_the_bytes_calls_a_service() {
    let mut end = raw();
    // Length, kind, call, service, method; and a protobuf message.
    let request = b"\0\0\0\x11\x01\0\0\0\x05\0\0\0\x07\0\0\0\x01\x0a\x02hi";
    end.socket.write_all(request).await.unwrap();
    let reply = b"\0\0\0\x11\x03\0\0\0\x05\0\0\0\x07\0\0\0\x01\x0a\x02hi";
    let mut answer = [0; 21];
    end.socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, reply);
}

#[tokio::test]
async fn both_ends_call_and_call_back() {
    let (_server, to_server, to_client) = pair(1024).await;
    let there = EchoClient::new(&to_server);
    let back = EchoClient::new(&to_client);
    let (there_and_back, said) =
        tokio::join!(there.act(message("call back")), back.say(message("hi")));
    assert_eq!(there_and_back.unwrap().data, "back");
    assert_eq!(said.unwrap().data, "hi");
}

#[tokio::test]
async fn one_server_speaks_wawo_at_one_address_and_another_protocol_at_another() {
    let mut server = Server::builder()
        .add_service(EchoServer::new(Parrot::default()))
        .bind("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let plain = |transport| CustomProtocol::accepting(transport, Plain::default());
    server.bind_with("tcp://127.0.0.1:0", plain).await.unwrap();
    let addresses = server.addresses();
    let running = tokio::spawn(server.run());

    let native = Peer::connect(addresses[0].to_string()).await.unwrap();
    let address = addresses[1].to_string();
    let socket = TcpStream::connect(address.trim_start_matches("tcp://")).await;
    let framed = CustomProtocol::connecting(socket.unwrap(), Plain::default());
    let framed = Peer::builder("").connect_over(framed).await.unwrap();
    for peer in [native, framed] {
        let reply = EchoClient::new(&peer).say(message("hi")).await.unwrap();
        assert_eq!(reply.data, "hi");
    }
    running.abort();
}

#[tokio::test]
async fn one_way_messages_arrive_at_both_ends() {
    let mut end = raw();
    let note = CustomPacket::one_way(ECHO, MethodId(3), say("note"));
    end.send(note.clone()).await;
    end.seen
        .until(|seen| seen.notes.load(Ordering::SeqCst) == 1)
        .await;
    EchoClient::new(&end.peer)
        .note(message("note"))
        .await
        .unwrap();
    assert_eq!(end.next().await, note);
}

#[tokio::test]
async fn more_one_way_messages_than_the_credit_arrive() {
    const MESSAGES: usize = 300;
    let mut end = raw();
    let note = CustomPacket::one_way(ECHO, MethodId(3), say(vec![1; 60_000]));
    let stub = EchoClient::new(&end.peer);
    let sending = tokio::spawn(async move {
        for _ in 0..MESSAGES {
            stub.note(message(vec![1; 60_000])).await.unwrap();
        }
    });
    for _ in 0..MESSAGES {
        assert_eq!(end.next().await, note);
    }
    sending.await.unwrap();
    for _ in 0..MESSAGES {
        end.send(note.clone()).await;
    }
    end.seen
        .until(|seen| seen.notes.load(Ordering::SeqCst) == MESSAGES)
        .await;
}

#[tokio::test]
async fn a_failure_keeps_its_code_and_its_text_both_ways() {
    let mut end = raw();
    end.send(act(1, "fail")).await;
    let failure = PacketKind::Failure {
        code: Code::FailedPrecondition,
        text: "as asked".into(),
    };
    let answer = end.next().await;
    assert_eq!((answer.kind, answer.call), (failure, 1));

    let stub = EchoClient::new(&end.peer);
    let call = tokio::spawn(async move { stub.say(message("hi")).await });
    let request = end.next().await;
    assert_eq!(request.kind, PacketKind::Request);
    let answer = CustomPacket::failure(request.call, Code::NotFound, "not here");
    end.send(answer).await;
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "not here")
    );
}

#[tokio::test]
async fn a_service_or_method_that_is_not_served_is_unimplemented() {
    let mut end = raw();
    for (service, method) in [(8, 1), (7, 99)] {
        let request = CustomPacket::request(
            wawo::ServiceId(service),
            MethodId(method),
            method,
            say("hi"),
        );
        end.send(request).await;
        assert_eq!(end.next_failure().await.0, Code::Unimplemented);
    }
}

#[tokio::test]
async fn a_panic_of_a_handler_fails_its_call_only() {
    let mut end = raw();
    for (number, what) in [(1, "panic"), (2, "yield and panic")] {
        end.send(act(number, what)).await;
        assert_eq!(end.next_failure().await.0, Code::Internal);
    }
    end.send(act(3, "fine")).await;
    assert_eq!(end.next().await.kind, PacketKind::Reply);
}

#[tokio::test]
async fn streams_are_unimplemented_and_the_connection_goes_on() {
    let mut end = raw();
    let repeat = prost::Message::encode_to_vec(&RepeatRequest {
        data: "x".into(),
        times: 3,
    });
    end.send(CustomPacket::request(ECHO, MethodId(4), 1, repeat.into()))
        .await;
    let (code, text) = end.next_failure().await;
    assert_eq!(code, Code::Unimplemented);
    assert!(text.starts_with("the method has a stream"), "{text}");
    // A stream of requests has one message, so it is a plain call on the wire.
    end.send(CustomPacket::request(ECHO, MethodId(5), 2, say("one")))
        .await;
    assert_eq!(end.next().await.payload, say("one"));

    let (_server, to_server, _to_client) = pair(1024).await;
    let stub = EchoClient::new(&to_server);
    let join = stub.join(wawo::Streaming::pending());
    assert_eq!(join.await.unwrap_err().code(), Code::Unimplemented);
    let request = RepeatRequest {
        data: "x".into(),
        times: 3,
    };
    let repeat = stub.repeat(request).await.map(drop);
    assert_eq!(repeat.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(stub.say(message("hi")).await.unwrap().data, "hi");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_fails_at_its_timeout_and_its_handler_is_dropped() {
    let timeout = Duration::from_millis(300);
    let mut end = raw_with(|framed| framed.call_timeout(Some(timeout)));
    let begin = Instant::now();
    end.send(act(1, "wait")).await;
    assert_eq!(end.next_failure().await.0, Code::DeadlineExceeded);
    let late = Duration::from_millis(10);
    assert!((timeout..timeout + late).contains(&begin.elapsed()));
    end.seen
        .until(|seen| seen.dropped.load(Ordering::SeqCst) == 1)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_has_ten_seconds_by_default_and_may_have_no_deadline() {
    for (timeout, left) in [(None, u128::MAX), (Some(Duration::from_secs(10)), 10_000)] {
        let mut end = match timeout {
            None => raw_with(|framed| framed.call_timeout(None)),
            Some(_) => raw(),
        };
        end.send(act(1, "deadline")).await;
        assert_eq!(end.next().await.payload, say(left.to_string()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_to_the_other_end_that_times_out_is_cancelled_and_a_late_answer_ignored() {
    let mut end = raw();
    let stub = EchoClient::new(&end.peer);
    let call = stub.say(message("hi")).timeout(Duration::from_secs(1));
    assert_eq!(call.await.unwrap_err().code(), Code::DeadlineExceeded);
    let request = end.next().await;
    let cancel = end.next().await;
    assert_eq!(
        (cancel.kind, cancel.call),
        (PacketKind::Cancel, request.call)
    );
    end.send(CustomPacket::reply(request.call, say("late")))
        .await;
    end.send(act(1, "fine")).await;
    assert_eq!(end.next().await.payload, say("fine"));
}

#[tokio::test]
async fn a_call_to_the_other_end_that_is_dropped_is_cancelled() {
    let mut end = raw();
    let stub = EchoClient::new(&end.peer);
    let call = tokio::spawn(async move { stub.say(message("hi")).await });
    assert_eq!(end.next().await.kind, PacketKind::Request);
    call.abort();
    assert_eq!(end.next().await.kind, PacketKind::Cancel);
}

#[tokio::test]
async fn a_cancel_drops_the_handler_and_frees_the_number_without_an_answer() {
    let mut end = raw();
    end.send(act(1, "wait")).await;
    end.seen
        .until(|seen| seen.begun.load(Ordering::SeqCst) == 1)
        .await;
    end.send(CustomPacket::cancel(1)).await;
    end.seen
        .until(|seen| seen.dropped.load(Ordering::SeqCst) == 1)
        .await;
    // A cancel that crosses the reply of its call does nothing.
    end.send(CustomPacket::cancel(1)).await;
    end.send(act(1, "again")).await;
    let answer = end.next().await;
    assert_eq!((answer.call, answer.payload), (1, say("again")));
}

#[tokio::test]
async fn bytes_that_come_one_at_a_time_are_the_same_packets() {
    let mut end = raw();
    let mut bytes = BytesMut::new();
    for number in 1..=3 {
        let request = act(number, "split");
        Plain::default().encode(request, &mut bytes).unwrap();
    }
    for byte in bytes {
        end.socket.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    for number in 1..=3 {
        let answer = end.next().await;
        assert_eq!((answer.call, answer.payload), (number, say("split")));
    }
}

#[tokio::test]
async fn many_large_calls_of_both_ends_get_through_a_narrow_pipe() {
    let (_server, to_server, to_client) = pair(4 * 1024).await;
    let (there, back) = (EchoClient::new(&to_server), EchoClient::new(&to_client));
    let call = async |stub: &EchoClient, number: u8| {
        let data = vec![number; 20_000];
        assert_eq!(stub.say(message(data.clone())).await.unwrap().data, data);
    };
    // Several megabytes in each direction, far more than can wait anywhere.
    let there = join_all((0..250).map(|number| call(&there, number)));
    let back = join_all((0..250).map(|number| call(&back, number)));
    tokio::join!(there, back);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_in_many_tasks_share_a_socket() {
    let mut server = Server::builder()
        .add_service(EchoServer::new(Parrot::default()))
        .build()
        .unwrap();
    let plain = |transport| CustomProtocol::accepting(transport, Plain::default());
    server.bind_with("tcp://127.0.0.1:0", plain).await.unwrap();
    let address = server.addresses()[0].to_string();
    let running = tokio::spawn(server.run());
    let socket = TcpStream::connect(address.trim_start_matches("tcp://")).await;
    let framed = CustomProtocol::connecting(socket.unwrap(), Plain::default());
    let peer = Peer::builder("").add_service(EchoServer::new(Parrot::default()));
    let peer = peer.connect_over(framed).await.unwrap();
    let callers = (0..32).map(|_| {
        let stub = EchoClient::new(&peer);
        tokio::spawn(async move {
            for length in 0..50 {
                let data = vec![1; length * 100];
                assert_eq!(stub.say(message(data.clone())).await.unwrap().data, data);
                assert_eq!(stub.act(message("call back")).await.unwrap().data, "back");
            }
        })
    });
    for caller in join_all(callers).await {
        caller.unwrap();
    }
    running.abort();
}

#[tokio::test]
async fn both_ends_send_more_one_way_messages_than_anything_holds() {
    const MESSAGES: usize = 2000;
    let (here, there) = tokio::io::duplex(4 * 1024);
    let (at_server, at_client) = (Parrot::default(), Parrot::default());
    let seen = [at_server.0.clone(), at_client.0.clone()];
    let server = Server::builder().add_service(EchoServer::new(at_server));
    let mut server = server.build().unwrap();
    let framed = CustomProtocol::accepting(there, Plain::default());
    let to_client = server.accept_over(framed).unwrap();
    let framed = CustomProtocol::connecting(here, Plain::default());
    let to_server = Peer::builder("").add_service(EchoServer::new(at_client));
    let to_server = to_server.connect_over(framed).await.unwrap();
    for _ in 0..MESSAGES {
        for peer in [&to_client, &to_server] {
            let note = EchoClient::new(peer).note(message(vec![1; 2000]));
            note.await.unwrap();
        }
    }
    for seen in seen {
        seen.until(|seen| seen.notes.load(Ordering::SeqCst) == MESSAGES)
            .await;
    }
}

#[tokio::test]
async fn a_layer_of_the_server_sees_the_calls() {
    let refuse = |request: Request| match request.method() {
        MethodId(1) => Ok(request),
        _ => Err(Status::permission_denied("not this one")),
    };
    let mut server = Server::builder()
        .layer(FilterLayer::new(refuse))
        .add_service(EchoServer::new(Parrot::default()))
        .build()
        .unwrap();
    let mut end = raw();
    let (here, there) = tokio::io::duplex(1024);
    end.peer = server
        .accept_over(CustomProtocol::accepting(there, Plain::default()))
        .unwrap();
    end.socket = here;
    end.send(act(1, "fine")).await;
    assert_eq!(end.next_failure().await.0, Code::PermissionDenied);
    end.send(CustomPacket::request(ECHO, MethodId(1), 2, say("hi")))
        .await;
    assert_eq!(end.next().await.payload, say("hi"));
}

#[tokio::test]
async fn a_close_reaches_the_other_end_after_the_answers_before_it() {
    let mut end = raw();
    end.send(act(1, "fine")).await;
    end.send(act(2, "wait")).await;
    end.seen
        .until(|seen| seen.begun.load(Ordering::SeqCst) == 2)
        .await;
    end.peer.close("enough");
    let mut rest = Vec::new();
    end.socket.read_to_end(&mut rest).await.unwrap();
    let answers = packets(&rest);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].payload, say("fine"));
    end.seen
        .until(|seen| seen.dropped.load(Ordering::SeqCst) == 1)
        .await;
}

#[tokio::test]
async fn a_status_says_why_the_connection_was_lost() {
    let end = raw();
    let stub = EchoClient::new(&end.peer);
    let (socket, call) = (end.socket, stub.say(message("hi")));
    let hang_up = async move { drop(socket) };
    let status: Status = tokio::join!(call, hang_up).0.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status
            .message()
            .ends_with("the other end closed the transport"),
        "{status}"
    );
}

fn act(number: u32, what: &'static str) -> CustomPacket {
    CustomPacket::request(ECHO, MethodId(2), number, say(what))
}
