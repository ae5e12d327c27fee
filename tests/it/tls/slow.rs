//! Transports below TLS that take little, or nothing.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    net::TcpStream,
    time::{Instant, timeout},
};
use wawo::{Config, ConnectionError, OpenListener, Peer, PeerEvent, Server};

use super::support::{client_tls, server_tls};
use crate::support::{EchoClient, EchoServer, Parrot, RepeatRequest, Running, message};

/// How long a reply may take. A debug build encrypts slowly, above all beside other tests.
const LONGEST_REPLY: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 1 });

/// A socket with the smallest buffers that the system gives, about 4 KiB.
fn small_socket() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_send_buffer_size(4096).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Replies of 1 MiB through socket buffers of 4 KiB: none hangs, since each write is flushed.
#[tokio::test]
async fn a_hundred_large_replies_pass_through_small_sockets() {
    let listener = small_socket();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(8).unwrap();
    let server = Server::builder().tls(server_tls());
    let mut server = server
        .add_service(EchoServer::new(Parrot::default()))
        .build()
        .unwrap();
    let listener: std::net::TcpListener = listener.into();
    let address = listener.local_addr().unwrap();
    server
        .listen_on(OpenListener::from(listener).tls())
        .unwrap();
    assert_eq!(
        server.addresses()[0].to_string(),
        format!("tls://{address}")
    );
    let _server = Running::spawn(server);

    let socket = small_socket();
    // It goes on in the background, as the socket is not blocking.
    let _ = socket.connect(&address.into());
    let socket = TcpStream::from_std(socket.into()).unwrap();
    socket.writable().await.unwrap();
    let inside = client_tls().connect(socket, "localhost").await.unwrap();
    let peer = Peer::builder("").connect_over(inside).await.unwrap();
    let echo = EchoClient::new(&peer);
    let large = vec![7; 1024 * 1024];
    for _ in 0..100 {
        let calling = echo.say(message(large.clone()));
        let reply = timeout(LONGEST_REPLY, calling).await;
        assert_eq!(reply.expect("in time").unwrap().data.len(), large.len());
    }
}

/// A pipe whose other end can stop to read.
struct Deaf {
    pipe: DuplexStream,
    is_deaf: Arc<AtomicBool>,
}

impl AsyncRead for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.is_deaf.load(Ordering::Relaxed) {
            true => Poll::Pending,
            false => Pin::new(&mut self.pipe).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_reading_is_closed_within_the_write_timeout_and_a_second() {
    // Below the time for the answer to a ping.
    let write_timeout = Duration::from_secs(3);
    let config = Config::builder()
        .write_timeout(write_timeout)
        .build()
        .unwrap();
    let mut server = Server::builder()
        .config(config)
        .add_service(EchoServer::new(Parrot::default()))
        .build()
        .unwrap();
    let mut events = server.handle().events();
    let (here, there) = duplex(4096);
    let is_deaf = Arc::new(AtomicBool::new(false));
    let deaf = Deaf {
        pipe: here,
        is_deaf: is_deaf.clone(),
    };
    let (tls, client) = (server_tls(), client_tls());
    let (inside, peer) = tokio::join!(tls.accept(there), client.connect(deaf, "localhost"));
    let _at_server = server.accept_over(inside.unwrap()).unwrap();
    let peer = Peer::builder("").connect_over(peer.unwrap()).await.unwrap();
    // The request is on its way, and nothing of the replies is read.
    is_deaf.store(true, Ordering::Relaxed);
    let request = RepeatRequest {
        data: vec![7; 64 * 1024].into(),
        times: 16,
    };
    let calling = tokio::spawn(async move { EchoClient::new(&peer).repeat(request).await });
    let begin = Instant::now();
    let error = loop {
        if let PeerEvent::Disconnected(_, error) = events.next().await.unwrap() {
            break error;
        }
    };
    assert!(
        matches!(error, ConnectionError::SlowReader { .. }),
        "{error}"
    );
    let most = write_timeout + Duration::from_secs(1);
    assert!(begin.elapsed() <= most, "{:?}", begin.elapsed());
    calling.abort();
}
