//! A reference to a peer that does not keep its connection open.

use std::{any::Any, sync::Weak};

use crate::{peer_id::PeerId, transport::Address};

/// A reference to a [`Peer`](crate::Peer) that does not keep its connection open; made by
/// [`Peer::downgrade`](crate::Peer::downgrade). Cheap to clone.
#[derive(Debug, Clone)]
pub struct WeakPeer {
    id: PeerId,
    address: Option<Address>,
    /// The handle. Its type is erased, because it belongs to a module above this one: events name peers,
    /// and peers send events.
    handle: Weak<dyn Any + Send + Sync>,
}

impl WeakPeer {
    pub(super) fn new(
        id: PeerId,
        address: Option<Address>,
        handle: Weak<dyn Any + Send + Sync>,
    ) -> Self {
        Self {
            id,
            address,
            handle,
        }
    }

    /// The other end of a connection that never got a peer, for events about it.
    pub(crate) fn unconnected(address: Address) -> Self {
        Self::new(PeerId::next(), Some(address), Weak::<()>::new())
    }

    /// See [`Peer::id`](crate::Peer::id).
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// See [`Peer::address`](crate::Peer::address).
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    pub(super) fn handle(&self) -> &Weak<dyn Any + Send + Sync> {
        &self.handle
    }
}
