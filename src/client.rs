//! Connects to a peer.

mod error;

use std::{future::poll_fn, sync::Arc};

use bytes::Bytes;
use tokio::runtime::Handle;
use tower::{
    Layer,
    layer::util::{Identity, Stack},
};
use wawo_protocol::{Config, Side};

pub use crate::client::error::ConnectError;
use crate::{
    clock, connection,
    dispatch::Dispatch,
    layer::PanicGuardLayer,
    peer::{EventSender, NewConnection, NewPeer, Peer},
    serve::{BoxService, CallService, Serve},
    services::Services,
    transport::{
        Address, AddressError, Attempts, Connect, Connectors, IntoTransport, SocketOptions,
        Transport,
    },
};

/// Connects to a peer, with the services of this side. Made by [`Peer::builder`].
///
/// By default this side serves nothing, and the [`Config`] and the [`SocketOptions`] have their defaults.
/// A clone can connect again.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `connect`"]
pub struct PeerBuilder<L = Identity> {
    /// The address. An error in it is returned when the address is needed.
    address: Result<Address, AddressError>,
    connectors: Connectors,
    services: Services<L>,
    config: Config,
    socket_options: SocketOptions,
}

impl Peer {
    /// Begins a connection to an [`Address`], or to its text, such as `tcp://127.0.0.1:4000`, or to
    /// a [`SocketAddr`](std::net::SocketAddr).
    pub fn builder<A>(address: A) -> PeerBuilder
    where
        A: TryInto<Address, Error: Into<AddressError>>,
    {
        PeerBuilder {
            address: address.try_into().map_err(Into::into),
            connectors: Connectors::default(),
            services: Services::new(),
            config: Config::default(),
            socket_options: SocketOptions::new(),
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
            address: self.address,
            connectors: self.connectors,
            services: self.services.layer(layer),
            config: self.config,
            socket_options: self.socket_options,
        }
    }

    /// Sets the limits and timeouts of the connection.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Uses this connector for addresses of its scheme. It replaces an earlier one for that scheme, or
    /// one of the built-in `tcp`, `unix`, `pipe` and `mem`.
    pub fn connector(mut self, connector: impl Connect) -> Self {
        self.connectors.add(connector);
        self
    }

    /// Sets how the certificate of the server is checked, and which one this side shows, for addresses of TLS.
    /// Default: the roots of the system are trusted, and no certificate is shown.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::tls::ClientTls) -> Self {
        self.connectors.set_tls(tls);
        self
    }

    /// Sets options of the socket that [`connect`](Self::connect) opens.
    pub fn socket_options(mut self, options: SocketOptions) -> Self {
        self.socket_options = options;
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
    /// longer than the connect timeout, or if a setting or service of this side is wrong; and outside of
    /// a tokio runtime.
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
        let address = self.address.clone()?;
        let connector = self.connectors.find(&address);
        let connector = connector.map_err(|advice| ConnectError::NoConnector {
            address: address.clone(),
            advice,
        })?;
        self.socket_options.check()?;
        let (options, timeout) = (self.socket_options.clone(), self.config.connect_timeout());
        let end = self.into_end()?;
        check_runtime()?;
        let mut attempts = Attempts::default();
        let connecting = end.connect(&*connector, &address, &options, &mut attempts);
        // If both times are over, this one says more than the timeout of the handshake.
        tokio::select! {
            biased;
            () = tokio::time::sleep(timeout) => {}
            result = connecting => return result,
        }
        Err(ConnectError::TimedOut {
            address,
            timeout,
            attempts: attempts.to_string(),
        })
    }

    /// Uses a transport that is open already as the connection: any [`Transport`], or a socket of the
    /// standard library. The address and the socket options of the builder are not used.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), without those of the address. Also if a socket of the standard
    /// library cannot be given to the runtime.
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
        let end = self.into_end()?;
        check_runtime()?;
        let transport = transport.into_transport();
        let transport = transport.map_err(ConnectError::OpenSocket)?;
        let new = shake_hands(transport, end.config.clone(), None).await?;
        Ok(end.drive(new, None))
    }

    fn into_end(self) -> Result<End, ConnectError>
    where
        L: Layer<Dispatch, Service: CallService>,
    {
        let (service, table) = self.services.build()?;
        let config = Arc::new(self.config.with_services(table)?);
        Ok(End { service, config })
    }
}

/// This side's end of a connection that is about to be opened.
struct End {
    service: BoxService,
    config: Arc<Config>,
}

/// How often a connect tries again, if the server drains. Such a server closes connections that it has
/// just accepted, while another may have taken its place. A connect meets one draining server, or two in
/// a row; more are a fault, which should show.
const MAX_RECONNECTS: usize = 3;

impl End {
    async fn connect(
        self,
        connector: &dyn Connect,
        address: &Address,
        options: &SocketOptions,
        attempts: &mut Attempts,
    ) -> Result<Peer, ConnectError> {
        let mut reconnects = 0;
        loop {
            let transport = connector.connect(address, options, attempts).await;
            let transport = transport.map_err(|source| ConnectError::Transport {
                address: address.clone(),
                source,
            })?;
            // The socket is connected. A later error, such as a missing hello, is not about the attempts
            // before.
            *attempts = Attempts::connected("no hello came");
            let config = self.config.clone();
            match shake_hands(transport, config, Some(address)).await {
                Err(ConnectError::Hello { source, .. })
                    if reconnects < MAX_RECONNECTS && connection::ended_by_drain(&source) =>
                {
                    reconnects += 1;
                }
                Ok(new) => return Ok(self.drive(new, Some(address.clone()))),
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes the peer of a connection whose hellos are exchanged, and spawns its driver.
    fn drive(self, new: NewConnection, address: Option<Address>) -> Peer {
        let (side, event_sender) = (Side::Connecting, EventSender::default());
        let peer = NewPeer::new(side, address, self.config, self.service, event_sender, None);
        let (peer, driver) = peer.drive(new);
        tokio::spawn(driver);
        peer
    }
}

/// Exchanges the hellos over a transport, before there is a peer.
async fn shake_hands(
    transport: Box<dyn Transport>,
    config: Arc<Config>,
    address: Option<&Address>,
) -> Result<NewConnection, ConnectError> {
    let (credentials, now) = (Bytes::new(), clock::now());
    let mut new = NewConnection::connecting(transport.into(), config, credentials, now)?;
    let Err(source) = poll_fn(|cx| new.poll_hello(cx)).await else {
        return Ok(new);
    };
    let (error, address) = (source.clone(), address.cloned());
    tracing::debug!(%error, ?address, side = ?Side::Connecting, "connection over");
    // The caller does not wait until the other side has the reason.
    tokio::spawn(async move { new.end(&error).await });
    Err(ConnectError::Hello { address, source })
}

fn check_runtime() -> Result<(), ConnectError> {
    match Handle::try_current() {
        Ok(_) => Ok(()),
        Err(_) => Err(ConnectError::NoRuntime),
    }
}
