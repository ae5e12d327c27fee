//! What is written together: calls and replies that are ready at once, but not so many that the other
//! side has nothing to do in the meantime.

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
use wawo::{Peer, Request, Server};

use crate::support::{EchoClient, EchoServer, Parrot, message};

/// A transport that counts how often it is written to.
struct Counted {
    transport: DuplexStream,
    writes: Arc<AtomicUsize>,
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
        self.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

/// A server and a client; how often each has written, and had the server when it last began a call.
struct CountedPair {
    _server: Server,
    to_server: Peer,
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
        };
        server.accept_over(counted(there, &by_server)).unwrap();
        let here = counted(here, &by_client);
        let to_server = Peer::builder("").connect_over(here).await.unwrap();
        Self {
            _server: server,
            to_server,
            by_client,
            by_server,
            when_begun,
        }
    }

    async fn call_at_once(&self, calls: usize) {
        let echo = EchoClient::new(&self.to_server);
        let calls = (0..calls).map(|_| tokio::spawn(echo.say(message("hi"))));
        for reply in join_all(calls).await {
            reply.unwrap().unwrap();
        }
    }
}

fn count(writes: &AtomicUsize) -> usize {
    writes.load(Ordering::SeqCst)
}

#[tokio::test]
async fn calls_that_are_ready_at_once_leave_in_one_write_and_so_do_their_replies() {
    let pair = CountedPair::new().await;
    let before = (count(&pair.by_client), count(&pair.by_server));
    pair.call_at_once(32).await;
    let after = (count(&pair.by_client), count(&pair.by_server));
    assert_eq!((before.0 + 1, before.1 + 1), after);
}

#[tokio::test]
async fn the_first_replies_leave_while_later_calls_are_served() {
    let pair = CountedPair::new().await;
    let before = count(&pair.by_server);
    pair.call_at_once(64).await;
    assert_eq!(count(&pair.when_begun), before + 2);
    assert_eq!(count(&pair.by_server), before + 3);
}
