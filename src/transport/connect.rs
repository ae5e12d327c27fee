//! Opening transports, by the scheme of an address.

use std::{fmt, io, sync::Arc};

use crate::transport::{Address, Attempts, BoxFuture, Memory, SocketOptions, Tcp, Transport, Unix};

/// Opens transports to addresses of one scheme. See
/// [`PeerBuilder::connector`](crate::PeerBuilder::connector).
///
/// ```
/// use std::io;
/// use wawo::{
///     Address, SocketOptions, Transport,
///     transport::{Attempts, BoxFuture, Connect, Tcp},
/// };
///
/// /// `near://7` is port 4007 of this machine.
/// struct Near;
///
/// impl Connect for Near {
///     fn scheme(&self) -> &str {
///         "near"
///     }
///
///     fn connect<'a>(
///         &'a self,
///         address: &'a Address,
///         options: &'a SocketOptions,
///         attempts: &'a mut Attempts,
///     ) -> BoxFuture<'a, io::Result<Box<dyn Transport>>> {
///         Box::pin(async move {
///             let number = address.to_string().split_off("near://".len());
///             let at = Address::Tcp(format!("localhost:400{number}"));
///             Tcp.connect(&at, options, attempts).await
///         })
///     }
/// }
///
/// let peer = wawo::Peer::builder("near://7").connector(Near);
/// ```
pub trait Connect: Send + Sync + 'static {
    /// The scheme, such as `vsock`, without `://`. One that is built in, such as `tcp`, is replaced.
    fn scheme(&self) -> &str;

    /// Opens a transport to an address, whose scheme is that of [`scheme`](Self::scheme).
    ///
    /// It may take its time: the caller has the connect timeout, and drops the future when that is
    /// over. If there are several places to try, `attempts` tells then how far it came.
    ///
    /// `options` are those of the builder, for transports that are sockets of the system.
    ///
    /// # Errors
    ///
    /// If there is nothing at the address; the error that the caller gets names the address.
    fn connect<'a>(
        &'a self,
        address: &'a Address,
        options: &'a SocketOptions,
        attempts: &'a mut Attempts,
    ) -> BoxFuture<'a, io::Result<Box<dyn Transport>>>;
}

/// The connectors of one builder: its own before those that are built in.
#[derive(Clone, Default)]
pub(crate) struct Connectors(Vec<Arc<dyn Connect>>);

impl Connectors {
    /// Adds a connector, in place of one of the same scheme.
    pub(crate) fn add(&mut self, connector: impl Connect) {
        self.0.retain(|other| other.scheme() != connector.scheme());
        self.0.push(Arc::new(connector));
    }

    /// The connector for an address.
    ///
    /// # Errors
    ///
    /// If there is none; tells where one is found.
    pub(crate) fn find(&self, address: &Address) -> Result<Arc<dyn Connect>, String> {
        let scheme = address.scheme();
        if let Some(own) = self.0.iter().find(|own| own.scheme() == scheme) {
            return Ok(own.clone());
        }
        match address {
            Address::Tcp(_) => Ok(Arc::new(Tcp)),
            Address::Unix(_) | Address::Abstract(_) => Ok(Arc::new(Unix)),
            Address::Memory(_) => Ok(Arc::new(Memory)),
            Address::Other { .. } => Err(missing("connector", scheme)),
        }
    }
}

impl fmt::Debug for Connectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schemes = self.0.iter().map(|connector| connector.scheme());
        f.debug_list().entries(schemes).finish()
    }
}

/// Schemes that have a crate: scheme, crate, and what it has for the builders.
const KNOWN: [(&str, &str, &str); 3] = [
    ("ws", "wawo-http", "WebSocket"),
    ("wss", "wawo-http", "WebSocket"),
    ("nats", "wawo-nats", "Nats"),
];

/// Tells that a builder was given no connector or listener for a scheme, and where one is found.
/// `role` is the name of the builder's method.
pub(super) fn missing(role: &str, scheme: &str) -> String {
    let advice = match KNOWN.iter().find(|(known, ..)| *known == scheme) {
        Some((_, package, value)) => {
            format!("add the crate {package} and `.{role}({value}::new())`")
        }
        None if role == "connector" => "pass one for it by `PeerBuilder::connector`".to_owned(),
        None => "pass one for it by `ServerBuilder::listener`".to_owned(),
    };
    format!("no {role} for `{scheme}://`: {advice}")
}
