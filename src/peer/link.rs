//! The link between a peer's handle and its connection, or its guest.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use wawo_protocol::{CloseCode, ConnectionError, Relocation};

use crate::{
    connection::{Activity, ConnectionHandle, ConnectionState, DrainOutcome},
    peer::{guest::GuestState, redial_link::RedialLink},
};

/// How a peer is reached.
#[derive(Debug, Clone)]
pub(super) enum Link {
    /// Over this one: the only connection of the peer, or, for the hook of one that reconnects, the new one.
    Connection(Arc<ConnectionHandle>),
    /// Over the connection that the peer has now. When that is lost, another takes its place.
    Redial(Arc<RedialLink>),
    /// Not at all: a guest only calls.
    Guest(Arc<GuestState>),
}

impl Link {
    pub(super) fn state(&self) -> watch::Receiver<ConnectionState> {
        match self {
            Self::Connection(connection) => connection.state(),
            Self::Redial(redial) => redial.state(),
            Self::Guest(guest) => guest.state(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Connection(connection) => connection.is_closed(),
            Self::Redial(redial) => redial.is_closed(),
            Self::Guest(guest) => guest.is_closed(),
        }
    }

    /// Waits until either side takes no more calls, or the connection is over.
    pub(super) async fn draining(&self) {
        match self {
            Self::Connection(connection) => connection.draining().await,
            Self::Redial(redial) => redial.draining().await,
            Self::Guest(guest) => guest.draining().await,
        }
    }

    /// Why the connection is over, if it is over.
    pub(super) fn end(&self) -> Option<ConnectionError> {
        self.state().borrow().end()
    }

    pub(super) fn close(&self, code: CloseCode, reason: &str) {
        match self {
            Self::Connection(connection) => connection.close(code, reason),
            Self::Redial(redial) => redial.close(code, reason),
            Self::Guest(guest) => guest.close(code, reason),
        }
    }

    /// Asks the other side to connect anew. A guest is not asked, nor is a peer that reconnects.
    pub(super) fn move_peer(&self, relocation: Relocation) {
        if let Self::Connection(connection) = self {
            connection.move_peer(relocation);
        }
    }

    /// Takes no more calls, and closes when those in flight have ended.
    pub(super) fn begin_drain(&self) {
        match self {
            Self::Connection(connection) => connection.begin_drain(),
            Self::Redial(redial) => redial.begin_drain(),
            Self::Guest(guest) => guest.drain(),
        }
    }

    /// Ends a drain whose grace, of this length, is over.
    pub(super) fn cut(&self, grace: Duration) {
        match self {
            Self::Connection(connection) => connection.cut(grace),
            Self::Redial(redial) => redial.cut(grace),
            Self::Guest(guest) => guest.cut(grace),
        }
    }

    pub(super) fn drain_outcome(&self) -> DrainOutcome {
        match self {
            Self::Connection(connection) => connection.drain_outcome(),
            Self::Redial(redial) => redial.drain_outcome(),
            Self::Guest(guest) => guest.drain_outcome(),
        }
    }
}

/// A handle to read how much a peer calls, which does not keep its connection open.
#[derive(Debug)]
pub(crate) struct ActivityHandle(Link);

impl ActivityHandle {
    pub(super) fn new(link: Link) -> Self {
        Self(link)
    }

    pub(crate) fn is_of_guest(&self) -> bool {
        matches!(self.0, Link::Guest(_))
    }

    /// Whether it is a guest that is over, and no call of it is in flight.
    pub(crate) fn is_done(&self) -> bool {
        match &self.0 {
            Link::Connection(_) | Link::Redial(_) => false,
            Link::Guest(guest) => guest.is_done(),
        }
    }

    pub(crate) fn activity(&self) -> Activity {
        match &self.0 {
            Link::Connection(connection) => connection.activity(),
            Link::Redial(redial) => redial.activity(),
            Link::Guest(guest) => guest.activity(),
        }
    }
}
