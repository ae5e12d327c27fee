//! The handle of a server, for the rest of the program.

use std::{sync::Arc, time::Duration};

use crate::{
    peer::{Events, Peer},
    peer_id::PeerId,
    serve::Serve,
    server::{
        Gateway, ServeError, ServerDrain, check_runtime, log, registry::AdmissionError,
        state::ServerState,
    },
    transport::{Address, AddressError, IntoTransport},
};

/// A handle to a [`Server`](crate::Server): it lists the peers, follows events, adds services, and
/// drains. Cheap to clone; it does not keep the server running.
#[derive(Debug, Clone)]
pub struct ServerHandle {
    pub(crate) shared: Arc<ServerState>,
}

impl ServerHandle {
    /// All peers that are connected now, in no order. A socket that was accepted has no peer before its
    /// hello.
    pub fn peers(&self) -> Vec<Peer> {
        self.shared.registry.peers()
    }

    /// The peer with this number, if it is connected now. The look-up takes the same time however many
    /// there are.
    pub fn peer(&self, id: PeerId) -> Option<Peer> {
        self.shared.registry.peer(id)
    }

    /// The events of all peers from now on.
    pub fn events(&self) -> Events {
        self.shared.event_sender.events()
    }

    /// Serves over a transport that is open already, as [`Server::accept_over`] does, while the server
    /// runs.
    ///
    /// # Errors
    ///
    /// If the server drains or has ended, or a socket of the standard library cannot be given to the
    /// runtime; and outside of a tokio runtime.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers; for a socket of the standard library, also if it has no I/O.
    ///
    /// [`Server::accept_over`]: crate::Server::accept_over
    pub fn accept_over<K>(&self, transport: impl IntoTransport<K>) -> Result<Peer, ServeError> {
        check_runtime()?;
        let transport = transport.into_transport();
        let transport = transport.map_err(ServeError::OpenSocket)?;
        let place = self.shared.registry.admit_own();
        let place = place.map_err(|_: AdmissionError| ServeError::Draining)?;
        self.shared.serve_own(place, transport)
    }

    /// Serves over a transport that other code has accepted from an address, as if a listener of the
    /// server had: its [protocol](crate::ServerBuilder::protocol) is found, and the limits of the server
    /// apply. If the address is of TLS, such as `tls://192.0.2.7:4000`, the transport has to speak TLS. It is
    /// served in the current runtime. [`events`](Self::events) report the peer.
    ///
    /// # Errors
    ///
    /// If a limit refuses it; the other side is told so too. Also as [`accept_over`](Self::accept_over),
    /// or if the address is wrong.
    ///
    /// # Panics
    ///
    /// As [`accept_over`](Self::accept_over).
    pub fn accept_from<K, A>(
        &self,
        transport: impl IntoTransport<K>,
        address: A,
    ) -> Result<(), ServeError>
    where
        A: TryInto<Address, Error: Into<AddressError>>,
    {
        check_runtime()?;
        let address = address.try_into().map_err(Into::into)?;
        let transport = transport.into_transport();
        let transport = transport.map_err(ServeError::OpenSocket)?;
        self.shared.accept_from(transport, address)
    }

    /// The access to the server's services for calls that come by another protocol from a socket that the
    /// server does not know, such as that of a web server which this one is a part of. `protocol` is the
    /// name of the protocol. The limits on connections do not apply to guests that come by it.
    pub fn gateway(&self, protocol: impl Into<String>) -> Gateway {
        Gateway::new(&self.shared, protocol.into().into())
    }

    /// Serves one more service from now on, also over existing connections. It gets the layers that
    /// [`ServerBuilder::layer`](crate::ServerBuilder::layer) has put around all services.
    ///
    /// Layers and logs know its methods by name, also on existing connections. Only new connections
    /// announce it in their hello: the peer of an existing one still has the list of its own hello.
    ///
    /// # Errors
    ///
    /// If a service with its id or its name is there already, if the services do not fit into a hello, or
    /// if the server drains or has ended.
    #[track_caller]
    pub fn add_service(&self, service: impl Serve) -> Result<(), ServeError> {
        if !self.shared.is_open() {
            return Err(ServeError::Draining);
        }
        let name = service.descriptor().name().to_owned();
        self.shared.services.add(service)?;
        let announced = self.shared.announce_services();
        if announced.is_err() {
            self.shared.services.remove(&name);
        }
        announced.inspect(|()| log::service_added(&name))
    }

    /// Removes a service, by its full name such as `chat.v1.Chat`. Calls in flight go on to their end.
    /// New ones end with `Unimplemented`, or go to the [fallback](crate::ServerBuilder::fallback).
    /// Returns `false` if there is no such service.
    pub fn remove_service(&self, name: &str) -> bool {
        let was_there = self.shared.services.remove(name);
        // The only errors are that the services do not fit, which fewer always do, and that the server
        // takes no more connections, which need no announcement then.
        let _ = self.shared.announce_services();
        if was_there {
            log::service_removed(name);
        }
        was_there
    }

    /// Ends the server gracefully: it stops listening, tells all peers that it takes no more calls, and
    /// waits until those in flight have ended. When `grace` is over, it cuts the calls that are left. It
    /// ends within `grace` and some 100 ms, and [`Server::run`](crate::Server::run) with it.
    ///
    /// The server need not run. If it has not begun to run, it takes no connections any more, and
    /// [`Server::run`](crate::Server::run) ends at once.
    ///
    /// Calls that peers make from now on are refused as not served, so that callers may make them
    /// elsewhere. Streams learn of the drain by [`Peer::draining`]. A handler that waits for the drain of
    /// its own server waits for itself, until the grace or its deadline ends it: spawn the drain instead.
    ///
    /// A restart of a server that has many peers should not bring them all back at once: see
    /// [`ServerDrain::spread`].
    ///
    /// Resolves to the report of the calls; an empty one if the server was dropped. With a grace of zero all
    /// calls are cut at once, with `Duration::MAX` none ever is.
    ///
    /// A second call waits for the same drain, which then has the earlier end of the two: its own is after its
    /// spread and its grace. Peers are not asked to move once more, so its spread and its address do nothing
    /// else. Those that wait for their times in the spread of the first call are drained at once if the last of
    /// these times is not before the end.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server drains all the same.
    pub fn drain(&self, grace: Duration) -> ServerDrain {
        ServerDrain::new(self.shared.clone(), grace)
    }
}
