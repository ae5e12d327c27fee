//! The task of one connection of a server.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use crate::{
    peer::Peer,
    server::{registry::ConnectionPlace, workers::WorkerSlot},
};

pin_project! {
    /// Runs a driver, and reports the state of its handshake to the server. The task owns the place, the
    /// peer and the seat of the connection, so they are freed when it ends, in whatever way: no loop has
    /// to look for tasks that are over.
    #[derive(Debug)]
    pub(crate) struct ConnectionTask<D> {
        // The first field: it is dropped before the peer, whose last clone closes the connection, and
        // before the place.
        #[pin]
        driver: D,
        peer: Peer,
        place: Arc<ConnectionPlace>,
        seat: Option<WorkerSlot>,
        handshake: Handshake,
    }
}

/// The state of the handshake that was last reported to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handshake {
    Fresh,
    Silent,
    Done,
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
            handshake: Handshake::Fresh,
        }
    }
}

impl<D: Future<Output = ()>> Future for ConnectionTask<D> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if *this.handshake == Handshake::Done {
            return this.driver.poll(cx);
        }
        if this.driver.poll(cx).is_ready() {
            if this.peer.was_closed_as_silent() {
                this.place.was_silent(this.peer);
            }
            return Poll::Ready(());
        }
        if !this.peer.is_handshaking() {
            this.place.handshake_done();
            *this.handshake = Handshake::Done;
            return Poll::Pending;
        }
        if *this.handshake == Handshake::Fresh {
            this.place.is_silent();
            *this.handshake = Handshake::Silent;
        }
        if this.peer.has_spoken() {
            this.place.has_spoken();
        }
        Poll::Pending
    }
}
