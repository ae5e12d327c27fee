//! Serving services to all who connect.

mod accept;
mod drain;
mod handle;
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
    server::workers::{Seat, Workers},
    services::Services,
    transport::{Address, AddressError, Listener, Transport},
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

/// A place where a server listens, and what becomes of each transport that is accepted there.
struct Bound {
    listener: Listener,
    wrap: Wrap,
}

type Wrap = Box<dyn Fn(Box<dyn Transport>) -> Box<dyn Transport> + Send + Sync>;

/// Puts a [`Server`] together.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `serve` or `bind`"]
pub struct ServerBuilder<L = Identity> {
    services: Services<L>,
    config: Config,
    limits: ServerLimits,
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
            workers: None,
        }
    }

    /// Listens at one more address.
    ///
    /// # Errors
    ///
    /// If it is not an address, or it is taken.
    pub async fn bind(&mut self, address: &str) -> Result<(), ServeError> {
        self.listen(address, Box::new(|transport| transport)).await
    }

    /// Listens at one more address, and wraps each transport that is accepted there: in TLS, or in
    /// a [`Framed`](crate::Framed) that speaks a protocol of your own.
    ///
    /// `wrap` must not wait for the other side; what it gives back does that when it is read.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_with<T: Transport>(
        &mut self,
        address: &str,
        wrap: impl Fn(Box<dyn Transport>) -> T + Send + Sync + 'static,
    ) -> Result<(), ServeError> {
        let wrap = move |transport| Box::new(wrap(transport)) as Box<dyn Transport>;
        self.listen(address, Box::new(wrap)).await
    }

    async fn listen(&mut self, address: &str, wrap: Wrap) -> Result<(), ServeError> {
        let address: Address = address.parse()?;
        let listener = Listener::bind(&address).await;
        let listener = listener.map_err(|source| ServeError::Bind { address, source })?;
        self.listeners.push(Bound { listener, wrap });
        Ok(())
    }

    /// Where the server listens, in the order of `bind`; for a port 0, with the port that was
    /// chosen.
    pub fn addresses(&self) -> Vec<Address> {
        let addresses = self.listeners.iter().map(|bound| bound.listener.address());
        addresses.filter_map(Result::ok).collect()
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

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.listener.fmt(f)
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
    /// Two services have one id.
    DuplicateService(DuplicateService),
    /// A setting is out of its range.
    Config(ConfigError),
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
            Self::Config(error) => write!(f, "the configuration is wrong: {error}"),
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
            Self::Config(error) => error.source(),
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

impl fmt::Debug for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Causes(self), f)
    }
}
