//! The handle that all clones of a peer share.

use std::{
    any::Any,
    sync::{Arc, Weak},
};

use wawo_protocol::CloseCode;

use crate::{
    connection::ConnectionHandle,
    decoding::DecodedBytes,
    descriptor::{MethodIds, MethodRef},
    identity::Identity,
    peer::{events::EventSender, extensions::PeerExtensions, link::Link, state::PeerState},
    request::Caller,
    transport::Address,
};

/// The part of a peer that all its clones, its stubs and its calls in flight share. Dropping it closes
/// the connection.
#[derive(Debug)]
pub(crate) struct Handle {
    state: Arc<PeerState>,
    link: Link,
    /// Shared with handles that are bound to one connection of the peer.
    extensions: Arc<PeerExtensions>,
}

impl Handle {
    /// The handle of a new peer. `link` builds the connection or the guest, and returns that part of it
    /// which the caller keeps.
    pub(super) fn new_linked<L>(
        address: Option<Address>,
        extensions: PeerExtensions,
        event_sender: EventSender,
        link: impl FnOnce(Arc<PeerState>) -> (Link, L),
    ) -> (Arc<Self>, L) {
        let mut kept = None;
        let handle = Arc::new_cyclic(|own: &Weak<Self>| {
            let state = Arc::new(PeerState::new(address, event_sender, own.clone()));
            let (link, part) = link(state.clone());
            kept = Some(part);
            Self {
                state,
                link,
                extensions: Arc::new(extensions),
            }
        });
        (handle, kept.expect("the closure has run"))
    }

    /// A handle of the same peer that is bound to this connection of it.
    pub(super) fn bound_to(&self, connection: Arc<ConnectionHandle>) -> Arc<Self> {
        Arc::new(Self {
            state: self.state.clone(),
            link: Link::Bound(connection),
            extensions: self.extensions.clone(),
        })
    }

    pub(super) fn state(&self) -> &PeerState {
        &self.state
    }

    #[inline]
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) fn extensions(&self) -> &PeerExtensions {
        &self.extensions
    }
}

impl Handle {
    /// See [`Peer::identity`](crate::Peer::identity).
    pub(super) fn proven_identity(&self) -> Option<Identity> {
        match &self.link {
            Link::Redial(redial) => redial.identity(),
            _ => self.identity().cloned(),
        }
    }
}

impl Caller for Handle {
    fn label(&self) -> String {
        self.state.to_string()
    }

    fn decoded_bytes(&self) -> &Arc<DecodedBytes> {
        match &self.link {
            Link::Home(home) | Link::Bound(home) => home.decoded(),
            Link::Redial(redial) => redial.decoded(),
            Link::Guest(guest) => guest.decoded(),
        }
    }

    fn descriptor(&self, ids: MethodIds) -> Option<MethodRef> {
        match &self.link {
            Link::Home(home) | Link::Bound(home) => home.descriptor(ids),
            Link::Redial(redial) => redial.descriptor(ids),
            Link::Guest(guest) => guest.descriptor(ids),
        }
    }

    fn identity(&self) -> Option<&Identity> {
        match &self.link {
            Link::Home(home) | Link::Bound(home) => home.identity(),
            // Each of its connections has an identity of its own, which its calls carry.
            Link::Redial(_) => None,
            Link::Guest(guest) => guest.identity(),
        }
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// Tells the other side why the connection ends, since the program has not said so.
const DROPPED: &str = "the last handle of the peer was dropped";

impl Drop for Handle {
    fn drop(&mut self) {
        match &self.link {
            Link::Home(home) => home.close(CloseCode::Normal, DROPPED),
            Link::Redial(redial) => redial.close(CloseCode::Normal, DROPPED),
            // The connection belongs to the peer, and a guest ends with its `GuestLink`, which holds the
            // peer.
            Link::Bound(_) | Link::Guest(_) => {}
        }
    }
}
