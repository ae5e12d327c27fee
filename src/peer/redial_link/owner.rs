//! The owner of each connection of a peer that reconnects.

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
};

use wawo_protocol::Relocation;

use crate::{
    connection::{ConnectionEvent, ConnectionHandle, ConnectionWarnings, Owner, UnsentMessages},
    peer::{
        redial_link::{RedialLink, orders::Move},
        state::PeerState,
    },
    peer_id::PeerId,
    transport::Address,
};

/// Takes the events of one connection. The task that dials learns of them; the peer reports only those that
/// say nothing about the connection as a whole, since the peer outlives it.
#[derive(Debug)]
pub(crate) struct ConnectionOwner {
    peer: Arc<PeerState>,
    link: Weak<RedialLink>,
    /// The connection, once there is one.
    connection: OnceLock<Weak<ConnectionHandle>>,
}

impl ConnectionOwner {
    pub(crate) fn new(link: &Arc<RedialLink>) -> Self {
        Self {
            peer: link.peer.clone(),
            link: Arc::downgrade(link),
            connection: OnceLock::new(),
        }
    }

    /// Sets the connection. Called once, before its driver begins.
    pub(crate) fn set_connection(&self, connection: &Arc<ConnectionHandle>) {
        let _ = self.connection.set(Arc::downgrade(connection));
    }

    fn order_move(&self, relocation: Relocation) {
        if let (Some(link), Some(connection)) = (self.link.upgrade(), self.connection.get()) {
            let from = connection.clone();
            link.order(|orders| orders.moved = Some(Move { from, relocation }));
        }
    }
}

impl Owner for ConnectionOwner {
    fn id(&self) -> PeerId {
        self.peer.id()
    }

    fn address(&self) -> Option<&Address> {
        self.peer.address()
    }

    fn warnings(&self) -> &ConnectionWarnings {
        self.peer.warnings()
    }

    fn connection_changed(&self, event: ConnectionEvent) {
        match event {
            ConnectionEvent::Opened
            | ConnectionEvent::Draining
            | ConnectionEvent::Ended(_)
            | ConnectionEvent::NotOpened(_) => {
                if let Some(link) = self.link.upgrade() {
                    link.news.notify_one();
                }
            }
            ConnectionEvent::Move(relocation) => {
                self.order_move(relocation.clone());
                self.peer
                    .connection_changed(ConnectionEvent::Move(relocation));
            }
            ConnectionEvent::Blocked
            | ConnectionEvent::Writable
            | ConnectionEvent::SchemaDiffers(_) => self.peer.connection_changed(event),
        }
    }

    fn keep_unsent(&self, messages: UnsentMessages) -> Result<(), UnsentMessages> {
        match self.link.upgrade() {
            Some(link) => link.keep_unsent(messages),
            None => Err(messages),
        }
    }
}

/// Prints the address of the peer, for the log.
impl fmt::Display for ConnectionOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.peer.fmt(f)
    }
}
