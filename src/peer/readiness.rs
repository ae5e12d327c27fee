//! When a peer is ready for a call, in tower's sense.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio_util::sync::ReusableBoxFuture;
use wawo_protocol::time::after;

use crate::{
    clock,
    connection::{Owner, Readiness},
    peer::{handle::Handle, link::Link, redial_link::RedialLink},
    response_future::Canceller,
    status::Result,
};

/// The wait of one caller, if it waits: for room at the connection, or for a connection. A clone does not
/// wait.
#[derive(Debug, Default)]
pub(super) struct PeerReadiness {
    room: Readiness,
    connection: Option<Box<ConnectionWait>>,
}

/// The wait for a connection.
struct ConnectionWait(ReusableBoxFuture<'static, Result<()>>);

impl fmt::Debug for ConnectionWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionWait")
    }
}

impl Clone for PeerReadiness {
    /// A clone does not wait.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PeerReadiness {
    pub(super) fn poll(&mut self, peer: &Handle, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let connection = match peer.link() {
            Link::Connection(connection) => connection,
            Link::Guest(guest) => return Poll::Ready(Err(peer.not_callable(guest))),
            Link::Redial(redial) => {
                let polled = ready!(self.poll_redial(redial, cx));
                let address = peer.state().address();
                return Poll::Ready(polled.map_err(|status| status.at(address)));
            }
        };
        let polled = ready!(self.room.poll(connection, cx));
        Poll::Ready(polled.map_err(|status| status.carried_by(peer.carrier())))
    }

    fn poll_redial(&mut self, link: &Arc<RedialLink>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if link.settings().wait_for_ready() && !link.has_connection(None)? {
            return self.poll_connection(link, cx);
        }
        self.connection = None;
        match link.current() {
            Some(connection) => self.room.poll(&connection, cx),
            None => Poll::Ready(Err(link.not_connected())),
        }
    }

    /// Waits for a connection. It also resolves after the longest time that a call without a timeout could
    /// wait; then the call waits on.
    fn poll_connection(
        &mut self,
        link: &Arc<RedialLink>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        let wait = self.connection.get_or_insert_with(|| {
            let (end, link) = (after(clock::now(), link.longest_wait()), link.clone());
            let wait = async move { link.ready(end).await };
            Box::new(ConnectionWait(ReusableBoxFuture::new(wait)))
        });
        let polled = ready!(wait.0.poll(cx));
        self.connection = None;
        Poll::Ready(polled)
    }
}
