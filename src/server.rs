//! A server: serves services to all clients that connect.

mod accept;
mod admission;
mod arrival;
mod builder;
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
mod log;
mod memory;
mod native;
mod new_socket;
mod open_parts;
mod own;
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

pub use crate::server::{
    arrival::Arrival,
    builder::ServerBuilder,
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
    peer::{DrainReport, Peer},
    server::{drain_request::DrainRequest, state::ServerState},
    transport::{Address, IntoTransport, ListenSchemes, SocketOptions},
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

impl Server {
    /// A server without services, with the default limits.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::new()
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
        let was_serving = self.shared.stop();
        if was_serving && !self.addresses.is_empty() {
            log::stopped();
        }
    }
}

fn check_runtime() -> Result<(), ServeError> {
    match tokio::runtime::Handle::try_current() {
        Ok(_) => Ok(()),
        Err(_) => Err(ServeError::NoRuntime),
    }
}
