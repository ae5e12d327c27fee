//! Connections through a proxy that names its client: addresses, limits, and wrong headers.

use std::time::Duration;

use futures::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::TcpStream,
    task::yield_now,
};
use wawo::{
    Arrival, ConnectionLimit, Events, Peer, PeerEvent, Protocol, ProxyHeaderError, Recognition,
    Server, ServerConfig, ServerConfigBuilder, ServerHandle, Transport, transport::BoxFuture,
};

use crate::{
    logged::Log,
    support::{EchoClient, EchoServer, Parrot, message, of_server},
};

/// A preface, and a hello with the minimum of all limits.
const HELLO: &[u8] = b"WAWO/1\r\n\0\0\0\0\x01\0\0\0\0\0\0\0";

const PROXY: &str = "tcp://10.0.0.9:5000";

/// A health check of a proxy, version 2.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A server behind proxies at `10.0.0.0/8`.
fn behind(set: impl FnOnce(ServerConfigBuilder) -> ServerConfigBuilder) -> ServerConfig {
    of_server(|config| set(config.trusted_proxies(["10.0.0.0/8"]).proxy_protocol(true)))
}

fn server(config: ServerConfig) -> Server {
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    server.config(config).build().unwrap()
}

/// A line that names a client of IPv4.
fn line(client: &str) -> String {
    let (address, port) = client.rsplit_once(':').unwrap();
    format!("PROXY TCP4 {address} 10.0.0.1 {port} 443\r\n")
}

/// A binary header that names a client of IPv4, with a value behind the addresses.
fn binary(address: [u8; 4], port: u16) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13".to_vec();
    header.extend(address);
    header.extend([10, 0, 0, 1]);
    header.extend(port.to_be_bytes());
    header.extend(b"\x01\xbb\x04\0\x04abcd");
    header
}

/// A socket from the proxy that begins with a header.
async fn proxied(handle: &ServerHandle, header: impl AsRef<[u8]>) -> DuplexStream {
    let (mut here, there) = duplex(64 * 1024);
    handle.accept_from(there, PROXY).unwrap();
    here.write_all(header.as_ref()).await.unwrap();
    here
}

async fn connected(socket: DuplexStream) -> Peer {
    let peer = Peer::builder("").connect_over(socket).await.unwrap();
    EchoClient::new(&peer).say(message("a")).await.unwrap();
    peer
}

async fn settle() {
    for _ in 0..16 {
        yield_now().await;
    }
}

fn so_far(events: &mut Events) -> Vec<PeerEvent> {
    std::iter::from_fn(|| events.next().now_or_never().flatten()).collect()
}

async fn heard(mut socket: DuplexStream) -> String {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(start_paused = true)]
async fn a_peer_has_the_address_of_the_client_behind_the_proxy() {
    let server = server(behind(|config| config));
    let handle = server.handle();
    let mut events = handle.events();
    for (header, expected) in [
        (
            line("192.0.2.7:56324").into_bytes(),
            "tcp://192.0.2.7:56324",
        ),
        (binary([192, 0, 2, 8], 9), "tcp://192.0.2.8:9"),
        (
            b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(),
            "tcp://[2001:db8::7]:1",
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), PROXY),
        (LOCAL.to_vec(), PROXY),
    ] {
        let peer = connected(proxied(&handle, header).await).await;
        let of_server = handle.peers().pop().unwrap();
        assert_eq!(of_server.address().unwrap().to_string(), expected);
        let came = so_far(&mut events);
        let [PeerEvent::Connected(who)] = &came[..] else {
            panic!("{came:?}");
        };
        assert_eq!(who.address().unwrap().to_string(), expected);
        peer.close("over");
        settle().await;
        so_far(&mut events);
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_a_host_is_that_of_the_client() {
    let server = server(behind(|config| config.max_connections_per_host(Some(2))));
    let handle = server.handle();
    let mut events = handle.events();
    let _crowd = [
        connected(proxied(&handle, line("192.0.2.7:1")).await).await,
        connected(proxied(&handle, binary([192, 0, 2, 7], 2)).await).await,
        connected(proxied(&handle, line("192.0.2.8:1")).await).await,
        // Health checks count for no host.
        connected(proxied(&handle, LOCAL).await).await,
        connected(proxied(&handle, LOCAL).await).await,
        connected(proxied(&handle, LOCAL).await).await,
    ];
    so_far(&mut events);
    let third = proxied(&handle, line("192.0.2.7:3")).await;
    let text = "this host has 2 connections and may have no more (max_connections_per_host)";
    assert!(heard(third).await.ends_with(text));
    let came = so_far(&mut events);
    let [PeerEvent::Refused(from, ConnectionLimit::MaxConnectionsPerHost)] = &came[..] else {
        panic!("{came:?}");
    };
    assert_eq!(from.to_string(), "tcp://192.0.2.7:3");
    // A client that comes without the proxy is counted with those behind it.
    let (here, there) = duplex(1024);
    handle.accept_from(there, "tcp://192.0.2.7:4").unwrap_err();
    assert!(heard(here).await.ends_with(text));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_all_connections_makes_room_for_others_behind_the_proxy() {
    let config =
        |config: ServerConfigBuilder| config.max_connections(3).max_connections_per_host(Some(3));
    let server = server(behind(config));
    let handle = server.handle();
    let mut crowd = Vec::new();
    for _ in 0..3 {
        crowd.push(proxied(&handle, line("192.0.2.7:1")).await);
        settle().await;
    }
    let other = connected(proxied(&handle, line("192.0.2.8:1")).await).await;
    assert!(heard(crowd.remove(0)).await.contains("closed to make room"));
    assert!(!other.is_closed());
}

/// Each is closed without a byte: no protocol is known that would carry the reason.
#[tokio::test(start_paused = true)]
async fn a_connection_of_a_proxy_without_a_right_header_is_closed_and_reported() {
    let (log, _guard) = Log::begin();
    let server = server(behind(|config| config));
    let handle = server.handle();
    let mut events = handle.events();
    for (bytes, text) in [
        (
            "WAWO/1\r\n\0\0\0\0\x01\0\0\0\0\0\0\0",
            r"the connection begins with `WAWO/1\r\n\x00\x00\x00\x00\x01\x00\x00`, which is no PROXY header",
        ),
        (
            "PROXY TCP4 192.0.2.7 10.0.0.1 66000 1\r\n",
            "the source port of the header is `66000`",
        ),
        (
            "\r\n\r\n\0\r\nQUIT\n\x11",
            "the header says version 1; it must be 2",
        ),
    ] {
        assert_eq!(heard(proxied(&handle, bytes).await).await, "");
        let came = so_far(&mut events);
        let [PeerEvent::ProxyHeaderFailed(from, error)] = &came[..] else {
            panic!("{came:?}");
        };
        assert_eq!(
            (from.to_string().as_str(), error.to_string().as_str()),
            (PROXY, text)
        );
    }
    // The second and third line are written together, at the end of the second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let lines = log.lines("connections of proxies were closed (proxy_protocol)");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("is no PROXY header") && lines[0].contains("count=1"));
    assert!(lines[1].contains("count=2"));
    assert!(handle.peers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_header_must_be_whole_in_the_time_of_the_handshake() {
    let (log, _guard) = Log::begin();
    let server = server(behind(|config| config));
    let handle = server.handle();
    let mut events = handle.events();
    let silent = proxied(&handle, "").await;
    let begun = proxied(&handle, "PROXY TCP4 192").await;
    let begin = tokio::time::Instant::now();
    assert_eq!(
        (heard(silent).await, heard(begun).await),
        (String::new(), String::new())
    );
    assert_eq!(begin.elapsed().as_secs(), 5);
    // A proxy that looks whether the server listens is no reason for a warning.
    drop(proxied(&handle, "").await);
    drop(proxied(&handle, "PROXY ").await);
    settle().await;
    let expected = [
        "no whole PROXY header within 5s (handshake_timeout)",
        "no whole PROXY header within 5s (handshake_timeout)",
        "the connection ended after 0 bytes of a PROXY header",
        "the connection ended after 6 bytes of a PROXY header",
    ];
    let errors = so_far(&mut events).into_iter().map(|event| match event {
        PeerEvent::ProxyHeaderFailed(_, error) => error.to_string(),
        other => panic!("{other:?}"),
    });
    assert_eq!(errors.collect::<Vec<_>>(), expected);
    assert!(
        log.lines("after 0 bytes")
            .iter()
            .all(|line| line.starts_with("DEBUG"))
    );
    // The hello has what is left of the same time.
    let begin = tokio::time::Instant::now();
    let mut slow = proxied(&handle, "PROXY UNKNOWN").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    slow.write_all(b"\r\n").await.unwrap();
    assert!(heard(slow).await.contains("handshake_timeout"));
    assert_eq!(begin.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_header_counts_as_a_handshake_and_a_silent_one_has_to_leave() {
    let server = server(behind(|config| config.max_handshakes(2)));
    let handle = server.handle();
    let mut events = handle.events();
    let silent = proxied(&handle, "").await;
    let speaks = proxied(&handle, "PROXY ").await;
    settle().await;
    let third = proxied(&handle, line("192.0.2.7:1")).await;
    assert!(
        heard(silent)
            .await
            .ends_with("no hello, and others wait (max_handshakes)")
    );
    let came = so_far(&mut events);
    let [
        PeerEvent::Closed(closed, ConnectionLimit::MaxHandshakes),
        PeerEvent::NotConnected(over, _),
    ] = &came[..]
    else {
        panic!("{came:?}");
    };
    assert_eq!(closed.id(), over.id());
    let third = connected(third).await;
    // A drain ends those whose header has not come, and says so.
    let begin = tokio::time::Instant::now();
    handle.drain(Duration::from_secs(60)).await;
    assert!(heard(speaks).await.ends_with("drained"));
    assert_eq!(begin.elapsed(), Duration::ZERO);
    drop(third);
}

/// Anybody could forge a header; and where the setting is off, a proxy's is not expected.
#[tokio::test(start_paused = true)]
async fn a_header_of_anybody_else_is_no_header() {
    let off = of_server(|config| config.trusted_proxies(["10.0.0.0/8"]));
    for (config, from) in [
        (behind(|config| config), "tcp://192.0.2.66:1"),
        (behind(|config| config), "unix:///run/app.sock"),
        (off, PROXY),
    ] {
        for header in [line("192.0.2.7:1").into_bytes(), binary([192, 0, 2, 7], 1)] {
            let server = server(config.clone());
            let handle = server.handle();
            let mut events = handle.events();
            let (mut here, there) = duplex(64 * 1024);
            handle.accept_from(there, from).unwrap();
            here.write_all(&header).await.unwrap();
            let heard = heard(here).await;
            assert!(heard.contains("PROXY protocol"), "{heard}");
            let came = so_far(&mut events);
            let [PeerEvent::NotConnected(who, _)] = &came[..] else {
                panic!("{came:?}");
            };
            assert_eq!(who.address().unwrap().to_string(), from);
        }
    }
}

/// Says the address that a socket came from.
struct From;

impl Protocol for From {
    fn name(&self) -> &str {
        "from"
    }

    fn recognise(&self, start: &[u8]) -> Recognition {
        match start {
            b"?" => Recognition::Yes,
            _ => Recognition::No,
        }
    }

    fn serve(&self, mut transport: Box<dyn Transport>, arrival: Arrival) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let text = arrival.address().to_string();
            transport.write_all(text.as_bytes()).await.unwrap();
        })
    }
}

#[tokio::test(start_paused = true)]
async fn another_protocol_begins_behind_the_header() {
    let server = Server::builder()
        .protocol(From)
        .config(behind(|config| config));
    let server = server.add_service(EchoServer::new(Parrot::default()));
    let server = server.build().unwrap();
    let handle = server.handle();
    for header in [line("192.0.2.7:1").into_bytes(), binary([192, 0, 2, 7], 1)] {
        let mut socket = proxied(&handle, header).await;
        socket.write_all(b"?").await.unwrap();
        assert_eq!(heard(socket).await, "tcp://192.0.2.7:1");
    }
    let _native = connected(proxied(&handle, line("192.0.2.7:1")).await).await;
}

/// A server of real sockets, whose clients are on this machine: a trusted proxy by default.
fn of_this_machine(workers: Option<usize>) -> Server {
    server(of_server(|config| {
        config.proxy_protocol(true).workers(workers)
    }))
}

async fn socket_to(server: &Server) -> TcpStream {
    let address = server.addresses()[0].to_string();
    let mut socket = TcpStream::connect(address.trim_start_matches("tcp://"))
        .await
        .unwrap();
    for part in binary([192, 0, 2, 7], 9).chunks(5) {
        socket.write_all(part).await.unwrap();
    }
    socket
}

#[tokio::test]
async fn headers_come_over_tcp_and_at_workers_too() {
    for workers in [None, Some(1)] {
        let mut server = of_this_machine(workers);
        server.bind("tcp://127.0.0.1:0").await.unwrap();
        let (handle, address) = (server.handle(), server.addresses().remove(0));
        let socket = socket_to(&server).await;
        let running = tokio::spawn(server.run());
        let _peer = Peer::builder("").connect_over(socket).await.unwrap();
        let of_server = handle.peers().remove(0);
        assert_eq!(
            of_server.address().unwrap().to_string(),
            "tcp://192.0.2.7:9"
        );
        // A client of this machine that sends no header is not let in.
        let mut events = handle.events();
        Peer::builder(address).connect().await.unwrap_err();
        let failed = loop {
            if let Some(PeerEvent::ProxyHeaderFailed(_, error)) = events.next().await {
                break error;
            }
        };
        assert!(
            matches!(failed, ProxyHeaderError::Missing { .. }),
            "{failed}"
        );
        handle.drain(Duration::ZERO).await;
        running.await.unwrap().unwrap();
    }
}

/// A transport that the server wraps, as in TLS, begins behind the header.
#[tokio::test]
async fn a_wrapped_transport_begins_behind_the_header() {
    let mut server = of_this_machine(None);
    let (preface, hello) = HELLO.split_at(8);
    let wrap = move |transport| {
        let (reads, writes) = tokio::io::split(transport);
        tokio::io::join(preface.chain(reads), writes)
    };
    server.bind_with("tcp://127.0.0.1:0", wrap).await.unwrap();
    let mut events = server.handle().events();
    let mut socket = socket_to(&server).await;
    let running = tokio::spawn(server.run());
    socket.write_all(hello).await.unwrap();
    let Some(PeerEvent::Connected(peer)) = events.next().await else {
        panic!("no peer");
    };
    assert_eq!(peer.address().unwrap().to_string(), "tcp://192.0.2.7:9");
    running.abort();
}
