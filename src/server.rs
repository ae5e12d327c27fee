//! Serving services to all who connect.

mod accept;
mod admission;
mod connection_task;
mod drain;
mod error;
mod handle;
mod host;
mod lifecycle;
mod listen;
mod listeners;
mod log_limiter;
mod memory;
mod refuse;
mod registry;
mod state;
mod workers;

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use tower::{Layer, layer::util::Identity};
use wawo_protocol::Config;

pub use crate::server::{
    error::ServeError,
    handle::{ServerHandle, shutdown_signal},
    host::TrustedProxyError,
};
use crate::{
    decoding::DecodedTotal,
    dispatch::Dispatch,
    peer::{DrainReport, Peer},
    serve::{CallService, Serve},
    server::{
        admission::ConnectionLimits, host::TrustedProxies, state::ServerState, workers::Workers,
    },
    services::Services,
    transport::{Address, SocketOptions, Transport},
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
/// It accepts connections while [`run`](Self::run) is polled, until it is drained by its
/// [`handle`](Self::handle). Dropping the server, or the future of `run`, closes its listeners and
/// its connections at once.
#[derive(Debug)]
pub struct Server {
    shared: Arc<ServerState>,
    /// Where it listens, in the order of `bind`.
    addresses: Vec<Address>,
    socket_options: SocketOptions,
}

/// Puts a [`Server`] together.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `serve` or `bind`"]
pub struct ServerBuilder<L = Identity> {
    services: Services<L>,
    config: Config,
    max_connections: usize,
    max_handshakes: usize,
    max_connections_per_host: Option<usize>,
    trusted_proxies: Option<Vec<String>>,
    socket_options: SocketOptions,
    max_decoded_bytes: Option<usize>,
    workers: Option<usize>,
}

impl Server {
    /// A server without services, with the default limits.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            services: Services::new(),
            config: Config::default(),
            max_connections: 10_000,
            max_handshakes: 1_000,
            max_connections_per_host: None,
            trusted_proxies: None,
            socket_options: SocketOptions::new(),
            max_decoded_bytes: None,
            workers: None,
        }
    }

    /// A handle to the server, for others; it works whether the server runs or not.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle {
            shared: self.shared.clone(),
        }
    }

    /// Serves over a transport that is open already; the peer is at the other end of it. It is
    /// served at once, whether the server runs or not, until it closes or the server is dropped.
    /// While the server runs, use [`ServerHandle::accept_over`].
    ///
    /// No limit on connections refuses it. It is not counted by host, as it has no address, but as
    /// one of `max_connections`.
    ///
    /// # Errors
    ///
    /// If the server drains already; and outside of a tokio runtime.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers.
    pub fn accept_over(&mut self, transport: impl Transport) -> Result<Peer, ServeError> {
        self.handle().accept_over(transport)
    }

    /// Accepts and serves connections, until the server is drained by its handle. An error of one
    /// connection never ends it. A server that listens nowhere serves what it is given by
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

    /// Accepts and serves connections until `signal` resolves; then drains, for `grace` at most.
    /// See [`ServerHandle::drain`].
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
        grace: Duration,
    ) -> Result<DrainReport, ServeError> {
        check_runtime()?;
        let handle = self.handle();
        let mut running = pin!(self.run_until_drained());
        tokio::select! {
            report = &mut running => return Ok(report),
            () = signal => handle.shared.begin_drain(grace),
        }
        Ok(running.await)
    }

    async fn run_until_drained(self) -> DrainReport {
        let shared = &self.shared;
        tokio::select! {
            biased;
            report = shared.ended() => report,
            never = shared.accept_all() => match never {},
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
    pub fn add_service(mut self, service: impl Serve) -> Self {
        self.services.add(service);
        self
    }

    /// Puts a tower layer around all services. The first one added sees a call first.
    pub fn layer<M>(self, layer: M) -> ServerBuilder<tower::layer::util::Stack<M, L>> {
        ServerBuilder {
            services: self.services.layer(layer),
            config: self.config,
            max_connections: self.max_connections,
            max_handshakes: self.max_handshakes,
            max_connections_per_host: self.max_connections_per_host,
            trusted_proxies: self.trusted_proxies,
            socket_options: self.socket_options,
            max_decoded_bytes: self.max_decoded_bytes,
            workers: self.workers,
        }
    }

    /// Sets limits and timeouts of each connection.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// How many connections there may be, at least one. Default 10,000.
    ///
    /// To take one more, one of the host that has the most is closed, if that host has more than
    /// its share: the connections that there may be, divided by the hosts that are here. Of its
    /// connections, those that never had a call go first, then the one that has been idle for the
    /// longest time, and one that has calls only if there is no other. If no host has more than its share, the new connection is refused. Both hear
    /// why, in a close packet that says `limit exceeded`.
    pub fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = max;
        self
    }

    /// How many connections there may be that have not sent their hello, at least one; to take
    /// one more, the one that has been silent for the longest time is closed, unless something of it
    /// has come by then. So those who connect and say nothing keep nobody out. Default 1,000.
    ///
    /// While all of these wait for their first turn, no more are accepted.
    pub fn max_handshakes(mut self, max: usize) -> Self {
        self.max_handshakes = max;
        self
    }

    /// How many connections there may be from one host over TCP, at least one; further ones are
    /// refused, and hear why. Default: a quarter of [`max_connections`](Self::max_connections).
    /// `usize::MAX` for no limit.
    ///
    /// A host is an IPv4 address, or the /64 of an IPv6 address. Connections from this machine, over
    /// Unix sockets and within the process are not counted; see
    /// [`trusted_proxies`](Self::trusted_proxies).
    pub fn max_connections_per_host(mut self, max: usize) -> Self {
        self.max_connections_per_host = Some(max);
        self
    }

    /// Addresses such as `10.0.0.7`, or prefixes such as `10.0.0.0/8` and `fd00::/8`, whose
    /// connections are not counted by host, since they are those of many. Default: this machine,
    /// `127.0.0.0/8` and `::1`. What is set here replaces the default.
    pub fn trusted_proxies<P: Into<String>>(
        mut self,
        proxies: impl IntoIterator<Item = P>,
    ) -> Self {
        self.trusted_proxies = Some(proxies.into_iter().map(Into::into).collect());
        self
    }

    /// Sets options of the sockets that the server listens at, and of those that it accepts.
    pub fn socket_options(mut self, options: SocketOptions) -> Self {
        self.socket_options = options;
        self
    }

    /// How much memory the requests that are worked on may take when they are decoded, of all
    /// connections together, in bytes. A call that goes over it ends with `ResourceExhausted`,
    /// unserved; requests that take 16 KiB or less are not counted. Default: a quarter of the
    /// memory of the machine, or of its control group, and at most 1 GiB; 1 GiB where that is not
    /// known, elsewhere than on Linux. At least [`Config::max_decoded_bytes`], or `build` fails. For
    /// each connection there is [`Config::max_connection_decoded_bytes`] besides.
    pub fn max_server_decoded_bytes(mut self, max: usize) -> Self {
        self.max_decoded_bytes = Some(max);
        self
    }

    /// Serves connections by so many threads, each with a runtime of its own: 1 to 1,024. A
    /// connection stays at the thread that had the fewest when it was accepted, and so do its
    /// handlers and the tasks that they spawn. Default: no such threads, the runtime that runs the
    /// server serves too, with as many threads as that has.
    ///
    /// With a thread for each core, calls that come over many connections wait less for others, as
    /// nothing goes from thread to thread. But threads do not help each other: a handler that blocks
    /// holds up all connections of its thread, and a single connection has one thread only. Declare such
    /// handlers as blocking: see [`BlockingLayer`](crate::layer::BlockingLayer).
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
        let limits = self.limits()?;
        let trusted = self.trusted_proxies.as_deref().map(TrustedProxies::parse);
        let trusted = trusted.unwrap_or_else(|| Ok(TrustedProxies::default()))?;
        let (service, table) = self.services.build()?;
        let config = self.config.with_services(table)?;
        let decoded = self.max_decoded_bytes;
        check_decoded(&config, decoded)?;
        self.socket_options.check()?;
        if self.workers == Some(0) {
            return Err(ServeError::Zero("workers"));
        }
        let workers = self.workers.map_or(Ok(Workers::default()), Workers::start);
        let workers = workers.map_err(ServeError::Workers)?;
        let decoded = decoded.unwrap_or_else(memory::default_decoded_bytes);
        let decoded = DecodedTotal::new(decoded, "max_server_decoded_bytes");
        let shared = ServerState::new(service, config, limits, trusted, workers, decoded);
        Ok(Server {
            shared: Arc::new(shared),
            addresses: Vec::new(),
            socket_options: self.socket_options,
        })
    }

    /// A server that listens at an [`Address`], such as `tcp://127.0.0.1:0`.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), and if the address is wrong or taken, or outside of a tokio runtime.
    ///
    /// # Panics
    ///
    /// As [`Server::bind`].
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
    ///
    /// # Panics
    ///
    /// As [`Server::bind`] and [`Server::run`].
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
    ///
    /// # Panics
    ///
    /// As [`Server::bind`] and [`Server::run`].
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

    fn limits(&self) -> Result<ConnectionLimits, ServeError> {
        let a_quarter = (self.max_connections / 4).max(1);
        let limits = ConnectionLimits {
            connections: self.max_connections,
            handshakes: self.max_handshakes,
            per_host: self.max_connections_per_host.unwrap_or(a_quarter),
        };
        let named = [
            ("max_connections", limits.connections),
            ("max_handshakes", limits.handshakes),
            ("max_connections_per_host", limits.per_host),
        ];
        match named.into_iter().find(|(_, max)| *max == 0) {
            Some((name, _)) => Err(ServeError::Zero(name)),
            None => Ok(limits),
        }
    }
}

/// A message that takes as much memory as it may can be served, unless the machine has too little.
fn check_decoded(config: &Config, server: Option<usize>) -> Result<(), ServeError> {
    let message = config.max_decoded_bytes();
    match server {
        Some(server) if server < message => Err(ServeError::DecodedOverServer { message, server }),
        _ => Ok(()),
    }
}

fn check_runtime() -> Result<(), ServeError> {
    match tokio::runtime::Handle::try_current() {
        Ok(_) => Ok(()),
        Err(_) => Err(ServeError::NoRuntime),
    }
}
