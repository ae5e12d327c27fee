//! Connects to a peer.

mod dial;
mod end;
mod error;
mod handshake;

#[cfg(feature = "tls")]
use std::io;
use std::{future::Future, sync::Arc};

use tokio::{runtime::Handle, time::timeout};
use tower::{
    Layer,
    layer::util::{Identity, Stack},
};
use wawo_protocol::Config;

pub use crate::client::error::ConnectError;
use crate::{
    client::{
        dial::Dialler,
        end::{End, failed_try},
        handshake::{Handshake, no_credentials},
    },
    dispatch::Dispatch,
    identity::{Authenticate, Authenticator, CredentialsSource, HelloCheck, ProvideCredentials},
    layer::PanicGuardLayer,
    metrics::Metrics,
    observe::Observe,
    peer::{ConnectHook, Dial, NewRedialPeer, Peer, Supervisor},
    reconnect::Reconnect,
    serve::{CallService, Serve},
    services::Services,
    status::Result as StatusResult,
    transport::{Address, AddressError, Connect, Connectors, IntoTransport, SocketOptions},
};

/// Connects to a peer, with the services of this side. Made by [`Peer::builder`].
///
/// By default this side serves nothing, and the [`Config`] and the [`SocketOptions`] have their defaults.
/// A clone can connect again.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `connect`"]
pub struct PeerBuilder<L = Identity> {
    services: Services<L>,
    settings: PeerSettings,
}

/// All that a builder has but its services.
#[derive(Debug, Clone)]
struct PeerSettings {
    /// The address. An error in it is returned when the address is needed.
    address: Result<Address, AddressError>,
    connectors: Connectors,
    config: Config,
    socket_options: SocketOptions,
    reconnect: Option<Reconnect>,
    on_connect: Option<ConnectHook>,
    credentials: Option<CredentialsSource>,
    authenticator: Option<Authenticator>,
}

impl Peer {
    /// Begins a connection to an [`Address`], or to its text, such as `tcp://127.0.0.1:4000`, or to
    /// a [`SocketAddr`](std::net::SocketAddr).
    pub fn builder<A>(address: A) -> PeerBuilder
    where
        A: TryInto<Address, Error: Into<AddressError>>,
    {
        let settings = PeerSettings {
            address: address.try_into().map_err(Into::into),
            connectors: Connectors::default(),
            config: Config::default(),
            socket_options: SocketOptions::new(),
            reconnect: None,
            on_connect: None,
            credentials: None,
            authenticator: None,
        };
        PeerBuilder {
            services: Services::new(),
            settings,
        }
    }

    /// Connects with the default settings, and serves nothing.
    ///
    /// # Errors
    ///
    /// See [`PeerBuilder::connect`].
    ///
    /// # Panics
    ///
    /// See [`PeerBuilder::connect`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes everything that was opened.
    pub async fn connect<A>(address: A) -> Result<Self, ConnectError>
    where
        A: TryInto<Address, Error: Into<AddressError>>,
    {
        Self::builder(address).connect().await
    }
}

impl<L> PeerBuilder<L> {
    /// Serves a service to the peer, over this connection.
    #[track_caller]
    pub fn add_service(mut self, service: impl Serve) -> Self {
        self.services.add(service);
        self
    }

    /// Sets the service that gets the peer's calls of all services that were not added. See
    /// [`ServerBuilder::fallback`](crate::ServerBuilder::fallback).
    pub fn fallback(mut self, service: impl CallService) -> Self {
        self.services.set_fallback(service);
        self
    }

    /// Puts a tower layer around all services that this side serves to the peer. The first one
    /// added sees a call first. For a layer before calls to the peer, see
    /// [`Channel`](crate::Channel).
    pub fn layer<M>(self, layer: M) -> PeerBuilder<Stack<Stack<PanicGuardLayer, M>, L>> {
        PeerBuilder {
            services: self.services.layer(layer),
            settings: self.settings,
        }
    }

    /// Sets the limits and timeouts of the connection.
    pub fn config(mut self, config: Config) -> Self {
        self.settings.config = config;
        self
    }

    /// Uses this connector for addresses of its scheme. It replaces an earlier one for that scheme, or
    /// one of the built-in `tcp`, `unix`, `pipe` and `mem`.
    pub fn connector(mut self, connector: impl Connect) -> Self {
        self.settings.connectors.add(connector);
        self
    }

    /// Sets how the certificate of the server is checked, and which one this side shows, for addresses of TLS.
    /// Default: the roots of the system are trusted, and no certificate is shown.
    ///
    /// With it, connecting to an address without TLS fails, and so does [`connect_over`](Self::connect_over):
    /// nothing is sent in plain by mistake.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::tls::ClientTls) -> Self {
        self.settings.connectors.set_tls(tls);
        self
    }

    /// Sets the credentials of this side: [`Credentials`](crate::Credentials), or a closure that is asked
    /// for them before each dial. The server checks them by
    /// [`ServerBuilder::authenticate`](crate::ServerBuilder::authenticate). Default none.
    ///
    /// They travel as they are: over TCP without TLS, everyone on the way can read and use them.
    pub fn credentials(mut self, provider: impl ProvideCredentials) -> Self {
        self.settings.credentials = Some(CredentialsSource::new(provider));
        self
    }

    /// Checks who the other side is, by the [credentials](crate::ServerBuilder::credentials) in its answer
    /// and the facts that the transport knows. This side sends and serves no call before. The identity is
    /// that of the [peer](Peer::identity), and of [its calls](crate::Context::identity) to this side.
    ///
    /// If it refuses, the other side gets the reason, and connecting fails with
    /// [`ConnectError::Hello`]. It may take as long as the rest of the
    /// [`handshake_timeout`](crate::ConfigBuilder::handshake_timeout), which begins when the socket is
    /// connected.
    pub fn authenticate(mut self, authenticate: impl Authenticate) -> Self {
        self.settings.authenticator = Some(Authenticator::new(authenticate));
        self
    }

    /// Counts the calls of the peer, in both directions, and its connections in these metrics, in place of any
    /// that were given before. Default none.
    pub fn metrics(mut self, metrics: &Metrics) -> Self {
        self.services.observers.set_metrics(metrics);
        self
    }

    /// Lets an observer see the calls of the peer, in both directions. Several see each call in the order in
    /// which they were added. Default none.
    pub fn observe(mut self, observer: impl Observe) -> Self {
        self.services.observers.add(observer);
        self
    }

    /// Sets options of the socket that [`connect`](Self::connect) opens.
    pub fn socket_options(mut self, options: SocketOptions) -> Self {
        self.settings.socket_options = options;
        self
    }

    /// Connects again whenever the connection is lost, until the peer is closed: by [`Peer::close`], by
    /// [`Peer::drain`], or because its last handle, its last stub and its last call in flight are dropped.
    ///
    /// The peer stays the same: its number, its [extensions](Peer::extensions), its events, the stubs over
    /// it, and the services that this side serves to it. [`guide::reconnect`](crate::guide::reconnect) has
    /// the details.
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.settings.reconnect = Some(reconnect);
        self
    }

    /// Runs a function over each new connection, the first too: to log in, or to register what this side
    /// serves. `connect` waits for it. Calls of others over a peer that [reconnects](Self::reconnect) are
    /// made after it, and before it as if there were no connection.
    ///
    /// With `reconnect`, the function gets a peer that is bound to the new connection: its calls go over that
    /// one, and [`Peer::close`] closes only that one. It does not keep the connection open.
    ///
    /// If the function fails or panics, or takes longer than
    /// [`connect_timeout`](crate::ConfigBuilder::connect_timeout), the connection is closed, as if it could
    /// not be opened. If the connection ends before, the function's future is dropped, and connecting fails.
    pub fn on_connect<F, Fut>(mut self, on_connect: F) -> Self
    where
        F: Fn(Peer) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = StatusResult<()>> + Send + 'static,
    {
        self.settings.on_connect = Some(ConnectHook::new(on_connect));
        self
    }

    /// Connects, and waits for the peer's hello. The connection is driven by the current runtime;
    /// calls can be made from anywhere.
    ///
    /// A host name is looked up, and at most 32 of its addresses are tried, IPv6 and IPv4 alternately
    /// (RFC 8305). The next one is tried after 250 ms beside those before it; the first that connects is
    /// taken. `localhost` is `[::1]` and `127.0.0.1`. A Unix socket whose backlog is full, or
    /// a named pipe without a free instance, is tried again. All of it may take as long as
    /// [`connect_timeout`](crate::ConfigBuilder::connect_timeout) says.
    ///
    /// # Errors
    ///
    /// If the address is wrong or cannot be reached, if the other end is not a wawo peer, if it takes
    /// longer than the connect timeout, or if a setting or service of this side is wrong; if
    /// [`on_connect`](Self::on_connect) fails; and outside of a tokio runtime. A peer that
    /// [reconnects](Self::reconnect) does not try again before it has connected once: see
    /// [`connect_lazy`](Self::connect_lazy).
    ///
    /// # Panics
    ///
    /// If the runtime has no I/O or no timers: build it with `enable_all`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes everything that was opened.
    pub async fn connect(self) -> Result<Peer, ConnectError>
    where
        L: Layer<Dispatch, Service: CallService>,
    {
        if self.settings.reconnect.is_some() {
            let (peer, mut supervisor) = self.into_redial_peer()?;
            let connected = supervisor.connect().await;
            connected.map_err(|error| failed_try(error, peer.address()))?;
            tokio::spawn(supervisor.run());
            return Ok(peer);
        }
        let (dialler, end) = self.into_dialler()?;
        let new = dialler.dial(None).await?;
        end.drive(new, Some(dialler.address)).await
    }

    /// Returns the peer at once, and connects it in the background, again and again: a program can start
    /// before its server. It [reconnects](Self::reconnect), by default with the default settings.
    ///
    /// # Errors
    ///
    /// If the address is wrong, if a setting or service of this side is wrong, and outside of a tokio
    /// runtime. Events, and the calls that fail meanwhile, say why the address cannot be reached.
    ///
    /// # Panics
    ///
    /// The background task, if the runtime has no I/O or no timers; then the peer is closed.
    pub fn connect_lazy(self) -> Result<Peer, ConnectError>
    where
        L: Layer<Dispatch, Service: CallService>,
    {
        let (peer, supervisor) = self.into_redial_peer()?;
        tokio::spawn(supervisor.run());
        Ok(peer)
    }

    /// Uses a transport that is open already as the connection: any [`Transport`](crate::Transport), or a
    /// socket of the standard library. The address, the socket options and [`Reconnect`] of the builder are
    /// not used.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), without those of the address. Also if a socket of the standard
    /// library cannot be given to the runtime, and if the builder has settings of TLS: do the handshake before,
    /// by `ClientTls::connect`.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers; for a socket of the standard library, also if it has no I/O.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the transport.
    pub async fn connect_over<K>(
        self,
        transport: impl IntoTransport<K>,
    ) -> Result<Peer, ConnectError>
    where
        L: Layer<Dispatch, Service: CallService>,
    {
        let Self { services, settings } = self;
        let (end, handshake) = settings.end(services)?;
        check_runtime()?;
        #[cfg(feature = "tls")]
        if settings.connectors.has_tls() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, OPEN_WITH_TLS);
            return Err(ConnectError::OpenSocket(error));
        }
        let transport = transport.into_transport();
        let transport = transport.map_err(ConnectError::OpenSocket)?;
        let credentials = timeout(end.config.connect_timeout(), handshake.credentials()).await;
        let credentials = credentials.unwrap_or_else(|_| Err(no_credentials(LATE)))?;
        let new = handshake.run(transport, credentials, None).await?;
        end.drive(new, None).await
    }

    fn into_redial_peer(self) -> Result<(Peer, Supervisor<Dialler>), ConnectError>
    where
        L: Layer<Dispatch, Service: CallService>,
    {
        let settings = self.settings.reconnect.clone().unwrap_or_default();
        let (dialler, end) = self.into_dialler()?;
        let peer = NewRedialPeer {
            address: dialler.address.clone(),
            dial: dialler,
            config: end.config,
            service: end.service,
            settings,
            hook: end.on_connect,
        };
        Ok(peer.open())
    }

    fn into_dialler(self) -> Result<(Dialler, End), ConnectError>
    where
        L: Layer<Dispatch, Service: CallService>,
    {
        let Self { services, settings } = self;
        let (end, handshake) = settings.end(services)?;
        let dialler = Dialler {
            address: settings.address?,
            connectors: settings.connectors,
            options: settings.socket_options,
            handshake,
        };
        dialler.check()?;
        check_runtime()?;
        Ok((dialler, end))
    }
}

/// The reason why settings of TLS and an open transport do not go together.
#[cfg(feature = "tls")]
const OPEN_WITH_TLS: &str = "`tls(..)` is for addresses; do the handshake of TLS by `ClientTls::connect`, and give its result \
     to `connect_over`";

/// The reason why there are no credentials.
const LATE: &str = "their provider took longer than the connect_timeout";

impl PeerSettings {
    /// This side's end of the connections, and their handshake.
    fn end<L>(&self, services: Services<L>) -> Result<(End, Handshake), ConnectError>
    where
        L: Layer<Dispatch, Service: CallService>,
    {
        let (service, table) = services.build()?;
        let config = Arc::new(self.config.clone().with_services(table)?);
        let check = HelloCheck {
            authenticator: self.authenticator.clone(),
            credentials: None,
        };
        let handshake = Handshake {
            config: config.clone(),
            credentials: self.credentials.clone(),
            check: Arc::new(check),
        };
        let end = End {
            service,
            config,
            on_connect: self.on_connect.clone(),
        };
        Ok((end, handshake))
    }
}

fn check_runtime() -> Result<(), ConnectError> {
    match Handle::try_current() {
        Ok(_) => Ok(()),
        Err(_) => Err(ConnectError::NoRuntime),
    }
}
