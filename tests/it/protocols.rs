//! Other protocols on the ports of a server: which one a socket speaks, its limits, and its end.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::Instant,
};
use wawo::{
    Arrival, ConnectionLimit, Gateway, Guest, Peer, PeerEvent, Protocol, Recognition, ServeError,
    Server, ServerBuilder, ServerConfig, ServerConfigBuilder, ServerHandle, Transport,
    transport::BoxFuture,
};

use crate::support::{EchoClient, EchoServer, Parrot, message};

/// The first line says what to do with the rest: `echo`, `panic`, `drain` (ends with the server), `in `
/// (what follows is looked at again), `native`, or what to keep when the socket is gone.
#[derive(Clone, Default)]
struct Lines {
    /// How many sockets are served now.
    served: Arc<AtomicUsize>,
    guests: Arc<Mutex<Vec<Guest>>>,
    gateways: Arc<Mutex<Vec<Gateway>>>,
}

impl Lines {
    fn keep_guest(&self, arrival: &Arrival) {
        let guest = arrival.gateway().guest().build().unwrap();
        self.guests.lock().unwrap().push(guest);
    }

    /// The guest that was kept last.
    fn take_guest(&self) -> Guest {
        self.guests.lock().unwrap().pop().unwrap()
    }
}

struct Served(Arc<AtomicUsize>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Protocol for Lines {
    fn name(&self) -> &str {
        "lines"
    }

    fn recognise(&self, start: &[u8]) -> Recognition {
        assert!(!start.starts_with(b"boom"), "no such line");
        match start.strip_prefix(b"line ") {
            Some(rest) if rest.contains(&b'\n') => Recognition::Yes,
            Some(_) => Recognition::Perhaps,
            None if b"line ".starts_with(start) => Recognition::Perhaps,
            None => Recognition::No,
        }
    }

    fn serve(&self, mut transport: Box<dyn Transport>, arrival: Arrival) -> BoxFuture<'static, ()> {
        self.served.fetch_add(1, Ordering::SeqCst);
        let (served, lines) = (Served(self.served.clone()), self.clone());
        Box::pin(async move {
            let _served = served;
            let mut line = Vec::new();
            while line.last() != Some(&b'\n') {
                line.push(transport.read_u8().await.unwrap());
            }
            match &line[..] {
                b"line echo\n" => {
                    let from = format!("from {}\n", arrival.address());
                    transport.write_all(from.as_bytes()).await.unwrap();
                    let (mut reads, mut writes) = tokio::io::split(transport);
                    tokio::io::copy(&mut reads, &mut writes).await.unwrap();
                }
                b"line drain\n" => {
                    transport.write_all(b"ready").await.unwrap();
                    arrival.gateway().draining().await;
                    transport.write_all(b"drained").await.unwrap();
                }
                b"line guest\n" => {
                    let guest = arrival.gateway().guest().build().unwrap();
                    let from = guest.peer().address().map(ToString::to_string);
                    transport.write_all(from.unwrap().as_bytes()).await.unwrap();
                }
                b"line in\n" => arrival.serve_inner(transport).await,
                b"line native\n" => arrival.serve_native(transport).await,
                b"line guest native\n" => {
                    lines.keep_guest(&arrival);
                    arrival.serve_native(transport).await;
                }
                b"line keep guest\n" => lines.keep_guest(&arrival),
                b"line keep gateway\n" => {
                    lines.gateways.lock().unwrap().push(arrival.gateway());
                }
                _ => panic!("a line of another kind"),
            }
        })
    }
}

fn builder(lines: &Lines) -> ServerBuilder {
    let echo = EchoServer::new(Parrot::default());
    Server::builder().add_service(echo).protocol(lines.clone())
}

/// A server with limits of its own.
fn limited(
    lines: &Lines,
    set: impl FnOnce(ServerConfigBuilder) -> ServerConfigBuilder,
) -> ServerBuilder {
    builder(lines).config(set(ServerConfig::builder()).build().unwrap())
}

/// A server that runs, and sockets to it.
struct Host {
    handle: ServerHandle,
    running: JoinHandle<Result<(), ServeError>>,
}

impl Host {
    fn of(server: ServerBuilder) -> Self {
        let server = server.build().unwrap();
        let handle = server.handle();
        let running = tokio::spawn(server.run());
        Self { handle, running }
    }

    /// A socket that was accepted from an address.
    fn socket_from(&self, address: &str) -> DuplexStream {
        let (here, there) = duplex(256 * 1024);
        self.handle.accept_from(there, address).unwrap();
        here
    }

    async fn socket(&self, begins: &[u8]) -> DuplexStream {
        let mut socket = self.socket_from("mem://there");
        socket.write_all(begins).await.unwrap();
        socket
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn calls(transport: impl Transport) -> Peer {
    let peer = Peer::builder("").connect_over(transport).await.unwrap();
    let echo = EchoClient::new(&peer);
    assert_eq!(echo.say(message("a")).await.unwrap().data, "a");
    peer
}

async fn read(socket: &mut DuplexStream, expected: &str) {
    let mut bytes = vec![0; expected.len()];
    socket.read_exact(&mut bytes).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), expected);
}

/// All that comes until the end.
async fn read_all(socket: &mut DuplexStream) -> String {
    let mut bytes = Vec::new();
    let _ = socket.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_guest_comes_from_where_its_socket_comes_from() {
    let host = Host::of(builder(&Lines::default()));
    let mut socket = host.socket(b"line guest\n").await;
    assert_eq!(read_all(&mut socket).await, "mem://there");
}

#[tokio::test]
async fn two_protocols_share_a_port_of_each_kind() {
    for (address, workers) in [("tcp://127.0.0.1:0", None), ("tcp://127.0.0.1:0", Some(1))] {
        let lines = Lines::default();
        let server = match workers {
            None => builder(&lines),
            Some(count) => limited(&lines, |config| config.workers(Some(count))),
        };
        let server = server.bind(address).await.unwrap();
        let address = server.addresses()[0].to_string();
        let running = tokio::spawn(server.run());
        let peer = Peer::connect(&address).await.unwrap();
        let echo = EchoClient::new(&peer);
        assert_eq!(echo.say(message("a")).await.unwrap().data, "a");
        let address = address.strip_prefix("tcp://").unwrap();
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        socket.write_all(b"line echo\nhello").await.unwrap();
        let from = format!("from tcp://{}\nhello", socket.local_addr().unwrap());
        let mut bytes = vec![0; from.len()];
        socket.read_exact(&mut bytes).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), from);
        drop(socket);
        running.abort();
    }
}

#[tokio::test]
async fn bytes_that_drip_in_are_recognised_whichever_protocol_they_are_of() {
    let host = Host::of(builder(&Lines::default()));
    let mut socket = host.socket(b"").await;
    for byte in b"line echo\n!" {
        socket.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    read(&mut socket, "from mem://there\n!").await;
    // A pipe with room for a few bytes only, in both directions.
    let (here, there) = duplex(3);
    host.handle.accept_from(there, "mem://there").unwrap();
    let _ = calls(here).await;
}

#[tokio::test]
async fn a_socket_that_no_protocol_knows_is_told_of_by_its_first_bytes() {
    let host = Host::of(builder(&Lines::default()));
    let mut events = host.handle.events();
    let mut socket = host.socket(b"GET / HTTP/1.1\r\n\r\n").await;
    let Some(PeerEvent::NotConnected(_, error)) = events.next().await else {
        panic!("another event");
    };
    let text = error.to_string();
    assert!(text.contains("it begins with \"GET / HT\""), "{text}");
    assert!(read_all(&mut socket).await.starts_with("WAWO/1\r\n"));
}

#[tokio::test(start_paused = true)]
async fn one_time_is_for_recognition_and_hello_together() {
    let host = Host::of(builder(&Lines::default()));
    let no_hello = "no hello from the peer within 5s (handshake_timeout)";
    for (begins, text) in [
        (&b""[..], no_hello),
        (b"WAW", no_hello),
        (b"WAWO/1\r\n", no_hello),
        (b"line e", "it begins with \"line e\""),
    ] {
        let begin = Instant::now();
        let mut socket = host.socket(begins).await;
        let heard = read_all(&mut socket).await;
        assert!(heard.contains(text), "{heard}");
        let passed = begin.elapsed();
        let begins = begins.escape_ascii();
        assert!(passed.as_millis() / 100 == 50, "{begins} after {passed:?}");
    }
}

#[tokio::test]
async fn sockets_without_a_protocol_count_as_handshakes_and_the_silent_ones_go() {
    let lines = Lines::default();
    let host = Host::of(limited(&lines, |config| config.max_handshakes(2)));
    let mut events = host.handle.events();
    let mut first = host.socket(b"").await;
    tokio::task::yield_now().await;
    let mut second = host.socket(b"line").await;
    tokio::task::yield_now().await;
    let mut third = host.socket(b"").await;
    let text = "no hello, and others wait (max_handshakes)";
    let heard = read_all(&mut first).await;
    assert!(heard.contains(text), "{heard}");
    let limit = loop {
        if let PeerEvent::Closed(_, limit) = events.next().await.unwrap() {
            break limit;
        }
    };
    assert_eq!(limit, ConnectionLimit::MaxHandshakes);
    // The second is asked next, and has said something; so the third goes.
    let mut fourth = host.socket(b"line echo\n").await;
    read(&mut fourth, "from mem://there\n").await;
    let mut fifth = host.socket(b"").await;
    tokio::task::yield_now().await;
    let mut sixth = host.socket(b"").await;
    let heard = read_all(&mut third).await;
    assert!(heard.contains(text), "{heard}");
    second.write_all(b" echo\n").await.unwrap();
    read(&mut second, "from mem://there\n").await;
    for socket in [&mut fifth, &mut sixth] {
        socket.write_all(b"line echo\n").await.unwrap();
        read(socket, "from mem://there\n").await;
    }
}

#[tokio::test]
async fn limits_hold_for_sockets_of_any_protocol() {
    let lines = Lines::default();
    let none: [&str; 0] = [];
    let limits = |config: ServerConfigBuilder| {
        let config = config.trusted_proxies(none);
        config.max_connections(3).max_connections_per_host(Some(2))
    };
    let host = Host::of(limited(&lines, limits));
    let mut events = host.handle.events();
    let mut sockets = Vec::new();
    for from in ["tcp://10.0.0.1:1", "tcp://10.0.0.1:2"] {
        let mut socket = host.socket_from(from);
        socket.write_all(b"line echo\n").await.unwrap();
        read(&mut socket, &format!("from {from}\n")).await;
        sockets.push(socket);
    }
    let (mut here, there) = duplex(1024);
    let refused = host.handle.accept_from(there, "tcp://10.0.0.1:3");
    let limit = ConnectionLimit::MaxConnectionsPerHost;
    assert!(matches!(refused, Err(ServeError::Refused(is)) if is == limit));
    let heard = read_all(&mut here).await;
    assert!(heard.contains("(max_connections_per_host)"), "{heard}");
    let Some(PeerEvent::Refused(from, is)) = events.next().await else {
        panic!("another event");
    };
    assert_eq!((from.to_string().as_str(), is), ("tcp://10.0.0.1:3", limit));
    // Two newcomers: one has the last place, the other that of a host with more than its share.
    for from in ["tcp://10.0.0.2:1", "tcp://10.0.0.3:1"] {
        let mut socket = host.socket_from(from);
        socket.write_all(b"line echo\n").await.unwrap();
        read(&mut socket, &format!("from {from}\n")).await;
        sockets.push(socket);
    }
    assert_eq!(read_all(&mut sockets[0]).await, "");
    assert_eq!(lines.served.load(Ordering::SeqCst), 3);
    // One whose protocol is not known hears that it makes room.
    let host = Host::of(limited(&lines, |config| limits(config).max_connections(2)));
    let mut first = host.socket_from("tcp://10.0.0.1:1");
    let _second = host.socket_from("tcp://10.0.0.1:2");
    tokio::task::yield_now().await;
    let _third = host.socket_from("tcp://10.0.0.2:1");
    let heard = read_all(&mut first).await;
    assert!(heard.contains("closed to make room"), "{heard}");
}

#[tokio::test]
async fn what_is_inside_of_a_protocol_is_looked_at_again_once() {
    let host = Host::of(builder(&Lines::default()));
    let mut socket = host.socket(b"line in\nline echo\nhello").await;
    read(&mut socket, "from mem://there\nhello").await;
    let mut socket = host.socket(b"line in\n").await;
    tokio::task::yield_now().await;
    let peer = calls(socket).await;
    peer.close("");
    socket = host.socket(b"line in\nline in\nline echo\n").await;
    assert_eq!(read_all(&mut socket).await, "", "an inside of an inside");
}

#[tokio::test]
async fn native_packets_go_inside_of_a_protocol_and_the_peer_is_one_like_others() {
    let host = Host::of(builder(&Lines::default()));
    let mut events = host.handle.events();
    let socket = host.socket(b"line native\n").await;
    let peer = calls(socket).await;
    let Some(PeerEvent::Connected(at_server)) = events.next().await else {
        panic!("another event");
    };
    assert_eq!(at_server.address().unwrap().to_string(), "mem://there");
    assert_eq!(host.handle.peers().len(), 1);
    let report = host.handle.drain(Duration::from_secs(5)).await;
    assert_eq!(report.peers, 1);
    peer.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_guest_and_a_native_peer_of_one_socket_are_both_known() {
    let lines = Lines::default();
    let host = Host::of(builder(&lines));
    let peer = calls(host.socket(b"line guest native\n").await).await;
    let guest = lines.take_guest();
    let id = guest.peer().id();
    assert_eq!(host.handle.peer(id).unwrap().id(), id);
    assert_eq!(host.handle.peers().len(), 2);
    drop(guest);
    assert!(host.handle.peer(id).is_none());
    let peers = host.handle.peers();
    assert_eq!(peers.len(), 1);
    assert!(peers[0].is_callable());
    assert!(host.handle.peer(peers[0].id()).is_some());
    drop(peers);
    let report = host.handle.drain(Duration::from_secs(5)).await;
    assert_eq!(report.peers, 1);
    peer.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_outlives_its_socket_is_known_and_drained() {
    let lines = Lines::default();
    let host = Host::of(builder(&lines));
    let mut socket = host.socket(b"line keep guest\n").await;
    assert_eq!(read_all(&mut socket).await, "");
    let guest = lines.take_guest();
    let id = guest.peer().id();
    assert!(host.handle.peer(id).is_some());
    assert_eq!(host.handle.peers().len(), 1);
    let report = host.handle.drain(Duration::from_secs(5)).await;
    assert_eq!(report.peers, 1);
    guest.draining().await;
    assert!(guest.peer().is_closed());
    drop(guest);
    assert!(host.handle.peer(id).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_outlives_its_socket_takes_no_place() {
    let lines = Lines::default();
    let host = Host::of(limited(&lines, |config| config.max_connections(1)));
    let mut socket = host.socket(b"line keep gateway\n").await;
    assert_eq!(read_all(&mut socket).await, "");
    let peer = calls(host.socket(b"").await).await;
    // A guest that comes by it later has no place.
    let gateway = lines.gateways.lock().unwrap()[0].clone();
    let guest = gateway.guest().build().unwrap();
    assert_eq!(host.handle.peers().len(), 2);
    drop(guest);
    peer.close("");
    let begin = Instant::now();
    host.handle.drain(Duration::from_secs(5)).await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_sockets_of_every_kind() {
    let lines = Lines::default();
    let host = Host::of(builder(&lines));
    let mut waits = host.socket(b"line drain\n").await;
    read(&mut waits, "ready").await;
    let mut stays = host.socket(b"line echo\n").await;
    read(&mut stays, "from mem://there\n").await;
    let mut silent = host.socket(b"").await;
    let mut begun = host.socket(b"WAWO").await;
    let mut other = host.socket(b"line").await;
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    let begin = Instant::now();
    let grace = Duration::from_secs(3);
    let handle = host.handle.clone();
    let draining = tokio::spawn(async move { handle.drain(grace).await });
    read(&mut waits, "drained").await;
    assert_eq!(read_all(&mut waits).await, "");
    for told in [&mut silent, &mut begun] {
        let heard = read_all(told).await;
        assert!(heard.starts_with("WAWO/1\r\n"), "{heard}");
    }
    assert_eq!(read_all(&mut other).await, "");
    assert_eq!(begin.elapsed(), Duration::ZERO);
    // The one that does not end by itself is cut when the grace is over.
    assert_eq!(read_all(&mut stays).await, "");
    assert!(begin.elapsed() >= grace);
    draining.await.unwrap();
    assert_eq!(lines.served.load(Ordering::SeqCst), 0);
    let (_here, there) = duplex(1024);
    let error = host.handle.accept_from(there, "mem://late").unwrap_err();
    assert!(matches!(error, ServeError::Draining), "{error}");
}

#[tokio::test]
async fn a_panic_of_a_protocol_ends_its_socket_alone() {
    let host = Host::of(builder(&Lines::default()));
    let mut events = host.handle.events();
    for (line, text) in [
        (
            &b"line panic\n"[..],
            "the protocol `lines` panicked: a line of another kind",
        ),
        (b"boom", "recognising a protocol panicked: no such line"),
    ] {
        let mut socket = host.socket(line).await;
        let Some(PeerEvent::AcceptFailed(error)) = events.next().await else {
            panic!("another event");
        };
        assert_eq!(error.to_string(), text);
        let _ = read_all(&mut socket).await;
    }
    let _ = calls(host.socket(b"").await).await;
}
