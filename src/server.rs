//! A server: serves services to all clients that connect.

mod accept;
mod admission;
mod arrival;
mod config;
mod connection_task;
mod drain;
mod drain_request;
mod error;
mod first_bytes;
mod gateway;
mod guest;
mod handle;
mod handshake;
mod handshake_request;
mod handshake_run;
mod hooks;
mod host;
mod leave;
mod lifecycle;
mod listen;
mod listeners;
mod memory;
mod native;
mod new_socket;
mod own;
mod peers;
mod protocol;
mod proxied;
mod refuse;
mod registry;
mod serve_socket;
mod shutdown_signal;
mod socket;
mod state;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_handshake;
mod workers;

use std::{future::Future, pin::pin, sync::Arc};

use tower::{
    Layer,
    layer::util::{Identity, Stack},
};

pub use crate::server::{
    arrival::Arrival,
    config::{ServerConfig, ServerConfigBuilder},
    drain::ServerDrain,
    error::ServeError,
    gateway::Gateway,
    guest::{Guest, GuestBuilder},
    handle::ServerHandle,
    protocol::{Protocol, Recognition},
    shutdown_signal::shutdown_signal,
};
use crate::{
    dispatch::Dispatch,
    identity::HelloCheck,
    layer::PanicGuardLayer,
    peer::{DrainReport, EventSender, Peer},
    serve::{CallService, Serve},
    server::{
        drain_request::DrainRequest,
        hooks::Hooks,
        protocol::Protocols,
        state::{FindProtocol, PeerSettings, ServerState},
        workers::Workers,
    },
    services::Services,
    transport::{Address, AddressError, IntoTransport, Listen, ListenSchemes, SocketOptions},
};
#[cfg(feature = "tls")]
use crate::{
    server::{state::AcceptTls, tls::TlsOfServer},
    transport::tls::{OfferedProtocols, ServerTls},
};

/// Serves services to all clients that connect.
///
/// ```no_run
/// # async fn serve(chat: impl wawo::Serve) -> Result<(), wawo::ServeError> {
/// wawo::Server::builder()
///     .add_service(chat)
///     .serve("tcp://127.0.0.1:4000")
///     .await
/// # }
/// ```
///
/// It accepts connections while [`run`](Self::run) is polled, until it is drained by its
/// [`handle`](Self::handle). Dropping the server, or the future of `run`, closes its listeners and
/// its connections at once.
#[derive(Debug)]
pub struct Server {
    shared: Arc<ServerState>,
    /// The addresses that it listens at, in the order of `bind`.
    addresses: Vec<Address>,
    listen_schemes: ListenSchemes,
    socket_options: SocketOptions,
    /// The drain by the signal of [`run_until`](Self::run_until).
    drain_request: DrainRequest,
}

/// Builds a [`Server`]; made by [`Server::builder`].
///
/// [`serve`](Self::serve) listens at an address and serves for ever. [`bind`](Self::bind) and
/// [`build`](Self::build) return the server, which can then listen at more addresses, and has a
/// [handle](Server::handle).
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `serve` or `bind`"]
pub struct ServerBuilder<L = Identity> {
    services: Services<L>,
    config: ServerConfig,
    listen_schemes: ListenSchemes,
    socket_options: SocketOptions,
    protocols: Protocols,
    hooks: Hooks,
    #[cfg(feature = "tls")]
    tls: Option<ServerTls>,
    hello_check: HelloCheck,
}

impl Server {
    /// A server without services, with the default limits.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            services: Services::new(),
            config: ServerConfig::default(),
            listen_schemes: ListenSchemes::default(),
            socket_options: SocketOptions::new(),
            protocols: Protocols::default(),
            hooks: Hooks::default(),
            #[cfg(feature = "tls")]
            tls: None,
            hello_check: HelloCheck::default(),
        }
    }

    /// A handle to the server. It works whether the server runs or not.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle {
            shared: self.shared.clone(),
        }
    }

    /// Serves over a transport that is open already: any [`Transport`](crate::Transport), or a socket of
    /// the standard library. Returns the peer at its other end. It is served at once, whether the server
    /// runs or not, until it closes or the server is dropped: the caller need not keep the peer. While
    /// the server runs, use [`ServerHandle::accept_over`].
    ///
    /// No limit on connections refuses it. It counts towards `max_connections`, but not by host, as it
    /// has no address, and not towards `max_handshakes`: there is a peer at once. Calls to it wait until
    /// its hello has come, within their deadlines; if it never comes, they end as not sent.
    ///
    /// # Errors
    ///
    /// If the server drains already, or a socket of the standard library cannot be given to the runtime;
    /// and outside of a tokio runtime.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers; for a socket of the standard library, also if it has no I/O.
    pub fn accept_over<K>(&mut self, transport: impl IntoTransport<K>) -> Result<Peer, ServeError> {
        self.handle().accept_over(transport)
    }

    /// Accepts and serves connections, until the server is drained by its handle. An error of one
    /// connection never ends it. A server that does not listen serves the transports that are given to
    /// [`ServerHandle::accept_over`].
    ///
    /// # Errors
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Panics
    ///
    /// If the runtime has no I/O or no timers: build it with `enable_all`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the server, and with it all connections.
    pub async fn run(self) -> Result<(), ServeError> {
        check_runtime()?;
        self.run_until_drained().await;
        Ok(())
    }

    /// Accepts and serves connections until `signal` resolves; then drains, for the
    /// [`drain_grace`](ServerConfigBuilder::drain_grace) at most, after the
    /// [`drain_spread`](ServerConfigBuilder::drain_spread). See [`ServerHandle::drain`].
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the server, and with it all connections.
    pub async fn run_until(
        self,
        signal: impl Future<Output = ()>,
    ) -> Result<DrainReport, ServeError> {
        check_runtime()?;
        let (handle, request) = (self.handle(), self.drain_request.clone());
        let mut running = pin!(self.run_until_drained());
        tokio::select! {
            report = &mut running => return Ok(report),
            () = signal => handle.shared.begin_drain(&request),
        }
        Ok(running.await)
    }

    async fn run_until_drained(self) -> DrainReport {
        let shared = &self.shared;
        tokio::select! {
            biased;
            report = shared.ended() => report,
            never = shared.accept_all() => match never {},
            never = shared.watch_tls() => match never {},
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl<L> ServerBuilder<L> {
    /// Serves a service: a generated `..Server`, with or without layers.
    #[track_caller]
    pub fn add_service(mut self, service: impl Serve) -> Self {
        self.services.add(service);
        self
    }

    /// Sets the service that gets the calls of all services that were not added, behind the same layers.
    /// Without it they end with `Unimplemented`. A later fallback replaces an earlier one.
    ///
    /// It gets requests unchanged, with encoded messages. A [`Peer`] is such a service: it sends them on,
    /// so that the server is a proxy for any service, without a schema:
    ///
    /// ```no_run
    /// # async fn proxy() -> Result<(), Box<dyn std::error::Error>> {
    /// let backend = wawo::Peer::connect("tcp://127.0.0.1:4001").await?;
    /// wawo::Server::builder().fallback(backend).serve("tcp://127.0.0.1:4000").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn fallback(mut self, service: impl CallService) -> Self {
        self.services.set_fallback(service);
        self
    }

    /// Puts a tower layer around all services. The first one added sees a call first.
    pub fn layer<M>(self, layer: M) -> ServerBuilder<Stack<Stack<PanicGuardLayer, M>, L>> {
        ServerBuilder {
            services: self.services.layer(layer),
            config: self.config,
            listen_schemes: self.listen_schemes,
            socket_options: self.socket_options,
            protocols: self.protocols,
            hooks: self.hooks,
            #[cfg(feature = "tls")]
            tls: self.tls,
            hello_check: self.hello_check,
        }
    }

    /// Sets the limits of the server, and the limits and timeouts of each connection. A [`Config`] sets
    /// those of connections only, and leaves the server's limits at their defaults.
    ///
    /// [`Config`]: crate::Config
    pub fn config(mut self, config: impl Into<ServerConfig>) -> Self {
        self.config = config.into();
        self
    }

    /// Uses `listen` to listen at addresses of its scheme. It replaces an earlier one for that scheme, or
    /// one of the built-in `tcp`, `unix` and `mem`.
    pub fn listener(mut self, listen: impl Listen) -> Self {
        self.listen_schemes.add(listen);
        self
    }

    /// Sets the certificate of the server, for addresses of TLS such as `tls://0.0.0.0:4000`. At such an address
    /// it takes TLS only; at its other addresses it takes none.
    ///
    /// By ALPN it offers `wawo/1` and the [names](Protocol::alpn) of its other protocols. A client that names
    /// none of them is refused, and one that names no protocol at all is taken. Inside of TLS, the first bytes
    /// decide which protocol is spoken, as outside.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets options of the sockets that the server listens at, and of those that it accepts.
    pub fn socket_options(mut self, options: SocketOptions) -> Self {
        self.socket_options = options;
        self
    }

    /// A server that does not listen anywhere yet.
    ///
    /// # Errors
    ///
    /// If two services have the same id, if the services do not fit into a hello, if an option of the
    /// sockets is out of its range, or if a worker cannot be started.
    pub fn build(self) -> Result<Server, ServeError>
    where
        L: Layer<Dispatch, Service: CallService>,
    {
        let (service, table, live) = self.services.build_live()?;
        let mut config = self.config;
        config.connection = config.connection.with_services(table)?;
        self.socket_options.check()?;
        let workers = config.workers().map(Workers::start).transpose();
        let workers = workers.map_err(ServeError::Workers)?.unwrap_or_default();
        let drain_request = config.drain_request();
        #[cfg(feature = "tls")]
        let tls = self.tls.map(|tls| {
            let offered = OfferedProtocols::new(self.protocols.alpn());
            Arc::new(TlsOfServer::new(tls, offered)) as Arc<dyn AcceptTls>
        });
        #[cfg(not(feature = "tls"))]
        let tls = None;
        let protocols = self.protocols.into_shared();
        let protocols = protocols.map(|protocols| protocols as Arc<dyn FindProtocol>);
        let peers = PeerSettings {
            event_sender: EventSender::with_hooks(self.hooks.into_shared()),
            hello_check: self.hello_check,
        };
        let shared = ServerState::new(service, live, config, protocols, peers, tls, workers);
        Ok(Server {
            shared: Arc::new(shared),
            addresses: Vec::new(),
            listen_schemes: self.listen_schemes,
            socket_options: self.socket_options,
            drain_request,
        })
    }

    /// A server that listens at an [`Address`], such as `tcp://127.0.0.1:0`.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build). Also if the address is wrong or taken, and outside of a tokio runtime.
    ///
    /// # Panics
    ///
    /// As [`Server::bind`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future makes no server.
    pub async fn bind<A>(self, address: A) -> Result<Server, ServeError>
    where
        A: TryInto<Address, Error: Into<AddressError>>,
        L: Layer<Dispatch, Service: CallService>,
    {
        let mut server = self.build()?;
        server.bind(address).await?;
        Ok(server)
    }

    /// Listens at an [`Address`], and serves for ever.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Panics
    ///
    /// As [`Server::bind`] and [`Server::run`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the server, and with it all connections.
    pub async fn serve<A>(self, address: A) -> Result<(), ServeError>
    where
        A: TryInto<Address, Error: Into<AddressError>>,
        L: Layer<Dispatch, Service: CallService>,
    {
        self.bind(address).await?.run().await
    }

    /// Listens at an [`Address`], and serves until `signal` resolves; then drains, for the
    /// [`drain_grace`](ServerConfigBuilder::drain_grace) at most, after the
    /// [`drain_spread`](ServerConfigBuilder::drain_spread). See [`ServerHandle::drain`].
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Panics
    ///
    /// As [`Server::bind`] and [`Server::run`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the server, and with it all connections.
    pub async fn serve_until<A>(
        self,
        address: A,
        signal: impl Future<Output = ()>,
    ) -> Result<DrainReport, ServeError>
    where
        A: TryInto<Address, Error: Into<AddressError>>,
        L: Layer<Dispatch, Service: CallService>,
    {
        self.bind(address).await?.run_until(signal).await
    }
}

fn check_runtime() -> Result<(), ServeError> {
    match tokio::runtime::Handle::try_current() {
        Ok(_) => Ok(()),
        Err(_) => Err(ServeError::NoRuntime),
    }
}
