//! The state that a server shares with its handles, and with the loop that accepts.

use std::{
    borrow::Cow,
    convert::Infallible,
    fmt,
    future::{Future, pending},
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use tokio::{runtime::Handle, sync::watch};
use wawo_protocol::{Config, Side};

use crate::{
    clock,
    decoding::DecodedTotal,
    dispatch::LiveTable,
    identity::{Authenticator, HelloCheck},
    log_limiter::LogLimiter,
    peer::{EventSender, NATIVE_PROTOCOL, NewConnection, NewPeer, Peer, PendingCheck},
    serve::BoxService,
    server::{
        ServeError, ServerConfig,
        connection_task::ConnectionTask,
        handshake_request::{Ask, HandshakeRequest},
        host::TrustedProxies,
        lifecycle::Lifecycle,
        listeners::ListeningPlace,
        new_socket::NewSocket,
        open_parts::{ConnectionParts, OpenParts},
        own,
        registry::{ConnectionPlace, Registry},
        workers::{WorkerSlot, Workers},
    },
    transport::{AcceptedSocket, Address, BoxFuture, Transport},
};

/// The state that a server shares with its handles, its guests and the tasks of its connections.
#[derive(Debug)]
pub(crate) struct ServerState {
    pub(crate) registry: Arc<Registry>,
    pub(crate) event_sender: EventSender,
    pub(crate) lifecycle: watch::Sender<Lifecycle>,
    pub(crate) trusted: TrustedProxies,
    /// Whether connections from trusted proxies begin with a header.
    pub(super) proxy_protocol: bool,
    /// Limits the log lines about wrong headers of proxies.
    pub(super) wrong_headers: LogLimiter,
    /// Limits the log lines about connections that were refused.
    pub(crate) refused: LogLimiter,
    /// Limits the log lines about connections that made room.
    pub(crate) displaced: LogLimiter,
    /// Limits the log lines about handshakes of TLS that failed, and about TLS where none is spoken.
    pub(crate) tls_failures: LogLimiter,
    config: Arc<Config>,
    /// The services that are served now.
    pub(crate) services: Arc<LiveTable>,
    /// The other protocols; `None` if the server speaks wawo's own only.
    protocols: Option<Arc<dyn FindProtocol>>,
    /// TLS for the listeners that take it; `None` if the server has no certificate.
    tls: Option<Arc<dyn AcceptTls>>,
    /// How the hellos of connections are checked.
    hello_check: Arc<HelloCheck>,
    /// The memory that decoded messages of all connections take.
    decoded: Arc<DecodedTotal>,
    /// `None` once the server takes no more connections.
    open: Mutex<Option<OpenParts>>,
    /// The runtime in which the server was first used.
    runtime: OnceLock<Handle>,
}

/// The settings of a server about the peers that come.
pub(crate) struct PeerSettings {
    pub(crate) event_sender: EventSender,
    pub(crate) hello_check: HelloCheck,
}

impl ServerState {
    pub(crate) fn new(
        service: BoxService,
        services: Arc<LiveTable>,
        config: ServerConfig,
        protocols: Option<Arc<dyn FindProtocol>>,
        peers: PeerSettings,
        tls: Option<Arc<dyn AcceptTls>>,
        workers: Workers,
    ) -> Self {
        let decoded = DecodedTotal::new(config.decoded_bytes());
        let connection = Arc::new(config.connection.clone());
        Self {
            registry: Arc::new(Registry::new(config.connection_limits())),
            event_sender: peers.event_sender,
            lifecycle: watch::Sender::new(Lifecycle::Serving),
            proxy_protocol: config.proxy_protocol(),
            wrong_headers: LogLimiter::default(),
            trusted: config.trusted_proxies,
            refused: LogLimiter::default(),
            displaced: LogLimiter::default(),
            tls_failures: LogLimiter::default(),
            config: connection.clone(),
            services,
            protocols,
            tls,
            hello_check: Arc::new(peers.hello_check),
            decoded: Arc::new(decoded),
            open: Mutex::new(Some(OpenParts::new(service, connection, workers))),
            runtime: OnceLock::new(),
        }
    }

    /// Adds a listener.
    ///
    /// # Errors
    ///
    /// If the server takes no more connections.
    pub(crate) fn listen(&self, place: ListeningPlace) -> Result<(), ServeError> {
        let mut open = self.open();
        let open = open.as_mut().ok_or(ServeError::Draining)?;
        open.listeners.add(place);
        Ok(())
    }

    /// The next connection at any listener. It is pending for ever when there are no listeners any more.
    pub(crate) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<NewSocket<AcceptedSocket>>> {
        match &mut *self.open() {
            Some(open) => open.listeners.poll_accept(cx),
            None => Poll::Pending,
        }
    }

    /// The worker for the next connection; `None` if there are no workers, and the current runtime serves
    /// it.
    pub(crate) fn seat(&self) -> Option<WorkerSlot> {
        self.open().as_ref()?.workers.seat()
    }

    /// Takes no more connections: listeners are closed, and workers end with their last tasks.
    pub(crate) fn stop_accepting(&self) {
        let open = self.open().take();
        // Services are the user's code, so they must not be dropped under a lock.
        drop(open);
    }

    /// Ends all connections and tasks, because the server was dropped. Returns whether it was neither draining
    /// nor over.
    pub(crate) fn stop(&self) -> bool {
        self.stop_accepting();
        self.registry.abort();
        self.lifecycle.send_if_modified(Lifecycle::dropped)
    }

    /// Serves a transport that the program itself has opened, in the current runtime. There is a peer at
    /// once.
    ///
    /// # Errors
    ///
    /// If the server takes no more connections.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn serve_own(
        &self,
        place: ConnectionPlace,
        transport: Box<dyn Transport>,
    ) -> Result<Peer, ServeError> {
        let Some(parts) = self.connection_parts() else {
            self.refuse_draining(|| transport);
            return Err(ServeError::Draining);
        };
        self.runtime_of(None);
        let config = parts.config.clone();
        let new_peer = self.new_peer(parts, None);
        if place.introduce(new_peer.peer()).is_err() {
            self.refuse_draining(|| transport);
            return Err(ServeError::Draining);
        }
        let (peer, slot) = (new_peer.peer().clone(), place.task());
        let now = clock::now();
        let check = self.pending_check(NATIVE_PROTOCOL.into(), None, now);
        let new = NewConnection::accepting(transport.into(), config, now).checked_by(check);
        let task = tokio::spawn(own::serve(new, new_peer.early(), place));
        slot.fill(task.abort_handle());
        Ok(peer)
    }

    /// The check of one hello; `None` if there is nothing to check.
    pub(crate) fn pending_check(
        &self,
        protocol: Cow<'static, str>,
        address: Option<Address>,
        since: Instant,
    ) -> Option<Box<PendingCheck>> {
        let check = self.hello_check.clone();
        let timeout = self.config.handshake_timeout();
        (!check.is_empty()).then(|| {
            Box::new(PendingCheck {
                check,
                protocol,
                address,
                since,
                timeout,
            })
        })
    }

    /// The check of callers, if the program has given one.
    pub(crate) fn authenticator(&self) -> Option<&Authenticator> {
        self.hello_check.authenticator.as_ref()
    }

    /// The peer of a connection that this side has accepted.
    fn new_peer(&self, parts: ConnectionParts, from: Option<Address>) -> NewPeer {
        let (side, event_sender) = (Side::Accepting, self.event_sender.clone());
        let (config, decoded) = (parts.config, Some(self.decoded.clone()));
        NewPeer::new(side, from, config, parts.service, event_sender, decoded)
    }

    /// The parts for one connection; `None` if the server takes no more connections.
    pub(crate) fn connection_parts(&self) -> Option<ConnectionParts> {
        let source = self.open().as_ref()?.source.clone();
        Some(source.parts())
    }

    /// Whether the server takes connections.
    pub(crate) fn is_open(&self) -> bool {
        self.open().is_some()
    }

    /// Makes the peer of a connection known, and then its driver.
    ///
    /// # Errors
    ///
    /// If the connection has to leave, because the server asks it to.
    pub(crate) fn open_connection(
        &self,
        place: Arc<ConnectionPlace>,
        parts: ConnectionParts,
        new: NewConnection,
        from: Option<Address>,
        seat: Option<WorkerSlot>,
    ) -> Result<ConnectionTask<impl Future<Output = ()> + use<>>, (Box<NewConnection>, Ask)> {
        let peer = self.new_peer(parts, from);
        if let Err(ask) = place.introduce(peer.peer()) {
            return Err((Box::new(new), ask));
        }
        let (peer, driver) = peer.drive(new);
        Ok(ConnectionTask::new(driver, peer, place, seat))
    }

    /// The runtime in which a connection is served.
    pub(crate) fn runtime_of(&self, seat: Option<&WorkerSlot>) -> Handle {
        let here = Handle::current();
        let there = seat.map_or(&here, WorkerSlot::runtime).clone();
        self.runtime.get_or_init(|| here);
        there
    }

    /// Renews the services that new connections announce in their hello, and the names of their methods.
    ///
    /// # Errors
    ///
    /// If the services do not fit into a hello, or the server takes no more connections.
    pub(crate) fn announce_services(&self) -> Result<(), ServeError> {
        let mut open = self.open();
        let open = open.as_mut().ok_or(ServeError::Draining)?;
        open.source.announce(&self.services.descriptors())
    }

    /// A clone of the service, for one connection; `None` if the server takes no more connections.
    pub(crate) fn service(&self) -> Option<BoxService> {
        self.connection_parts().map(|parts| parts.service)
    }

    pub(crate) fn decoded(&self) -> Arc<DecodedTotal> {
        self.decoded.clone()
    }

    pub(crate) fn shared_config(&self) -> Arc<Config> {
        self.config.clone()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The finder of a socket's protocol, if there are others than wawo's own.
    pub(crate) fn protocols(&self) -> Option<&Arc<dyn FindProtocol>> {
        self.protocols.as_ref()
    }

    /// TLS of the server; `None` if it has no certificate.
    pub(crate) fn tls(&self) -> Option<&Arc<dyn AcceptTls>> {
        self.tls.as_ref()
    }

    /// # Errors
    ///
    /// If TLS is to be spoken over an address, and the server has no certificate.
    pub(crate) fn check_tls(&self, below: &Address) -> Result<(), ServeError> {
        if self.tls.is_some() {
            return Ok(());
        }
        let advice = match cfg!(feature = "tls") {
            true => "the server has no certificate: give it one by `ServerBuilder::tls`",
            false => "TLS needs the feature `tls` of the crate wawo",
        };
        Err(ServeError::NoListener {
            address: Address::Tls(Box::new(below.clone())),
            advice: advice.to_owned(),
        })
    }

    /// Looks at the files of TLS until the server drains; then it is pending.
    pub(crate) async fn watch_tls(&self) -> Infallible {
        if let Some(tls) = &self.tls {
            tokio::select! {
                never = tls.watch() => match never {},
                () = self.until_draining() => {}
            }
        }
        pending().await
    }

    /// Waits until the server takes no more connections and calls.
    pub(crate) async fn until_draining(&self) {
        let mut lifecycle = self.lifecycle.subscribe();
        let is_over = |lifecycle: &Lifecycle| !matches!(lifecycle, Lifecycle::Serving);
        // `self` holds the sender, so it cannot be dropped meanwhile.
        let _ = lifecycle.wait_for(is_over).await;
    }

    /// A runtime that the server was used in.
    pub(crate) fn runtime(&self) -> Option<Handle> {
        self.runtime.get().cloned()
    }

    fn open(&self) -> MutexGuard<'_, Option<OpenParts>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that the server has accepted, without its transport.
pub(crate) struct SocketOrigin {
    pub(crate) state: Arc<ServerState>,
    pub(crate) place: Arc<ConnectionPlace>,
    pub(crate) from: Address,
    /// When it was accepted. The `handshake_timeout` begins here.
    pub(crate) since: Instant,
    /// Whether it is the inside of another protocol.
    pub(crate) is_inside: bool,
    /// The protocol that it speaks, for its authentication.
    pub(crate) protocol: Cow<'static, str>,
    /// The worker that serves it; `None` for the current runtime.
    pub(crate) seat: Option<WorkerSlot>,
}

impl SocketOrigin {
    /// See [`ServerState::pending_check`].
    pub(crate) fn hello_check(&self) -> Option<Box<PendingCheck>> {
        let (protocol, from) = (self.protocol.clone(), self.from.clone());
        self.state.pending_check(protocol, Some(from), self.since)
    }

    /// Begins the handshake of a transport, before a task runs it: the server can ask it to leave from now
    /// on.
    ///
    /// # Errors
    ///
    /// If it has to leave already.
    pub(crate) fn begin_handshake(&self) -> Result<Arc<HandshakeRequest>, Ask> {
        let request = Arc::default();
        self.place.begin_handshake(&request)?;
        Ok(request)
    }
}

/// The protocols of a server.
pub(crate) trait FindProtocol: fmt::Debug + Send + Sync {
    /// Finds the protocol of a socket, and serves it until its end.
    fn serve(
        self: Arc<Self>,
        origin: SocketOrigin,
        request: Arc<HandshakeRequest>,
        transport: Box<dyn Transport>,
    ) -> BoxFuture<'static, ()>;
}

/// TLS of a server; there is none without the feature `tls`.
pub(crate) trait AcceptTls: fmt::Debug + Send + Sync {
    /// Looks at the files of certificates from time to time.
    fn watch(&self) -> BoxFuture<'_, Infallible>;

    /// Does the handshake of TLS over a socket, wraps the transport inside, and serves it until its end.
    fn serve(
        &self,
        origin: SocketOrigin,
        request: Arc<HandshakeRequest>,
        socket: NewSocket,
    ) -> BoxFuture<'static, ()>;
}
