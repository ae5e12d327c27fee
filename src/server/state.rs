//! The state that a server shares with its handles, and with the loop that accepts.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll},
};

use tokio::{runtime::Handle, sync::watch};
use wawo_protocol::{Config, Side};

use crate::{
    decoding::DecodedTotal,
    peer::{self, EventSender, Peer},
    serve::BoxService,
    server::{
        ServeError, ServerConfig,
        connection_task::ConnectionTask,
        host::TrustedProxies,
        lifecycle::Lifecycle,
        listeners::{Arrival, Listeners, Wrap},
        log_limiter::LogLimiter,
        registry::{ConnectionPlace, Registry},
        workers::{WorkerSlot, Workers},
    },
    transport::{Address, Listener, Transport},
};

#[derive(Debug)]
pub(crate) struct ServerState {
    pub(crate) registry: Arc<Registry>,
    pub(crate) event_sender: EventSender,
    pub(crate) lifecycle: watch::Sender<Lifecycle>,
    pub(crate) trusted: TrustedProxies,
    /// Of connections that were refused.
    pub(crate) refused: LogLimiter,
    /// Of connections that made room.
    pub(crate) displaced: LogLimiter,
    config: Arc<Config>,
    /// The memory of decoded messages of all connections.
    decoded: Arc<DecodedTotal>,
    open: Mutex<Option<Open>>,
    /// Where the server last had to do with a connection.
    runtime: OnceLock<Handle>,
}

/// The parts that a server needs for new connections: nothing of it is left once it takes none.
#[derive(Debug)]
struct Open {
    service: BoxService,
    listeners: Listeners,
    workers: Workers,
}

impl ServerState {
    pub(crate) fn new(service: BoxService, config: ServerConfig, workers: Workers) -> Self {
        let decoded = DecodedTotal::new(config.decoded_bytes(), "max_server_decoded_bytes");
        Self {
            registry: Arc::new(Registry::new(config.connection_limits())),
            event_sender: EventSender::default(),
            lifecycle: watch::Sender::new(Lifecycle::Serving),
            trusted: config.trusted_proxies,
            refused: LogLimiter::default(),
            displaced: LogLimiter::default(),
            config: Arc::new(config.connection),
            decoded: Arc::new(decoded),
            open: Mutex::new(Some(Open {
                service,
                listeners: Listeners::default(),
                workers,
            })),
            runtime: OnceLock::new(),
        }
    }

    /// Listens at one more place.
    ///
    /// # Errors
    ///
    /// If the server takes no more connections.
    pub(crate) fn listen(&self, listener: Box<dyn Listener>, wrap: Wrap) -> Result<(), ServeError> {
        let mut open = self.open();
        let open = open.as_mut().ok_or(ServeError::Draining)?;
        open.listeners.add(listener, wrap);
        Ok(())
    }

    /// The next connection at any listener; none where there are no listeners any more.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Arrival>> {
        match &mut *self.open() {
            Some(open) => open.listeners.poll_accept(cx),
            None => Poll::Pending,
        }
    }

    /// Where the next connection is served; in the current runtime if there are no workers.
    pub(crate) fn seat(&self) -> Option<WorkerSlot> {
        self.open().as_ref()?.workers.seat()
    }

    /// Takes no more connections: listeners are closed, and workers end with their last tasks.
    pub(crate) fn stop_accepting(&self) {
        let open = self.open().take();
        // Services are the user's, and must not be dropped under a lock.
        drop(open);
    }

    /// The server was dropped: all that is left of it ends.
    pub(crate) fn stop(&self) {
        self.stop_accepting();
        self.registry.abort();
        self.lifecycle.send_if_modified(Lifecycle::dropped);
    }

    /// Serves a connection, at a worker or in the current runtime.
    ///
    /// # Errors
    ///
    /// If the server takes no more connections.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn serve(
        &self,
        place: ConnectionPlace,
        transport: Box<dyn Transport>,
        from: Option<Address>,
        seat: Option<WorkerSlot>,
    ) -> Result<Peer, ServeError> {
        let here = Handle::current();
        let there = seat.as_ref().map_or(&here, WorkerSlot::runtime).clone();
        self.runtime.get_or_init(|| here);
        let service = self.open().as_ref().map(|open| open.service.clone());
        let Some(service) = service else {
            self.refuse_draining(|| transport);
            return Err(ServeError::Draining);
        };
        let (config, event_sender) = (self.config.clone(), self.event_sender.clone());
        let (side, decoded) = (Side::Accepting, Some(self.decoded.clone()));
        let _there = there.enter();
        let (peer, driver) = peer::open(
            side,
            transport,
            from,
            config,
            service,
            event_sender,
            decoded,
        );
        if !place.introduce(&peer) {
            return Err(ServeError::Draining);
        }
        let slot = place.task();
        let served = ConnectionTask::new(driver, peer.clone(), place, seat);
        slot.fill(tokio::spawn(served).abort_handle());
        Ok(peer)
    }

    /// A runtime that the server was used in.
    pub(crate) fn runtime(&self) -> Option<Handle> {
        self.runtime.get().cloned()
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
