//! The occupant of a place in the registry, and how to reach it.

use std::sync::Arc;

use tokio::task::AbortHandle;
use wawo_protocol::CloseCode;

use crate::{
    peer::{Peer, WeakPeer},
    server::handshake_request::{Ask, HandshakeRequest},
};

/// The reason with which a connection is closed to make room for another.
pub(crate) const MADE_ROOM: &str =
    "closed to make room: this host has more connections than its share (max_connections)";

/// The reason with which a silent connection is closed.
pub(crate) const SILENT: &str = "no hello, and others wait (max_handshakes)";

/// The reason with which a connection is closed whose hello has not been decided on.
pub(crate) const UNDECIDED: &str =
    "the authentication was not done, and others wait (max_handshakes)";

/// The occupant of a place.
pub(super) enum Occupant {
    Peer(Peer),
    /// A socket in its handshake.
    Handshake(Arc<HandshakeRequest>),
    /// A socket of another protocol, that has no peer.
    Task(AbortHandle),
}

impl Occupant {
    /// Closes a connection whose place another takes. Returns its peer, if it has one; a handshake reports
    /// by itself that it was closed.
    pub(super) fn make_room(self) -> Option<WeakPeer> {
        match self {
            Self::Peer(peer) => {
                peer.close_with(CloseCode::LimitExceeded, MADE_ROOM);
                Some(peer.downgrade())
            }
            Self::Handshake(request) => {
                request.ask(Ask::MakeRoom);
                None
            }
            Self::Task(task) => {
                task.abort();
                None
            }
        }
    }

    pub(super) fn close_if_silent(self) {
        match self {
            Self::Handshake(request) => request.ask(Ask::CloseIfSilent),
            // Only sockets in their handshake are asked. This one's has just ended.
            Self::Peer(_) | Self::Task(_) => {}
        }
    }
}
