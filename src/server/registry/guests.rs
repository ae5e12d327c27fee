//! Guests of a server: peers that come by another protocol.

use std::sync::Arc;

use crate::{
    peer::Peer,
    peer_id::PeerId,
    server::{
        admission::PlaceId,
        registry::{Entry, KnownPeer, Registry, State, place::ConnectionPlace},
    },
};

/// A guest's entry in the registry, which lasts until this is dropped.
#[derive(Debug)]
pub(crate) struct GuestPlace {
    registry: Arc<Registry>,
    id: PeerId,
    /// The place of the socket that it came by, which may have another peer by now.
    place: Option<PlaceId>,
}

impl Registry {
    /// Makes a guest known. The first one of a socket becomes the peer of the socket's place, and is
    /// closed if another connection needs that place. Returns `None` if the server takes no more
    /// connections.
    pub(crate) fn add_guest(
        self: &Arc<Self>,
        peer: &Peer,
        place: Option<&ConnectionPlace>,
    ) -> Option<GuestPlace> {
        let (id, known) = (peer.id(), (peer.downgrade(), peer.activity_handle()));
        let mut state = self.lock();
        if state.is_closed {
            return None;
        }
        let state = &mut *state;
        let entry = place.and_then(|place| state.entries.get_mut(&place.id));
        let place = match (entry, place) {
            (Some(entry), Some(place)) if entry.peer.is_none() => {
                entry.peer = Some(known);
                state.places.insert(id, place.id);
                Some(place.id)
            }
            _ => {
                state.guests.insert(id, known);
                None
            }
        };
        let registry = self.clone();
        Some(GuestPlace {
            registry,
            id,
            place,
        })
    }
}

impl State {
    /// Keeps a guest that is no longer the peer of its place.
    pub(super) fn release_guest(&mut self, guest: KnownPeer) {
        let id = guest.0.id();
        self.places.remove(&id);
        self.guests.insert(id, guest);
    }

    /// Whether all guests without a place are over, and none of their calls is in flight. The program may
    /// still hold them.
    pub(super) fn are_guests_done(&self) -> bool {
        self.guests.values().all(|(_, activity)| activity.is_done())
    }
}

impl Entry {
    /// Whether the peer of the place is the one with this number.
    fn is_of(&self, id: PeerId) -> bool {
        self.peer.as_ref().is_some_and(|(peer, _)| peer.id() == id)
    }
}

impl Drop for GuestPlace {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        let guest = state.guests.remove(&self.id);
        let entry = self.place.and_then(|place| state.entries.get_mut(&place));
        let own = entry.filter(|entry| entry.is_of(self.id));
        let peer = own.and_then(|entry| entry.peer.take());
        state.places.remove(&self.id);
        // Dropping a handle may drop the user's state behind it, which may need this lock.
        drop(state);
        drop((guest, peer));
        self.registry.changed.notify_waiters();
    }
}
