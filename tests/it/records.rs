//! Large calls over a transport that gives at most 16 KiB a read, as TLS does, however much has come.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures::future::join_all;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use wawo::{Peer, Server};

use crate::support::{EchoClient, EchoServer, Parrot, message};

/// The bytes of a record of TLS, at most.
const RECORD_BYTES: usize = 16 * 1024;

/// A transport that gives one record a read, and counts its flushes: one for each round of its driver that
/// has written.
struct Records {
    transport: DuplexStream,
    flushes: Arc<AtomicUsize>,
}

impl AsyncRead for Records {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining().min(RECORD_BYTES);
        let mut record = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(Pin::new(&mut self.transport).poll_read(cx, &mut record))?;
        let read = record.filled().len();
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Records {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn replies_to_large_calls_leave_in_one_write() {
    const CALLS: usize = 2;
    // All calls are in the transport before the server reads.
    let (here, transport) = duplex(1024 * 1024);
    let flushes = Arc::new(AtomicUsize::new(0));
    let parrot = EchoServer::new(Parrot::default());
    let mut server = Server::builder().add_service(parrot).build().unwrap();
    let records = Records {
        transport,
        flushes: flushes.clone(),
    };
    let to_client = server.accept_over(records);
    let echo = EchoClient::new(&Peer::builder("").connect_over(here).await.unwrap());
    let before = flushes.load(Ordering::SeqCst);
    let data = vec![7; 60 * 1024];
    let calls = (0..CALLS).map(|_| tokio::spawn(echo.say(message(data.clone()))));
    for reply in join_all(calls).await {
        assert_eq!(reply.unwrap().unwrap().data, data);
    }
    assert_eq!(flushes.load(Ordering::SeqCst) - before, 1);
    drop(to_client);
}
