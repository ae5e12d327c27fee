//! The task of one socket of a server that speaks wawo's own protocol.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use crate::{
    peer::Peer,
    server::{registry::ConnectionPlace, workers::WorkerSlot},
    transport::BoxFuture,
};

pin_project! {
    /// A handshake, and then the connection that it has opened, or its end. They follow each other in the
    /// same memory, so the handshake costs an open connection nothing.
    #[project = SocketTaskStage]
    pub(crate) enum SocketTask<H, D> {
        Handshake { #[pin] handshake: H },
        Connection { #[pin] connection: ConnectionTask<D> },
        Ending { ending: BoxFuture<'static, ()> },
    }
}

/// The result of a handshake.
pub(crate) enum HandshakeEnd<D> {
    Opened(ConnectionTask<D>),
    /// It failed; the future sends the reason to the other side. Boxed, so that tasks have no room for it.
    Failed(BoxFuture<'static, ()>),
}

impl<H, D> SocketTask<H, D> {
    pub(crate) fn new(handshake: H) -> Self {
        Self::Handshake { handshake }
    }
}

impl<H, D> Future for SocketTask<H, D>
where
    H: Future<Output = HandshakeEnd<D>>,
    D: Future<Output = ()>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let handshake = match self.as_mut().project() {
                SocketTaskStage::Connection { connection } => return connection.poll(cx),
                SocketTaskStage::Handshake { handshake } => handshake,
                SocketTaskStage::Ending { ending } => return ending.as_mut().poll(cx),
            };
            let next = match ready!(handshake.poll(cx)) {
                HandshakeEnd::Opened(connection) => Self::Connection { connection },
                HandshakeEnd::Failed(ending) => Self::Ending { ending },
            };
            self.set(next);
        }
    }
}

pin_project! {
    /// Runs the driver of a connection. The task owns the place, the peer and the seat of the connection,
    /// so they are freed when it ends, in whatever way: no loop has to look for tasks that are over.
    #[derive(Debug)]
    pub(crate) struct ConnectionTask<D> {
        // The first field: it is dropped before the peer, whose last clone closes the connection, and
        // before the place.
        #[pin]
        driver: D,
        peer: Peer,
        place: Arc<ConnectionPlace>,
        seat: Option<WorkerSlot>,
    }
}

impl<D> ConnectionTask<D> {
    pub(crate) fn new(
        driver: D,
        peer: Peer,
        place: Arc<ConnectionPlace>,
        seat: Option<WorkerSlot>,
    ) -> Self {
        Self {
            driver,
            peer,
            place,
            seat,
        }
    }
}

impl<D: Future<Output = ()>> Future for ConnectionTask<D> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().driver.poll(cx)
    }
}
