//! Builds a server.

mod peers;

use std::{future::Future, sync::Arc};

use tower::{
    Layer,
    layer::util::{Identity, Stack},
};

use crate::{
    dispatch::Dispatch,
    identity::HelloCheck,
    layer::PanicGuardLayer,
    peer::{DrainReport, EventSender},
    serve::{CallService, Serve},
    server::{
        ServeError, Server, ServerConfig,
        hooks::Hooks,
        protocol::Protocols,
        state::{FindProtocol, PeerSettings, ServerState},
        workers::Workers,
    },
    services::Services,
    transport::{Address, AddressError, Listen, ListenSchemes, SocketOptions},
};
#[cfg(feature = "tls")]
use crate::{
    server::{state::AcceptTls, tls::TlsOfServer},
    transport::tls::{OfferedProtocols, ServerTls},
};

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

impl ServerBuilder {
    pub(super) fn new() -> Self {
        Self {
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
    /// It gets requests unchanged, with encoded messages. A [`Peer`](crate::Peer) is such a service: it sends them on,
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
    /// By ALPN it offers `wawo/1` and the [names](crate::Protocol::alpn) of its other protocols. A client that names
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
    /// [`drain_grace`](crate::ServerConfigBuilder::drain_grace) at most, after the
    /// [`drain_spread`](crate::ServerConfigBuilder::drain_spread). See [`ServerHandle::drain`](crate::ServerHandle::drain).
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
