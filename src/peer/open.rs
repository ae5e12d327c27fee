//! Makes the peer of a new connection.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use wawo_protocol::{Config, ConnectionError, Side};

use crate::{
    connection::{ConnectionHandle, Driver, EarlyHandle, NewConnection},
    decoding::{DecodedBytes, DecodedTotal},
    peer::{Peer, events::EventSender, extensions::PeerExtensions, handle::Handle, link::Link},
    request::Caller,
    serve::{BoxService, inbound::Inbound},
    transport::Address,
};

/// A peer whose connection has no driver yet. No event of it has been sent.
pub(crate) struct NewPeer {
    peer: Peer,
    home: Arc<ConnectionHandle>,
    inbound: Inbound,
    config: Arc<Config>,
}

impl NewPeer {
    /// Makes the peer at the other end of a connection. `decoded` is the memory for decoded messages of
    /// all connections of a server.
    pub(crate) fn new(
        side: Side,
        address: Option<Address>,
        config: Arc<Config>,
        service: BoxService,
        event_sender: EventSender,
        decoded: Option<Arc<DecodedTotal>>,
    ) -> Self {
        let inbound = Inbound::new(service, config.max_call_depth());
        let names = inbound.names().clone();
        let observers = inbound
            .observers()
            .map(|observers| (observers.clone(), side));
        let extensions = PeerExtensions::default();
        let (handle, home) =
            Handle::new_linked(address, extensions, event_sender, observers, |owner| {
                let decoded = DecodedBytes::new(&config, decoded);
                let home = ConnectionHandle::new(side, &config, names, decoded, owner);
                (Link::Connection(home.clone()), home)
            });
        Self {
            peer: Peer::of(handle),
            home,
            inbound,
            config,
        }
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Gives the peer to the program before the hellos are exchanged.
    pub(crate) fn early(self) -> EarlyPeer {
        EarlyPeer {
            handle: EarlyHandle::new(self.home.clone()),
            peer: self,
        }
    }

    /// Returns the peer, and the driver of its connection, whose hellos are exchanged. The caller spawns the driver in the runtime of
    /// the transport. The connection lasts until the peer is dropped, one side closes it, or the task is
    /// aborted.
    pub(crate) fn drive(
        self,
        connection: NewConnection,
    ) -> (Peer, impl Future<Output = ()> + use<>) {
        let Self {
            peer,
            home,
            inbound,
            config,
        } = self;
        let caller: Arc<dyn Caller> = peer.0.clone();
        let caller = Arc::downgrade(&caller);
        let driver = Driver::new(connection, &config, inbound, home, caller);
        (peer, driver.run())
    }
}

/// A peer that the program has, while the hellos of its connection are exchanged.
pub(crate) struct EarlyPeer {
    // The first field: it ends the connection before the peer is dropped.
    handle: EarlyHandle,
    peer: NewPeer,
}

impl EarlyPeer {
    /// See [`EarlyHandle::poll_handshake`].
    pub(crate) fn poll_handshake(
        &mut self,
        new: &mut NewConnection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectionError>> {
        self.handle.poll_handshake(new, cx)
    }

    /// See [`NewPeer::drive`].
    pub(crate) fn drive(self, new: NewConnection) -> (Peer, impl Future<Output = ()> + use<>) {
        self.peer.drive(new)
    }

    /// See [`EarlyHandle::end`].
    pub(crate) fn end(&self, error: &ConnectionError) {
        self.handle.end(error);
    }
}
