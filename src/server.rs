//! Serving services to all who connect.

mod accept;
mod drain;
mod handle;
mod listen;
mod registry;
mod workers;

use std::{error::Error, fmt, future::Future, io, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet};
use tower::{Layer, layer::util::Identity};
use wawo_protocol::{Config, ConfigError, Side};

pub use crate::server::handle::{ServerHandle, shutdown_signal};
use crate::{
    causes::Causes,
    dispatch::{Dispatch, DuplicateService},
    peer::{self, DrainReport, Peer},
    serve::{BoxService, CallService, Serve},
    server::{
        listen::Bound,
        workers::{Seat, Workers},
    },
    services::Services,
    transport::{Address, AddressError, SocketOptions, SocketOptionsError, Transport},
};

/// Serves services to all who connect.
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
/// It serves while [`run`](Self::run) is polled, until it is drained by its [`handle`](Self::handle).
/// Dropping the server, or the future of `run`, closes its listeners and its connections at once.
#[derive(Debug)]
pub struct Server {
    service: BoxService,
    config: Arc<Config>,
    limits: ServerLimits,
    socket_options: SocketOptions,
    listeners: Vec<Bound>,
    workers: Workers,
    connections: JoinSet<()>,
    handle: ServerHandle,
    report: watch::Sender<Option<DrainReport>>,
}

/// How many connections a server takes.
#[derive(Debug, Clone, Copy)]
struct ServerLimits {
    connections: usize,
    greeting: usize,
    a_host: usize,
}

/// Puts a [`Server`] together.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `serve` or `bind`"]
pub struct ServerBuilder<L = Identity> {
    services: Services<L>,
    config: Config,
    limits: ServerLimits,
    socket_options: SocketOptions,
    workers: Option<usize>,
}

impl Server {
    /// A server without services, with the default limits.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            services: Services::new(),
            config: Config::default(),
            limits: ServerLimits {
                connections: 10_000,
                greeting: 1_000,
                a_host: usize::MAX,
            },
            socket_options: SocketOptions::new(),
            workers: None,
        }
    }

    /// What others may do with the server while it runs.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Serves over a transport that is open already; the peer is at the other end of it. It is
    /// served until it closes, or the server is dropped.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range.
    pub fn accept_over(&mut self, transport: impl Transport) -> Result<Peer, ServeError> {
        self.accept(Box::new(transport), None, None)
    }

    /// Serves a connection, at a worker or in the current runtime.
    fn accept(
        &mut self,
        transport: Box<dyn Transport>,
        from: Option<Address>,
        seat: Option<Seat>,
    ) -> Result<Peer, ServeError> {
        let (config, service) = (self.config.clone(), self.service.clone());
        let shared = &self.handle.shared;
        let (side, teller) = (Side::Accepting, shared.teller.clone());
        let there = seat.as_ref().map(Seat::enter);
        let (peer, driver) = peer::open(side, transport, from, config, service, teller)?;
        // Before anybody can hear of it.
        shared.registry.add(&peer);
        let mut driver = AbortOnDrop(tokio::spawn(driver));
        drop(there);
        let (kept, shared) = (peer.clone(), shared.clone());
        self.connections.spawn(async move {
            // A driver that panics has ended its connection, and the panic was printed.
            let _ = (&mut driver.0).await;
            drop(seat);
            // The last clone of a peer closes its connection; this one lasts as long as it does.
            shared.registry.remove(&kept);
        });
        Ok(peer)
    }
}

/// A driver whose connection ends with its server.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<L> ServerBuilder<L> {
    /// Serves a service: a generated `..Server`, with or without layers.
    pub fn add_service(mut self, service: impl Serve) -> Self {
        self.services.add(service);
        self
    }

    /// Puts a tower layer around all services. The first one added sees a call first.
    pub fn layer<M>(self, layer: M) -> ServerBuilder<tower::layer::util::Stack<M, L>> {
        ServerBuilder {
            services: self.services.layer(layer),
            config: self.config,
            limits: self.limits,
            socket_options: self.socket_options,
            workers: self.workers,
        }
    }

    /// Sets limits and timeouts of each connection.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// How many connections there may be, at least one; further ones wait to be accepted.
    /// Default 10,000.
    pub fn max_connections(mut self, max: usize) -> Self {
        self.limits.connections = max;
        self
    }

    /// How many connections there may be that have not sent their hello, at least one; to take
    /// one more, the oldest is closed. So those who connect and say nothing keep nobody out.
    /// Default 1,000.
    pub fn max_greeting(mut self, max: usize) -> Self {
        self.limits.greeting = max;
        self
    }

    /// How many connections there may be from one host over TCP, at least one; further ones are
    /// closed at once. Default: no limit.
    pub fn max_connections_per_host(mut self, max: usize) -> Self {
        self.limits.a_host = max;
        self
    }

    /// Sets options of the sockets that the server listens at, and of those that it accepts.
    pub fn socket_options(mut self, options: SocketOptions) -> Self {
        self.socket_options = options;
        self
    }

    /// Serves connections by so many threads, each with a runtime of its own: 1 to 1,024. A
    /// connection stays at the thread that had the fewest when it was accepted, and so do its
    /// handlers and the tasks that they spawn. Default: no such threads, the runtime that runs the
    /// server serves too, with as many threads as that has.
    ///
    /// With a thread for each core, calls that come over many connections wait less for others, as
    /// nothing goes from thread to thread. But threads do not help each other: a handler that blocks
    /// holds up all connections of its thread, and a single connection has one thread only.
    ///
    /// The threads end with the server, once all tasks that handlers have left there have ended; a
    /// program that ends waits for neither. What is served by [`Server::accept_over`] stays in the
    /// runtime in which that was called.
    ///
    /// `tokio::task::block_in_place` panics in these threads, as in each runtime of one thread.
    /// `spawn_blocking` works; each of them has its own pool for it.
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = Some(count);
        self
    }

    /// A server that does not listen anywhere yet.
    ///
    /// # Errors
    ///
    /// If two services have one id, a setting is out of its range, or a worker cannot be started.
    pub fn build(self) -> Result<Server, ServeError>
    where
        L: Layer<Dispatch, Service: CallService>,
    {
        let (service, table) = self.services.build()?;
        let mut config = self.config;
        config.services = table;
        config.check()?;
        self.limits.check()?;
        self.socket_options.check()?;
        if self.workers == Some(0) {
            return Err(ServeError::Zero("workers"));
        }
        let workers = self.workers.map_or(Ok(Workers::default()), Workers::start);
        let workers = workers.map_err(ServeError::Workers)?;
        let (handle, report) = ServerHandle::new();
        Ok(Server {
            service,
            config: Arc::new(config),
            limits: self.limits,
            socket_options: self.socket_options,
            listeners: Vec::new(),
            workers,
            connections: JoinSet::new(),
            handle,
            report,
        })
    }

    /// A server that listens at an [`Address`], such as `tcp://127.0.0.1:0`.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), and if the address is wrong or taken.
    pub async fn bind(self, address: &str) -> Result<Server, ServeError>
    where
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
    pub async fn serve(self, address: &str) -> Result<(), ServeError>
    where
        L: Layer<Dispatch, Service: CallService>,
    {
        self.bind(address).await?.run().await
    }

    /// Listens at an [`Address`], and serves until `signal` resolves; then drains, for `grace` at
    /// most. See [`ServerHandle::drain`].
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub async fn serve_until(
        self,
        address: &str,
        signal: impl Future<Output = ()>,
        grace: Duration,
    ) -> Result<DrainReport, ServeError>
    where
        L: Layer<Dispatch, Service: CallService>,
    {
        self.bind(address).await?.run_until(signal, grace).await
    }
}

impl ServerLimits {
    fn check(&self) -> Result<(), ServeError> {
        let limits = [
            ("max_connections", self.connections),
            ("max_greeting", self.greeting),
            ("max_connections_per_host", self.a_host),
        ];
        match limits.into_iter().find(|(_, max)| *max == 0) {
            Some((name, _)) => Err(ServeError::Zero(name)),
            None => Ok(()),
        }
    }
}

/// Why a server cannot serve. `Display` ends with the cause, and [`source`](Error::source) goes
/// on behind that. `Debug` prints all causes, since that is what `main` prints.
#[non_exhaustive]
pub enum ServeError {
    /// The address is not one.
    Address(AddressError),
    /// The address cannot be listened at.
    Bind {
        /// The address.
        address: Address,
        /// Why.
        source: io::Error,
    },
    /// The socket of [`Server::listen_on`] cannot be listened at.
    OpenListener(io::Error),
    /// Two services have one id.
    DuplicateService(DuplicateService),
    /// A setting is out of its range.
    Config(ConfigError),
    /// An option of the sockets is out of its range.
    SocketOptions(SocketOptionsError),
    /// The workers cannot be started, or are too many.
    Workers(io::Error),
    /// A limit of the server lets nobody in, or nobody would serve.
    Zero(&'static str),
    /// There is nowhere to listen.
    Unbound,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::Bind { address, source } => write!(f, "cannot listen at {address}: {source}"),
            Self::DuplicateService(error) => error.fmt(f),
            Self::OpenListener(error) => {
                write!(f, "cannot listen at the socket that was given: {error}")
            }
            Self::Config(error) => write!(f, "the configuration is wrong: {error}"),
            Self::SocketOptions(error) => error.fmt(f),
            Self::Workers(error) => write!(f, "cannot start the workers: {error}"),
            Self::Zero(setting) => write!(f, "{setting} is 0; it must be at least 1"),
            Self::Unbound => f.write_str("the server listens nowhere; call `bind` before `run`"),
        }
    }
}

impl Error for ServeError {
    /// What caused the cause, which `Display` tells.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Bind { source, .. } => source.source(),
            Self::Workers(error) => error.source(),
            Self::Address(error) => error.source(),
            Self::DuplicateService(error) => error.source(),
            Self::OpenListener(error) => error.source(),
            Self::Config(error) => error.source(),
            Self::SocketOptions(error) => error.source(),
            Self::Zero(_) | Self::Unbound => None,
        }
    }
}

impl From<AddressError> for ServeError {
    fn from(error: AddressError) -> Self {
        Self::Address(error)
    }
}

impl From<DuplicateService> for ServeError {
    fn from(error: DuplicateService) -> Self {
        Self::DuplicateService(error)
    }
}

impl From<ConfigError> for ServeError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<SocketOptionsError> for ServeError {
    fn from(error: SocketOptionsError) -> Self {
        Self::SocketOptions(error)
    }
}

impl fmt::Debug for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Causes(self), f)
    }
}
