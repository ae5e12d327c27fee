//! TLS at the side that accepts.

mod builder;
mod settings;

use std::{convert::Infallible, fmt, future::pending, io, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::time::sleep;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        CommonState, HandshakeKind, ServerConfig, pki_types::UnixTime,
        server::danger::ClientCertVerifier,
    },
};

pub use crate::transport::tls::server::builder::ServerTlsBuilder;
use crate::transport::{
    IntoTransport, TransportWithFacts,
    tls::{
        TlsError,
        alpn::OfferedProtocols,
        explain::explain_server_error,
        live::Live,
        server::settings::{ServerSettings, ServerSide},
        socket::TlsSocket,
        stream::into_transport,
    },
};

/// The certificate of a server, and which certificates it asks of clients: for
/// [`ServerBuilder::tls`](crate::ServerBuilder::tls). Cheap to clone; clones share it.
///
/// ```no_run
/// # async fn serve(chat: impl wawo::Serve) -> Result<(), Box<dyn std::error::Error>> {
/// use wawo::tls::ServerTls;
///
/// let tls = ServerTls::from_pem_files("server.pem", "server-key.pem")?;
/// wawo::Server::builder().tls(tls).add_service(chat).serve("tls://0.0.0.0:4000").await?;
/// # Ok(())
/// # }
/// ```
///
/// It speaks TLS 1.2 and 1.3, without renegotiation and early data. Clients may resume sessions by tickets,
/// which take no memory of the server. While a server runs with it, the files are looked at each minute, and new
/// ones are used from then on for new connections: see [`reload`](Self::reload).
#[derive(Clone)]
pub struct ServerTls {
    live: Arc<Live<ServerSettings>>,
    /// How often a server looks at the files; `None` for never, or if there are none.
    interval: Option<Duration>,
}

impl ServerTls {
    pub(super) fn new(live: Live<ServerSettings>, interval: Option<Duration>) -> Self {
        let live = Arc::new(live);
        Self { live, interval }
    }

    /// Reads the files anew, and uses them for connections that are accepted from now on; open ones stay as
    /// they are. Returns `false` if the files have not changed, and for a configuration without files.
    ///
    /// [`Server::run`](crate::Server::run) also does this by itself each minute, or as
    /// [`reload_interval`](ServerTlsBuilder::reload_interval) says, until the server drains. Each of several
    /// servers that share it does. Without a server, call this. It reads small files, and blocks meanwhile.
    ///
    /// # Errors
    ///
    /// If the files cannot be used, such as a certificate that was written already while its key was not. Those
    /// before stay in use. Both outcomes are logged.
    pub fn reload(&self) -> Result<bool, TlsError> {
        self.live.reload()
    }

    /// Does the handshake of TLS over a transport that is open already, for
    /// [`Server::accept_over`](crate::Server::accept_over). A server that listens at `tls://` does this itself.
    /// It reads no files: see [`reload`](Self::reload).
    ///
    /// The [facts](crate::Transport::facts) of the result have the verified certificates of the other end. It
    /// has no time limit: put a timeout around it.
    ///
    /// # Errors
    ///
    /// If the handshake fails; the text says why.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the transport.
    pub async fn accept<K>(
        &self,
        transport: impl IntoTransport<K>,
    ) -> io::Result<TransportWithFacts> {
        let socket = TlsSocket::new(transport.into_transport()?, BytesMut::new());
        let side = self.side(&OfferedProtocols::default());
        let stream = TlsAcceptor::from(side.config).accept(socket).await;
        let stream = stream.map_err(explain_server_error)?;
        side.reverify.check(stream.get_ref().1)?;
        Ok(into_transport(stream))
    }

    /// Looks at the files in the interval, for ever.
    pub(crate) async fn watch(&self) -> Infallible {
        let Some(interval) = self.interval else {
            return pending().await;
        };
        loop {
            sleep(interval).await;
            self.live.refresh().await;
        }
    }

    /// The configuration for a new connection of a server that offers these protocols.
    pub(crate) fn side(&self, offered: &OfferedProtocols) -> NewServerSide {
        let side = self.live.current();
        NewServerSide {
            config: offered.added_to(side.config.clone()),
            reverify: Reverify(side.verifier.clone()),
        }
    }
}

/// The side of a server in one new connection.
pub(crate) struct NewServerSide {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) reverify: Reverify,
}

/// Verifies the certificate of a client that has resumed a session: it may have expired since, or been
/// revoked. The TLS library verifies it in full handshakes only.
pub(crate) struct Reverify(Option<Arc<dyn ClientCertVerifier>>);

impl Reverify {
    /// # Errors
    ///
    /// If the certificate is not good any more.
    pub(crate) fn check(&self, state: &CommonState) -> io::Result<()> {
        let Some(verifier) = &self.0 else {
            return Ok(());
        };
        let (Some(HandshakeKind::Resumed), Some([own, chain @ ..])) =
            (state.handshake_kind(), state.peer_certificates())
        else {
            return Ok(());
        };
        let verified = verifier.verify_client_cert(own, chain, UnixTime::now());
        let wrong = |error| explain_server_error(io::Error::new(io::ErrorKind::InvalidData, error));
        verified.map(drop).map_err(wrong)
    }
}

/// Takes a configuration of rustls as it is, except for early data, which is switched off: early requests
/// could be sent again by others. Its files are its own affair.
impl From<Arc<ServerConfig>> for ServerTls {
    fn from(mut config: Arc<ServerConfig>) -> Self {
        if config.max_early_data_size > 0 {
            Arc::make_mut(&mut config).max_early_data_size = 0;
        }
        let verifier = None;
        let side = Arc::new(ServerSide { config, verifier });
        Self::new(Live::fixed(side), None)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("settings", &self.live.settings())
            .finish_non_exhaustive()
    }
}
