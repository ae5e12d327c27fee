//! The handle that all clones of a peer share.

use std::{
    any::Any,
    sync::{Arc, Weak},
};

use wawo_protocol::{CloseCode, Side};

use crate::{
    connection::ConnectionHandle,
    decoding::DecodedBytes,
    descriptor::{MethodIds, MethodRef},
    identity::Identity,
    observe::Observers,
    peer::{
        events::EventSender, extensions::PeerExtensions, link::Link, observers::PeerObservers,
        state::PeerState,
    },
    request::Caller,
    transport::Address,
};

/// The part of a peer that all its clones, its stubs and its calls in flight share. Dropping it closes
/// the connection.
#[derive(Debug)]
pub(crate) struct Handle {
    state: Arc<PeerState>,
    link: Link,
    /// Shared with handles that know one connection of the peer.
    extensions: Arc<PeerExtensions>,
    holder: Holder,
}

/// The code that has a handle.
#[derive(Debug)]
enum Holder {
    /// The program. When it drops the handle, the peer is closed.
    Program,
    /// The hook that runs over a new connection of a peer that reconnects. It does not keep the peer open.
    Hook,
    /// A handler that a peer which reconnects has called, over this connection.
    Handler {
        connection: Arc<ConnectionHandle>,
        /// Keeps the peer open.
        _peer: Arc<Handle>,
    },
}

impl Handle {
    /// The handle of a new peer. `link` builds the connection or the guest, and returns that part of it
    /// which the caller keeps. `observers` come with the side of this program.
    pub(super) fn new_linked<L>(
        address: Option<Address>,
        extensions: PeerExtensions,
        event_sender: EventSender,
        observers: Option<(Arc<Observers>, Side)>,
        link: impl FnOnce(Arc<PeerState>) -> (Link, L),
    ) -> (Arc<Self>, L) {
        let mut kept = None;
        let handle = Arc::new_cyclic(|own: &Weak<Self>| {
            let state = Arc::new(PeerState::new(
                address,
                event_sender,
                observers,
                own.clone(),
            ));
            let (link, part) = link(state.clone());
            kept = Some(part);
            Self {
                state,
                link,
                extensions: Arc::new(extensions),
                holder: Holder::Program,
            }
        });
        (handle, kept.expect("the closure has run"))
    }

    /// A handle of the same peer that is bound to this connection of it.
    pub(super) fn bound_to(&self, connection: Arc<ConnectionHandle>) -> Arc<Self> {
        Arc::new(Self {
            state: self.state.clone(),
            link: Link::Connection(connection),
            extensions: self.extensions.clone(),
            holder: Holder::Hook,
        })
    }

    /// A handle of the same peer, for a call of the other side over this connection of it.
    pub(super) fn called_over(self: Arc<Self>, connection: Arc<ConnectionHandle>) -> Arc<Self> {
        Arc::new(Self {
            state: self.state.clone(),
            link: self.link.clone(),
            extensions: self.extensions.clone(),
            holder: Holder::Handler {
                connection,
                _peer: self,
            },
        })
    }

    pub(super) fn state(&self) -> &PeerState {
        &self.state
    }

    /// The observers of calls to the peer; `None` if they are not observed.
    #[inline]
    pub(super) fn observers(&self) -> Option<&PeerObservers> {
        self.state.observers()
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
        match (&self.link, &self.holder) {
            (Link::Redial(redial), Holder::Program) => redial.identity(),
            _ => self.identity().cloned(),
        }
    }

    /// See [`Peer::draining`](crate::Peer::draining).
    pub(super) async fn draining(&self) {
        match &self.holder {
            Holder::Handler { connection, .. } => connection.draining().await,
            Holder::Program | Holder::Hook => self.link.draining().await,
        }
    }
}

impl Caller for Handle {
    fn label(&self) -> String {
        self.state.to_string()
    }

    fn decoded_bytes(&self) -> &Arc<DecodedBytes> {
        match &self.link {
            Link::Connection(connection) => connection.decoded(),
            Link::Redial(redial) => redial.decoded(),
            Link::Guest(guest) => guest.decoded(),
        }
    }

    fn descriptor(&self, ids: MethodIds) -> Option<MethodRef> {
        match &self.link {
            Link::Connection(connection) => connection.descriptor(ids),
            Link::Redial(redial) => redial.descriptor(ids),
            Link::Guest(guest) => guest.descriptor(ids),
        }
    }

    fn identity(&self) -> Option<&Identity> {
        match &self.link {
            Link::Connection(connection) => connection.identity(),
            // Each of its connections has an identity of its own.
            Link::Redial(_) => match &self.holder {
                Holder::Handler { connection, .. } => connection.identity(),
                Holder::Program | Holder::Hook => None,
            },
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
        // A guest ends with its `GuestLink`, which holds the peer.
        if let (Holder::Program, Link::Connection(_) | Link::Redial(_)) = (&self.holder, &self.link)
        {
            self.link.close(CloseCode::Normal, DROPPED);
        }
    }
}
