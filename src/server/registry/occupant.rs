//! How to reach the one who has a place among the connections of a server.

use std::sync::Arc;

use tokio::task::AbortHandle;
use wawo_protocol::CloseCode;

use crate::{
    peer::{Peer, WeakPeer},
    server::handshake_request::{Ask, HandshakeRequest},
};

/// The reason for one that makes room for another.
pub(crate) const MADE_ROOM: &str =
    "closed to make room: this host has more connections than its share (max_connections)";

/// The reason for a silent one.
pub(crate) const SILENT: &str = "no hello, and others wait (max_handshakes)";

/// How to reach the one who has a place.
pub(super) enum Occupant {
    Peer(Peer),
    /// A socket whose protocol is not known yet.
    Handshake(Arc<HandshakeRequest>),
    /// A socket of another protocol, that has no peer.
    Task(AbortHandle),
}

impl Occupant {
    /// Closes a connection whose place another takes. Returns its peer, if it has one.
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
            Self::Peer(peer) => peer.close_if_silent(SILENT),
            Self::Handshake(request) => request.ask(Ask::CloseIfSilent),
            // Only what is in its handshake is asked.
            Self::Task(_) => {}
        }
    }
}
