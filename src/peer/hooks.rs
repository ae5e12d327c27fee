//! The interface by which peers reach the functions that a program runs when they come and go.

use std::fmt;

use wawo_protocol::ConnectionError;

use crate::peer::weak::WeakPeer;

/// The functions that a program runs when its peers come and go. They run where the events of a peer are
/// made, before the events are sent. No lock is held meanwhile.
pub(crate) trait PeerHooks: fmt::Debug + Send + Sync {
    /// The handshake of the peer is through, and no call of it has been served. Called once for a peer.
    fn connected(&self, peer: &WeakPeer);

    /// The peer is over, for this reason. Called once for each peer that was connected.
    fn disconnected(&self, peer: &WeakPeer, error: &ConnectionError);
}
