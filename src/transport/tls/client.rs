//! TLS at the side that connects.

mod any_name;
mod builder;
mod settings;

use std::{fmt, io, sync::Arc};

use bytes::BytesMut;
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

pub use crate::transport::tls::client::builder::ClientTlsBuilder;
use crate::transport::{
    Address, IntoTransport, Transport, TransportWithFacts,
    tls::{
        TlsError, client::settings::ClientSettings, explain::explain_client_error, live::Live,
        plain, server_name, socket::TlsSocket, stream::into_transport,
    },
};

/// How a connecting side checks the certificate of the server, and the certificate that it shows: for
/// [`PeerBuilder::tls`](crate::PeerBuilder::tls). Cheap to clone; clones share it, and with it the sessions that
/// they may resume.
///
/// ```no_run
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use wawo::tls::{ClientTls, Pem};
///
/// let tls = ClientTls::builder().roots(Pem::file("root.pem")).build()?;
/// let peer = wawo::Peer::builder("tls://chat.example:4000").tls(tls).connect().await?;
/// # Ok(())
/// # }
/// ```
///
/// Without it, `tls://` trusts the roots of the system, and shows no certificate. The certificate has to have the
/// host of the address as a name; for sockets of this machine, such as `tls+unix://`, that is `localhost`. It
/// speaks TLS 1.2 and 1.3, offers `wawo/1` by ALPN, and sends no early data.
#[derive(Clone)]
pub struct ClientTls {
    live: Arc<Live<ClientSettings>>,
    server_name: Option<ServerName<'static>>,
}

impl ClientTls {
    pub(super) fn new(
        live: Live<ClientSettings>,
        server_name: Option<ServerName<'static>>,
    ) -> Self {
        let live = Arc::new(live);
        Self { live, server_name }
    }

    /// Reads the files anew, and uses them for the next connections. Returns `false` if they have not changed,
    /// and for a configuration without files. This also happens before each connect, over an address and by
    /// [`connect`](Self::connect), so that a program need not call it. It reads small files, and blocks meanwhile.
    ///
    /// # Errors
    ///
    /// If the files cannot be used. Those before stay in use. Both outcomes are logged.
    pub fn reload(&self) -> Result<bool, TlsError> {
        self.live.reload()
    }

    /// Does the handshake of TLS over a transport that is open already, for
    /// [`PeerBuilder::connect_over`](crate::PeerBuilder::connect_over). It reads the files before, away from
    /// the threads of the runtime. `server_name` is the name that the server's certificate has to have, unless
    /// the builder has set one.
    ///
    /// The [facts](crate::Transport::facts) of the result have the verified certificates of the other end. It
    /// has no time limit: put a timeout around it.
    ///
    /// # Errors
    ///
    /// If the handshake fails; the text says why. A server that wants another certificate of this side may say
    /// so only at the first read.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the transport.
    pub async fn connect<K>(
        &self,
        transport: impl IntoTransport<K>,
        server_name: &str,
    ) -> io::Result<TransportWithFacts> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name::parse(server_name)?,
        };
        let transport = transport.into_transport()?;
        self.refresh().await;
        self.handshake(transport, name, None).await
    }

    /// The name that the certificate of the server at an address has to have.
    pub(super) fn name_for(&self, address: &Address) -> io::Result<ServerName<'static>> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => server_name::of_address(address),
        }
    }

    /// Reads the files anew, if there are any.
    pub(super) async fn refresh(&self) {
        if self.live.settings().is_some_and(ClientSettings::has_files) {
            self.live.refresh().await;
        }
    }

    pub(super) async fn handshake(
        &self,
        transport: Box<dyn Transport>,
        name: ServerName<'static>,
        at: Option<&Address>,
    ) -> io::Result<TransportWithFacts> {
        let socket = TlsSocket::new(transport, BytesMut::new());
        let connector = TlsConnector::from(self.live.current());
        match connector.connect(name, socket).into_fallible().await {
            Ok(stream) => Ok(into_transport(stream)),
            Err((error, mut socket)) => match plain::reply(&mut socket, at).await {
                Some(in_plain) => Err(in_plain),
                None => Err(explain_client_error(error)),
            },
        }
    }
}

/// Takes a configuration of rustls as it is, except for early data, which is switched off, and for ALPN, which is
/// `wawo/1` if it names no protocols.
impl From<Arc<ClientConfig>> for ClientTls {
    fn from(mut config: Arc<ClientConfig>) -> Self {
        if config.enable_early_data {
            Arc::make_mut(&mut config).enable_early_data = false;
        }
        if config.alpn_protocols.is_empty() {
            Arc::make_mut(&mut config).alpn_protocols = settings::protocols();
        }
        Self::new(Live::fixed(config), None)
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("settings", &self.live.settings())
            .finish_non_exhaustive()
    }
}
