//! Attacks on the handshake of TLS, with an honest peer that makes calls inside of TLS beside each.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, ServerName},
    },
};
use wawo::{
    Config, Events, Peer, PeerEvent, ServerConfig,
    tls::{ClientTls, Pem, ServerTls},
};
use wawo_protocol::packet::{PREFACE, Packet, decode, decode_preface};
use wawo_test_certificates::Authority;

use crate::{
    honest::Honest,
    memory::{BATCH, BATCHES, held, median_of_batches},
    raw::Raw,
    target::{Alone, Target, builder, config, of_server},
    wire::{HELLO, note, packet, ping},
};

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("root"));

/// A server with a certificate.
fn server_tls() -> ServerTls {
    let issued = AUTHORITY.server(&["localhost", "127.0.0.1"]);
    ServerTls::from_pem(issued.certificate, issued.key).unwrap()
}

fn client_tls() -> ClientTls {
    let roots = Pem::bytes(&*AUTHORITY.root);
    ClientTls::builder().roots(roots).build().unwrap()
}

/// A connector of the library, for a raw peer.
fn connector() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from(AUTHORITY.root_der.clone());
    roots.add(root).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn connect(connector: &TlsConnector, address: &str) -> TlsStream<TcpStream> {
    let socket = TcpStream::connect(address.trim_start_matches("tls://")).await;
    let name: ServerName<'static> = "localhost".try_into().unwrap();
    connector.connect(name, socket.unwrap()).await.unwrap()
}

/// A server that speaks TLS only, and an honest peer of it.
struct Attacked {
    target: Target,
    events: Events,
    honest: Honest,
}

impl Attacked {
    async fn new(config: impl Into<ServerConfig>) -> Self {
        let (builder, seen) = builder(config);
        let target = Target::listening(builder.tls(server_tls()), seen, "tls://127.0.0.1:0").await;
        let peer = Peer::builder(target.address()).tls(client_tls());
        let honest = Honest::start(peer.connect().await.unwrap(), target.seen.clone()).await;
        let events = target.handle.events();
        Self {
            target,
            events,
            honest,
        }
    }

    /// A socket over which nothing was sent.
    async fn socket(&self) -> TcpStream {
        let address = self.target.address().trim_start_matches("tls://");
        TcpStream::connect(address).await.unwrap()
    }

    /// Connects another honest peer, within its `connect_timeout`.
    async fn connects(&self) {
        let peer = Peer::builder(self.target.address()).tls(client_tls());
        peer.connect().await.unwrap().close("done");
    }

    /// Waits until the server has closed the attacker's connection, and returns the reason.
    async fn reason(&mut self) -> String {
        loop {
            let event = self.events.next().await.unwrap();
            if let PeerEvent::NotConnected(_, error) | PeerEvent::Disconnected(_, error) = event {
                return error.to_string();
            }
        }
    }
}

/// Time for one attack: it only ever passes if the server hangs.
const ATTACK_TIME: Duration = Duration::from_secs(60);

/// A record of TLS.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 3, 1];
    record.extend((content.len() as u16).to_be_bytes());
    record.extend(content);
    record
}

/// A client hello with this version and nothing else of interest.
fn old_hello(minor: u8) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    // No session, one cipher suite of TLS 1.0, no compression.
    body.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let mut message = vec![1, 0, 0, body.len() as u8];
    message.extend(body);
    record(0x16, &message)
}

#[tokio::test]
async fn bytes_that_are_no_handshake_are_refused_at_once() {
    let mut attacked = Attacked::new(Config::default()).await;
    let hello_of_1_mib = record(0x16, &[1, 0x10, 0, 0, 3, 3]);
    for (name, bytes, text) in [
        ("SSL 3", old_hello(0), "has no version or cipher of TLS"),
        ("TLS 1.0", old_hello(1), "has no version or cipher of TLS"),
        ("TLS 1.1", old_hello(2), "has no version or cipher of TLS"),
        (
            "a record of 65535 bytes",
            vec![0x16, 3, 1, 0xff, 0xff],
            "are not TLS",
        ),
        ("an empty record", record(0x16, &[]), "are not TLS"),
        ("a hello of 1 MiB", hello_of_1_mib, "are not TLS"),
        (
            "no hello first",
            record(0x16, &[20, 0, 0, 0]),
            "broke the rules of TLS",
        ),
        (
            "data behind a broken hello",
            [record(0x16, &[1, 0, 0, 1, 9]), record(0x17, &[9; 64])].concat(),
            "TLS",
        ),
    ] {
        let mut socket = attacked.socket().await;
        socket.write_all(&bytes).await.unwrap();
        let reason = timeout(ATTACK_TIME, attacked.reason()).await;
        let reason = reason.unwrap_or_else(|_| panic!("{name} hangs"));
        assert!(reason.contains(text), "{name}: {reason}");
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        // An alert, and nothing in plain.
        assert!(answer.is_empty() || answer[0] == 0x15, "{name}: {answer:?}");
    }
    attacked.honest.leave().await;
}

/// Sockets that are asked to leave have no place while their last bytes are sent.
#[tokio::test]
async fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let config = of_server(|config| config.max_handshakes(100));
    let attacked = Attacked::new(config).await;
    let mut crowd = Vec::new();
    for _ in 0..600 {
        crowd.push(attacked.socket().await);
    }
    attacked.connects().await;
    attacked.honest.leave().await;
}

#[tokio::test]
async fn a_crowd_that_does_not_speak_tls_holds_up_nobody() {
    let config = of_server(|config| config.max_handshakes(1));
    let attacked = Attacked::new(config).await;
    let mut crowd = Vec::new();
    for number in 0..60 {
        let mut socket = attacked.socket().await;
        let bytes = match number % 3 {
            0 => b"junk....".to_vec(),
            1 => PREFACE.to_vec(),
            _ => old_hello(1),
        };
        socket.write_all(&bytes).await.unwrap();
        crowd.push(socket);
    }
    attacked.connects().await;
    attacked.honest.leave().await;
}

/// Each byte comes alone, and none of them completes a hello.
#[tokio::test]
async fn a_hello_in_crumbs_is_given_up_in_time() {
    let handshake_timeout = Duration::from_millis(300);
    let config = config(|config| config.handshake_timeout(handshake_timeout));
    let mut attacked = Attacked::new(config).await;
    let mut socket = attacked.socket().await;
    let crumbs = tokio::spawn(async move {
        let begin = record(0x16, &[1, 0, 0x40, 0, 3, 3]);
        for byte in begin.iter().copied().chain(std::iter::repeat(0)) {
            if socket.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    let reason = timeout(ATTACK_TIME, attacked.reason()).await.unwrap();
    let is_closed = reason.contains("no handshake of TLS within 300ms") || reason.contains("TLS");
    assert!(is_closed, "{reason}");
    timeout(ATTACK_TIME, crumbs).await.unwrap().unwrap();
    attacked.honest.leave().await;
}

/// The raw peer of all other tests, inside of TLS: an open connection that breaks a rule is told so there.
#[tokio::test]
async fn a_broken_rule_inside_of_tls_is_told_inside_of_tls() {
    let attacked = Attacked::new(Config::default()).await;
    let inside = connect(&connector(), attacked.target.address()).await;
    let mut raw = Raw::over(Box::new(inside));
    raw.greet().await;
    raw.send(*b"\0\0\0\0\x63\0\0\0\0\0\0\0").await.unwrap();
    let (_, text) = raw.closed().await;
    assert_eq!(text, "unknown packet kind 99");
    attacked.honest.leave().await;
    drop(attacked.events);
}

#[tokio::test]
async fn a_connection_that_is_cut_within_a_record_ends() {
    let mut attacked = Attacked::new(Config::default()).await;
    let inside = connect(&connector(), attacked.target.address()).await;
    let (mut socket, _) = inside.into_inner();
    // The beginning of a record of data.
    socket.write_all(&[0x17, 3, 3, 0x10, 0]).await.unwrap();
    drop(socket);
    let reason = timeout(ATTACK_TIME, attacked.reason()).await.unwrap();
    assert!(
        reason.contains("it ended without the end of TLS"),
        "{reason}"
    );
    attacked.honest.leave().await;
}

/// The heap of an idle connection inside of TLS, at the server.
const IDLE_BYTES: usize = 16 * 1024;

#[tokio::test]
async fn an_idle_connection_inside_of_tls_holds_little_also_after_a_burst() {
    let _turn = Alone::take().await;
    let server = builder(Config::default()).0.tls(server_tls());
    let server = server.bind("tls://127.0.0.1:0").await.unwrap();
    let address = server.addresses()[0].to_string();
    let server = tokio::spawn(server.run());
    let connector = connector();
    let mut burst = PREFACE.to_vec();
    burst.extend(packet(HELLO).build());
    // More than one read takes.
    burst.extend(note("much").build().repeat(2_000));
    burst.extend(ping(7).build());
    let mut sockets = Vec::with_capacity(BATCHES * BATCH + 1);
    let mut usage = Vec::with_capacity(BATCHES + 1);
    // The first connection allocates what all share.
    for number in 0..=BATCHES * BATCH {
        let mut inside = connect(&connector, &address).await;
        inside.write_all(&burst).await.unwrap();
        inside.flush().await.unwrap();
        until_pong(&mut inside).await;
        // The client's part of TLS does not count.
        sockets.push(inside.into_inner().0);
        if number % BATCH == 0 {
            usage.push(held());
        }
    }
    let each = median_of_batches(&usage);
    println!("{each} bytes each");
    drop(sockets);
    server.abort();
    assert!(each <= IDLE_BYTES, "{each} bytes each");
}

/// Reads until the server has answered a ping, and so has handled all before it.
async fn until_pong(inside: &mut TlsStream<TcpStream>) {
    let config = Config::default();
    let (mut input, limits) = (BytesMut::new(), config.limits());
    while !decode_preface(&mut input).unwrap() {
        inside.read_buf(&mut input).await.unwrap();
    }
    loop {
        match decode(&mut input, limits).unwrap() {
            Some(Packet::Pong(_)) => return,
            Some(_) => {}
            None => drop(inside.read_buf(&mut input).await.unwrap()),
        }
    }
}
