//! The state of a peer that outlives its handles: its names, and the senders of its events.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Weak},
};

use wawo_protocol::Side;

use crate::{
    connection::{ConnectionEvent, ConnectionWarnings, Owner},
    observe::Observers,
    peer::{event::PeerEvent, events::EventSender, observers::PeerObservers, weak::WeakPeer},
    peer_id::PeerId,
    transport::Address,
};

/// The part of a peer that its driver holds too. The driver reports the end of the connection to it after
/// the last handle was dropped.
#[derive(Debug)]
pub(crate) struct PeerState {
    id: PeerId,
    address: Option<Address>,
    event_sender: EventSender,
    /// The observers of calls to the peer, and of its connections.
    observers: Option<Box<PeerObservers>>,
    handle: Weak<dyn Any + Send + Sync>,
}

impl PeerState {
    pub(super) fn new(
        address: Option<Address>,
        event_sender: EventSender,
        observers: Option<(Arc<Observers>, Side)>,
        handle: Weak<dyn Any + Send + Sync>,
    ) -> Self {
        let id = PeerId::next();
        let observers = observers.map(|(observers, side)| {
            let address = address.as_ref();
            Box::new(PeerObservers::new(observers, side, id, address))
        });
        Self {
            id,
            observers,
            address,
            event_sender,
            handle,
        }
    }

    /// The observers of calls to the peer; `None` if they are not observed.
    #[inline]
    pub(super) fn observers(&self) -> Option<&PeerObservers> {
        self.observers.as_deref()
    }

    pub(super) fn event_sender(&self) -> &EventSender {
        &self.event_sender
    }

    /// Sends an event of the peer to all listeners.
    pub(super) fn send(&self, event: impl FnOnce(WeakPeer) -> PeerEvent) {
        self.event_sender.send(|| event(self.weak()));
    }

    /// A reference to the peer that does not keep its connection open.
    pub(super) fn weak(&self) -> WeakPeer {
        WeakPeer::new(self.id, self.address.clone(), self.handle.clone())
    }
}

impl Owner for PeerState {
    fn id(&self) -> PeerId {
        self.id
    }

    fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    fn warnings(&self) -> &ConnectionWarnings {
        self.event_sender.warnings()
    }

    fn connection_changed(&self, event: ConnectionEvent) {
        if let Some(observers) = &self.observers {
            observers.connection_changed(&event);
        }
        if let Some(hooks) = self.event_sender.hooks() {
            match &event {
                ConnectionEvent::Opened => hooks.connected(&self.weak()),
                ConnectionEvent::Ended(error) => hooks.disconnected(&self.weak(), error),
                _ => {}
            }
        }
        self.send(|peer| match event {
            ConnectionEvent::Opened => PeerEvent::Connected(peer),
            ConnectionEvent::Draining => PeerEvent::Draining(peer),
            ConnectionEvent::Move(relocation) => PeerEvent::Move(peer, relocation),
            ConnectionEvent::Blocked => PeerEvent::Blocked(peer),
            ConnectionEvent::Writable => PeerEvent::Writable(peer),
            ConnectionEvent::SchemaDiffers(service) => PeerEvent::SchemaDiffers(peer, service),
            ConnectionEvent::Ended(error) => PeerEvent::Disconnected(peer, error),
            ConnectionEvent::NotOpened(error) => PeerEvent::NotConnected(peer, error),
        });
    }
}

/// Prints the address of the peer, for the log.
impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Some(address) => address.fmt(f),
            None => write!(f, "peer {}", self.id),
        }
    }
}
