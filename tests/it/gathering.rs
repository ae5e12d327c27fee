//! Calls and replies that are ready at the same time share a write, but not so many that the other
//! side idles meanwhile.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::future::join_all;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tower::util::MapRequestLayer;
use wawo::{ConnectionError, Peer, Request, Server};

use crate::support::{EchoClient, EchoServer, Parrot, message};

/// A transport that counts its writes, and fails one of them.
struct Counted {
    transport: DuplexStream,
    writes: Arc<AtomicUsize>,
    /// The number of the write that fails; 0 for none.
    fails: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        if number == count(&self.fails) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

/// A server and a client, the number of writes of each, and the server's number when it last began
/// a call.
struct CountedPair {
    _server: Server,
    to_server: Peer,
    to_client: Peer,
    server_fails: Arc<AtomicUsize>,
    by_client: Arc<AtomicUsize>,
    by_server: Arc<AtomicUsize>,
    when_begun: Arc<AtomicUsize>,
}

impl CountedPair {
    async fn new() -> Self {
        let (here, there) = duplex(64 * 1024);
        let [by_client, by_server, when_begun]: [Arc<AtomicUsize>; 3] = Default::default();
        let (begun, written) = (when_begun.clone(), by_server.clone());
        let note_begun = MapRequestLayer::new(move |request: Request| {
            begun.store(written.load(Ordering::SeqCst), Ordering::SeqCst);
            request
        });
        let parrot = EchoServer::new(Parrot::default());
        let server = Server::builder().layer(note_begun).add_service(parrot);
        let mut server = server.build().unwrap();
        let counted = |transport, writes: &Arc<AtomicUsize>| Counted {
            transport,
            writes: writes.clone(),
            fails: Arc::default(),
        };
        let there = counted(there, &by_server);
        let server_fails = there.fails.clone();
        let to_client = server.accept_over(there).unwrap();
        let here = counted(here, &by_client);
        let to_server = Peer::builder("").connect_over(here).await.unwrap();
        Self {
            _server: server,
            to_server,
            to_client,
            server_fails,
            by_client,
            by_server,
            when_begun,
        }
    }

    async fn call_at_once(&self, calls: usize) -> Writes {
        let before = (count(&self.by_client), count(&self.by_server));
        let echo = EchoClient::new(&self.to_server);
        let calls = (0..calls).map(|_| tokio::spawn(echo.say(message("hi"))));
        for reply in join_all(calls).await {
            reply.unwrap().unwrap();
        }
        Writes {
            by_client: count(&self.by_client) - before.0,
            by_server: count(&self.by_server) - before.1,
            when_begun: count(&self.when_begun) - before.1,
        }
    }
}

/// The number of writes of each side, and of the server before it began the last call.
struct Writes {
    by_client: usize,
    by_server: usize,
    when_begun: usize,
}

fn count(writes: &AtomicUsize) -> usize {
    writes.load(Ordering::SeqCst)
}

#[tokio::test]
async fn calls_that_are_ready_at_once_leave_in_one_write_and_so_do_their_replies() {
    let writes = CountedPair::new().await.call_at_once(32).await;
    assert_eq!((writes.by_client, writes.by_server), (1, 1));
}

#[tokio::test]
async fn the_first_replies_leave_while_later_calls_are_served() {
    let writes = CountedPair::new().await.call_at_once(64).await;
    assert_eq!((writes.when_begun, writes.by_server), (2, 3));
}

#[tokio::test]
async fn the_more_calls_there_are_the_rarer_are_the_writes_between_them() {
    let writes = CountedPair::new().await.call_at_once(256).await;
    assert_eq!((writes.when_begun, writes.by_server), (4, 5));
}

#[tokio::test]
async fn an_error_of_a_write_between_calls_ends_the_connection() {
    let pair = CountedPair::new().await;
    let first = count(&pair.by_server) + 1;
    pair.server_fails.store(first, Ordering::SeqCst);
    let echo = EchoClient::new(&pair.to_server);
    let calls = (0..64).map(|_| tokio::spawn(echo.say(message("hi"))));
    for reply in join_all(calls).await {
        reply.unwrap().unwrap_err();
    }
    let reason = pair.to_client.closed().await;
    assert!(matches!(reason, ConnectionError::Lost(_)), "{reason}");
}
