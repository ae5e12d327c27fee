//! Plain bytes where TLS is spoken, and the reverse: a clear text at both sides.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;
use wawo::{OpenListener, Peer, PeerEvent, ServeError, Server, tls::rustls::DEFAULT_VERSIONS};

use super::support::{
    client, client_tls, library_client, localhost, serve, serve_with, server_tls,
};
use crate::{
    logged::Log,
    support::{EchoClient, EchoServer, Parrot, Running, message, of_server},
};

#[tokio::test]
async fn a_plain_client_at_a_port_of_tls_is_told_to_speak_tls() {
    let (log, _guard) = Log::begin();
    let server = Server::builder().tls(server_tls());
    let server = server.bind("tls://127.0.0.1:0").await.unwrap();
    let mut events = server.handle().events();
    let address = server.addresses()[0].to_string();
    let plain = address.replace("tls://", "tcp://");
    let _server = Running::spawn(server);
    let error = Peer::connect(&*plain).await.unwrap_err().to_string();
    let text = "this address speaks TLS only: connect to it by tls://";
    assert!(error.ends_with(text), "{error}");
    let Some(PeerEvent::NotConnected(peer, error)) = events.next().await else {
        panic!("an event");
    };
    let text = r#"the client does not speak TLS: it begins with "WAWO/1\r\n""#;
    assert!(error.to_string().ends_with(text), "{error}");
    assert!(peer.address().unwrap().to_string().starts_with("tcp://"));
    let lines = log.lines("handshakes of TLS failed");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("does not speak TLS"), "{lines:?}");
}

/// Its credentials would travel in plain.
#[tokio::test]
async fn a_client_with_settings_of_tls_does_not_connect_without_tls() {
    for (address, with_tls) in [
        ("tcp://127.0.0.1:1", "tls://127.0.0.1:1"),
        ("mem://no-tls", "tls+mem://no-tls"),
        ("near://7", "tls+near://7"),
    ] {
        let text = format!(
            "cannot connect to {address}: `tls(..)` was given, but {address} has no TLS: use {with_tls}"
        );
        let peer = Peer::builder(address).tls(client_tls());
        let error = peer.clone().connect().await.unwrap_err();
        assert_eq!(error.to_string(), text);
        let error = peer.connect_lazy().unwrap_err();
        assert_eq!(error.to_string(), text);
    }
    let (here, _there) = tokio::io::duplex(64);
    let peer = Peer::builder("tls+mem://open").tls(client_tls());
    let error = peer.connect_over(here).await.unwrap_err().to_string();
    let text = "cannot use the socket that was given: `tls(..)` is for addresses";
    assert!(error.starts_with(text), "{error}");
}

#[tokio::test]
async fn another_protocol_at_a_port_of_tls_is_closed() {
    let (_server, address, _) = serve("tls://127.0.0.1:0", server_tls()).await;
    let mut socket = TcpStream::connect(address.trim_start_matches("tls://"))
        .await
        .unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
}

#[tokio::test]
async fn a_client_of_tls_that_is_answered_in_another_protocol_says_so() {
    for (answer, text) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            r#"the server does not speak TLS (it begins with "HTTP/1.1"): use tcp://"#,
        ),
        (
            b"WAWO/1\r\n",
            r#"the server does not speak TLS (it begins with "WAWO/1\r\n"): use tcp://"#,
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(answer).await.unwrap();
            socket.shutdown().await.unwrap();
            socket.read_to_end(&mut Vec::new()).await
        };
        let peer = Peer::builder(format!("tls://{address}")).tls(client_tls());
        let (connected, _) = tokio::join!(peer.connect(), serving);
        let error = connected.unwrap_err().to_string();
        assert!(error.ends_with(&format!("{text}{address}")), "{error}");
    }
}

/// A client that is no wawo client sees an alert.
#[tokio::test]
async fn a_client_of_tls_at_a_plain_port_is_told_so() {
    let (log, _guard) = Log::begin();
    let server = Server::builder().bind("tcp://127.0.0.1:0").await.unwrap();
    let mut events = server.handle().events();
    let plain = server.addresses()[0].to_string();
    let _server = Running::spawn(server);
    let peer = Peer::builder(plain.replace("tcp://", "tls://")).tls(client_tls());
    let error = peer.connect().await.unwrap_err().to_string();
    let text = format!("the server does not speak TLS: use {plain}");
    assert!(error.ends_with(&text), "{error}");
    let Some(PeerEvent::NotConnected(_, error)) = events.next().await else {
        panic!("an event");
    };
    let text = "the peer begins with TLS, which this side does not speak here";
    assert!(error.to_string().contains(text), "{error}");
    let lines = log.lines("clients speak TLS at an address without TLS");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(log.lines("peers broke the protocol").is_empty(), "{log:?}");

    let socket = TcpStream::connect(plain.trim_start_matches("tcp://"))
        .await
        .unwrap();
    let connector = TlsConnector::from(Arc::new(library_client(DEFAULT_VERSIONS)));
    let error = connector.connect(localhost(), socket).await.unwrap_err();
    let text = "received fatal alert: UnexpectedMessage";
    assert!(error.to_string().contains(text), "{error}");
}

/// The server drains just when the client begins; the next server takes it.
#[tokio::test]
async fn a_client_that_is_sent_away_by_a_drain_before_tls_connects_elsewhere() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connecting = tokio::spawn(client(&format!("tls://{address}")).connect());
    let (socket, from) = listener.accept().await.unwrap();
    let drained = Server::builder().tls(server_tls()).build().unwrap();
    let from = format!("tls://{from}");
    let draining = drained.handle();
    draining.drain(Duration::ZERO).await;
    let error = draining.accept_from(socket, &*from).unwrap_err();
    assert!(matches!(error, ServeError::Draining), "{error}");
    let next = Server::builder().tls(server_tls());
    let mut next = next
        .add_service(EchoServer::new(Parrot::default()))
        .build()
        .unwrap();
    next.listen_on(OpenListener::from(listener).tls()).unwrap();
    let _next = Running::spawn(next);
    let peer = connecting.await.unwrap().unwrap();
    let reply = EchoClient::new(&peer).say(message("there")).await.unwrap();
    assert_eq!(reply.data, "there");
}

#[tokio::test]
async fn a_client_that_is_refused_before_tls_learns_why() {
    let config = of_server(|config| config.max_connections(1));
    let builder = Server::builder().tls(server_tls()).config(config);
    let (_server, address, _) = serve_with("tls://127.0.0.1:0", builder).await;
    let _first = client(&address).connect().await.unwrap();
    let error = client(&address).connect().await.unwrap_err().to_string();
    let text = "the server has 1 connections and takes no more (max_connections)";
    assert!(error.ends_with(text), "{error}");
    assert!(error.contains("the peer closed the connection"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let peer = Peer::builder(format!("tls://{address}")).tls(client_tls());
    let error = peer.connect().await.unwrap_err().to_string();
    let text = "(connect_timeout): the socket was connected, and the handshake of TLS did not end";
    assert!(error.ends_with(text), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_closed_in_time() {
    let server = Server::builder().tls(server_tls());
    let server = server.bind("tls://127.0.0.1:0").await.unwrap();
    let mut events = server.handle().events();
    let address = server.addresses()[0].to_string();
    let _server = Running::spawn(server);
    for begin in [&b""[..], b"\x16", b"\x16\x03\x01\x02\0\x01"] {
        let mut socket = TcpStream::connect(address.trim_start_matches("tls://"))
            .await
            .unwrap();
        socket.write_all(begin).await.unwrap();
        let Some(PeerEvent::NotConnected(_, error)) = events.next().await else {
            panic!("an event");
        };
        let text = "no handshake of TLS within 5s (handshake_timeout)";
        assert!(error.to_string().ends_with(text), "{error}");
    }
}
