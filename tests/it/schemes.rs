//! Addresses of schemes that are not built in, and sockets that a program has opened itself.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{DuplexStream, duplex},
    sync::{Mutex, mpsc},
};
use wawo::{
    Address, ConnectError, OpenListener, Peer, ServeError, Server, ServerConfig, SocketOptions,
    Transport,
    transport::{AcceptedSocket, Attempts, BoxFuture, Connect, Listen, Listener, Memory, Tcp},
};

use crate::support::{EchoClient, EchoServer, Parrot, message};

/// Pipes of one test: what is connected to `pipe://` at one end is accepted at the other.
struct Pipes {
    connected: mpsc::Sender<DuplexStream>,
    accepted: Mutex<Option<mpsc::Receiver<DuplexStream>>>,
}

fn pipes() -> (PipeConnector, Pipes) {
    let (connected, accepted) = mpsc::channel(8);
    let connector = PipeConnector(connected.clone());
    let accepted = Mutex::new(Some(accepted));
    (
        connector,
        Pipes {
            connected,
            accepted,
        },
    )
}

struct PipeConnector(mpsc::Sender<DuplexStream>);

impl Connect for PipeConnector {
    fn scheme(&self) -> &str {
        "pipe"
    }

    fn connect<'a>(
        &'a self,
        address: &'a Address,
        _: &'a SocketOptions,
        attempts: &'a mut Attempts,
    ) -> BoxFuture<'a, io::Result<Box<dyn Transport>>> {
        Box::pin(async move {
            assert_eq!(address.scheme(), "pipe");
            if address.to_string() == "pipe://nowhere" {
                attempts.begin(&"the first place");
                attempts.begin(&"the second place");
                attempts.fail(&"the first place", io::ErrorKind::ConnectionRefused.into());
                std::future::pending::<()>().await;
            }
            let (here, there) = duplex(64 * 1024);
            self.0.send(there).await.map_err(io::Error::other)?;
            Ok(Box::new(here) as Box<dyn Transport>)
        })
    }
}

struct PipeListener(mpsc::Receiver<DuplexStream>);

impl Listen for Pipes {
    fn scheme(&self) -> &str {
        "pipe"
    }

    fn listen<'a>(
        &'a self,
        _: &'a Address,
        _: &'a SocketOptions,
    ) -> BoxFuture<'a, io::Result<Vec<Box<dyn Listener>>>> {
        Box::pin(async move {
            let _also_connects = &self.connected;
            let accepted = self.accepted.lock().await.take();
            let accepted = accepted.ok_or(io::ErrorKind::AddrInUse)?;
            Ok(vec![Box::new(PipeListener(accepted)) as Box<dyn Listener>])
        })
    }
}

impl Listener for PipeListener {
    fn address(&self) -> io::Result<Address> {
        Ok("pipe://here".parse().unwrap())
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<AcceptedSocket>> {
        let pipe = ready!(self.0.poll_recv(cx)).ok_or(io::ErrorKind::BrokenPipe)?;
        let from = "pipe://there".parse().unwrap();
        Poll::Ready(Ok(AcceptedSocket::new(pipe, from)))
    }
}

fn echo() -> EchoServer<Parrot> {
    EchoServer::new(Parrot::default())
}

async fn calls(peer: &Peer) {
    let echo = EchoClient::new(peer);
    assert_eq!(echo.say(message("a")).await.unwrap().data, "a");
}

#[tokio::test]
async fn a_scheme_of_its_own_is_connected_to_and_listened_at() {
    for workers in [None, Some(1)] {
        let (connector, pipes) = pipes();
        let mut server = Server::builder().add_service(echo()).listener(pipes);
        if let Some(count) = workers {
            let config = ServerConfig::builder().workers(Some(count)).build();
            server = server.config(config.unwrap());
        }
        let mut server = server.bind("pipe://here").await.unwrap();
        assert_eq!(server.addresses()[0].to_string(), "pipe://here");
        let taken = server.bind("pipe://here").await.unwrap_err();
        let text = "cannot listen at pipe://here: address in use";
        assert_eq!(taken.to_string(), text);
        let handle = server.handle();
        let running = tokio::spawn(server.run());
        let peer = Peer::builder("pipe://here").connector(connector);
        let peer = peer.connect().await.unwrap();
        calls(&peer).await;
        let from = handle.peers()[0].address().unwrap().to_string();
        assert_eq!(from, "pipe://there");
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_of_a_connector_are_in_the_error_of_the_connect_timeout() {
    let (connector, _pipes) = pipes();
    let peer = Peer::builder("pipe://nowhere").connector(connector);
    let error = peer.connect().await.unwrap_err().to_string();
    let text = "pipe://nowhere did not answer within 5s (connect_timeout): \
                the first place: connection refused, the second place: no answer";
    assert_eq!(error, text);
}

#[tokio::test]
async fn an_unknown_scheme_names_what_to_add() {
    for (address, advice) in [
        (
            "ws://a:1",
            "no connector for `ws://`: add the crate wawo-http and `.connector(WebSocket::new())`",
        ),
        (
            "nats://a",
            "no connector for `nats://`: add the crate wawo-nats and `.connector(Nats::new())`",
        ),
        (
            "http://a:1",
            "no connector for `http://`: write tcp://host:port",
        ),
        (
            "vsock://3:1",
            "no connector for `vsock://`: pass one for it by `PeerBuilder::connector`",
        ),
    ] {
        let error = Peer::connect(address).await.unwrap_err();
        assert!(matches!(error, ConnectError::NoConnector { .. }));
        let text = format!("cannot connect to {address}: {advice}");
        assert_eq!(error.to_string(), text);
    }
    let error = Server::builder().bind("vsock://3:1").await.unwrap_err();
    assert!(matches!(error, ServeError::NoListener { .. }));
    let text = "cannot listen at vsock://3:1: no listener for `vsock://`: \
                pass one for it by `ServerBuilder::listener`";
    assert_eq!(error.to_string(), text);
}

/// Listens nowhere.
struct Nowhere;

impl Listen for Nowhere {
    fn scheme(&self) -> &str {
        "nowhere"
    }

    fn listen<'a>(
        &'a self,
        _: &'a Address,
        _: &'a SocketOptions,
    ) -> BoxFuture<'a, io::Result<Vec<Box<dyn Listener>>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

#[tokio::test]
async fn a_scheme_that_listens_nowhere_is_an_error() {
    let server = Server::builder().listener(Nowhere);
    let error = server.bind("nowhere://a").await.unwrap_err();
    let text = "cannot listen at nowhere://a: its `Listen` returned no listener";
    assert_eq!(error.to_string(), text);
    assert_eq!(format!("{error:?}"), text);
}

/// Takes the place of a built-in scheme, or of a connector that was given before.
struct Renamed(&'static str, &'static str);

impl Connect for Renamed {
    fn scheme(&self) -> &str {
        self.0
    }

    fn connect<'a>(
        &'a self,
        _: &'a Address,
        options: &'a SocketOptions,
        attempts: &'a mut Attempts,
    ) -> BoxFuture<'a, io::Result<Box<dyn Transport>>> {
        Box::pin(async move {
            let address = self.1.parse().unwrap();
            Memory.connect(&address, options, attempts).await
        })
    }
}

#[tokio::test]
async fn the_last_connector_of_a_scheme_counts_also_before_a_built_in_one() {
    let address = "mem://schemes-renamed";
    let server = Server::builder().add_service(echo());
    let server = server.bind(address).await.unwrap();
    let running = tokio::spawn(server.run());
    let peer = Peer::builder("tcp://192.0.2.1:9")
        .connector(Renamed("tcp", "mem://schemes-nobody"))
        .connector(Renamed("tcp", address));
    calls(&peer.connect().await.unwrap()).await;
    running.abort();
}

#[tokio::test]
async fn a_socket_address_is_an_address() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::builder().add_service(echo());
    let server = server.bind(any).await.unwrap();
    let address = server.addresses()[0].clone();
    let running = tokio::spawn(server.run());
    let text = address.to_string();
    let socket_address: SocketAddr = text.strip_prefix("tcp://").unwrap().parse().unwrap();
    calls(&Peer::connect(socket_address).await.unwrap()).await;
    calls(&Peer::connect(&address).await.unwrap()).await;
    calls(&Peer::connect(&text).await.unwrap()).await;
    calls(&Peer::connect(text).await.unwrap()).await;
    calls(&Peer::connect(address).await.unwrap()).await;
    running.abort();
}

#[tokio::test]
async fn a_listener_of_any_kind_is_listened_on() {
    let options = SocketOptions::new();
    let address = "tcp://127.0.0.1:0".parse().unwrap();
    let mut listeners = Tcp.listen(&address, &options).await.unwrap();
    let mut server = Server::builder().add_service(echo()).build().unwrap();
    let listener = Counted(listeners.remove(0), 0);
    server.listen_on(OpenListener::new(listener)).unwrap();
    let address = server.addresses()[0].clone();
    let handle = server.handle();
    let running = tokio::spawn(server.run());
    let peer = Peer::connect(address).await.unwrap();
    calls(&peer).await;
    let from = handle.peers()[0].address().unwrap().to_string();
    assert_eq!(from, "mem://number-1");
    running.abort();
}

/// Gives each connection of another listener an address by its number.
struct Counted(Box<dyn Listener>, usize);

impl Listener for Counted {
    fn address(&self) -> io::Result<Address> {
        self.0.address()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<AcceptedSocket>> {
        let accepted = ready!(self.0.poll_accept(cx))?;
        self.1 += 1;
        let from = format!("mem://number-{}", self.1).parse().unwrap();
        Poll::Ready(Ok(accepted.with_address(from)))
    }
}

/// Both ends of a connection are given to both sides as they are.
macro_rules! sockets_are_taken {
    ($here:expr, $there:expr) => {
        let mut server = Server::builder().add_service(echo()).build().unwrap();
        let _ = server.accept_over($there).unwrap();
        let peer = Peer::builder("").connect_over($here).await.unwrap();
        calls(&peer).await;
    };
}

#[tokio::test]
async fn sockets_of_the_standard_library_and_of_tokio_are_taken_as_they_are() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let here = std::net::TcpStream::connect(address).unwrap();
    sockets_are_taken!(here, listener.accept().unwrap().0);

    let here = tokio::net::TcpStream::connect(address).await.unwrap();
    let there = listener.accept().unwrap().0;
    there.set_nonblocking(true).unwrap();
    let there = tokio::net::TcpStream::from_std(there).unwrap();
    sockets_are_taken!(here, there);
}

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets_of_the_standard_library_and_of_tokio_are_taken_as_they_are() {
    let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
    sockets_are_taken!(here, there);
    let (here, there) = tokio::net::UnixStream::pair().unwrap();
    sockets_are_taken!(here, there);
}
