//! When a transport carries nothing for a while, the status that a caller gets is still true. Time
//! is paused.

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

use futures::{future::poll_fn, task::AtomicWaker};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    time::{Instant, advance, sleep, timeout},
};
use wawo::{Code, Config, Delivery, Peer, Server};

use crate::support::{EchoClient, EchoServer, Parrot, message};

/// The gate of one direction of a transport.
#[derive(Default)]
struct Gate {
    is_shut: AtomicBool,
    waker: AtomicWaker,
}

impl Gate {
    fn shut(&self) {
        self.is_shut.store(true, Ordering::SeqCst);
    }

    fn open(&self) {
        self.is_shut.store(false, Ordering::SeqCst);
        self.waker.wake();
    }

    fn is_shut(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.is_shut.load(Ordering::SeqCst)
    }
}

struct Gated {
    transport: DuplexStream,
    reads: Arc<Gate>,
    writes: Arc<Gate>,
}

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.reads.is_shut(cx) {
            true => Poll::Pending,
            false => Pin::new(&mut self.transport).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Gated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.writes.is_shut(cx) {
            true => Poll::Pending,
            false => Pin::new(&mut self.transport).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

/// A server, and a client with gates in its transport.
struct GatedPair {
    _server: Server,
    to_server: Peer,
    parrot: Parrot,
    reads: Arc<Gate>,
    writes: Arc<Gate>,
}

async fn gated_pair() -> GatedPair {
    let (transport, there) = duplex(64 * 1024);
    let (reads, writes) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    let parrot = Parrot::default();
    let server = Server::builder().add_service(EchoServer::new(parrot.clone()));
    let mut server = server.build().unwrap();
    let _ = server.accept_over(there).unwrap();
    let gated = Gated {
        transport,
        reads: reads.clone(),
        writes: writes.clone(),
    };
    let to_server = Peer::builder("").connect_over(gated).await.unwrap();
    GatedPair {
        _server: server,
        to_server,
        parrot,
        reads,
        writes,
    }
}

impl GatedPair {
    async fn until_begun(&self) {
        let begun = self
            .parrot
            .0
            .until(|seen| seen.begun.load(Ordering::SeqCst) == 1);
        timeout(Duration::from_secs(1), begun).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_deadline_passes_in_the_output_may_still_be_served() {
    let pair = gated_pair().await;
    pair.writes.shut();
    let call = EchoClient::new(&pair.to_server).act(message("wait"));
    let status = call.timeout(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.delivery(), Delivery::Unknown);
    pair.writes.open();
    pair.until_begun().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_in_the_output_of_a_connection_that_is_closed_may_still_be_served() {
    let pair = gated_pair().await;
    pair.writes.shut();
    let call = tokio::spawn(EchoClient::new(&pair.to_server).act(message("wait")));
    sleep(Duration::from_millis(1)).await;
    pair.to_server.close("enough");
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.delivery(), Delivery::Unknown);
    pair.writes.open();
    pair.until_begun().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_deadline_is_the_end_of_the_connection_ends() {
    let pair = gated_pair().await;
    let begin = Instant::now();
    pair.reads.shut();
    let config = Config::default();
    let silence = config.keep_alive_interval() + config.keep_alive_timeout();
    let call = EchoClient::new(&pair.to_server).say(message("hi"));
    let ended = timeout(2 * silence, call.timeout(silence)).await;
    let status = ended.expect("every call ends").unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(begin.elapsed(), silence);
    assert!(pair.to_server.is_closed());
}

/// Stops the process for a time, after the client has been woken by a call and before it takes the
/// call; `gate` opens meanwhile.
async fn stand_still(pair: &GatedPair, gate: &Arc<Gate>, time: Duration) {
    let call = tokio::spawn(EchoClient::new(&pair.to_server).say(message("meanwhile")));
    let gate = gate.clone();
    // While this task yields once, the call is made and the client looks at its mailbox.
    let stand_still = tokio::spawn(async move {
        let mut has_run = false;
        poll_fn(|cx| match std::mem::replace(&mut has_run, true) {
            true => Poll::Ready(()),
            false => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await;
        gate.open();
        advance(time).await;
    });
    stand_still.await.unwrap();
    call.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_came_while_the_process_stood_still_is_not_too_late() {
    let pair = gated_pair().await;
    let call = EchoClient::new(&pair.to_server).act(message("hold"));
    let call = tokio::spawn(async { call.timeout(Duration::from_secs(1)).await });
    pair.until_begun().await;
    pair.reads.shut();
    pair.parrot.0.release.notify_one();
    sleep(Duration::from_millis(1)).await;
    stand_still(&pair, &pair.reads, Duration::from_secs(2)).await;
    assert_eq!(call.await.unwrap().unwrap().data, "hold");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_again_while_the_process_stood_still_is_not_too_slow() {
    let pair = gated_pair().await;
    pair.writes.shut();
    let call = tokio::spawn(EchoClient::new(&pair.to_server).say(message("large")));
    sleep(Duration::from_millis(1)).await;
    stand_still(&pair, &pair.writes, 2 * Config::default().write_timeout()).await;
    assert!(!pair.to_server.is_closed());
    // The call's own deadline has passed.
    assert_eq!(
        call.await.unwrap().unwrap_err().code(),
        Code::DeadlineExceeded
    );
}
