//! The connectors and listeners of one builder, by the scheme of an address.

use std::{fmt, sync::Arc};

#[cfg(feature = "tls")]
use crate::transport::tls::{ClientTls, TlsConnector};
use crate::transport::{Address, Connect, Listen, Memory, NamedPipe, Tcp, Unix};

/// The connectors of one builder. Its own come before those that are built in.
#[derive(Clone, Default)]
pub(crate) struct Connectors {
    own: Vec<Arc<dyn Connect>>,
    /// How addresses of TLS are connected; `None`: with the roots of the system.
    #[cfg(feature = "tls")]
    tls: Option<ClientTls>,
}

impl Connectors {
    /// Adds a connector; it replaces an earlier one of the same scheme.
    pub(crate) fn add(&mut self, connector: impl Connect) {
        self.own
            .retain(|other| other.scheme() != connector.scheme());
        self.own.push(Arc::new(connector));
    }

    #[cfg(feature = "tls")]
    pub(crate) fn set_tls(&mut self, tls: ClientTls) {
        self.tls = Some(tls);
    }

    /// The connector for an address.
    ///
    /// # Errors
    ///
    /// If there is none; the text says which crate or method provides one. Also if there are settings of TLS, and
    /// the address has none: what was meant to be encrypted must not travel in plain.
    pub(crate) fn find(&self, address: &Address) -> Result<Arc<dyn Connect>, String> {
        #[cfg(feature = "tls")]
        if self.tls.is_some() && !matches!(address, Address::Tls(_)) {
            let with_tls = Address::Tls(Box::new(address.clone()));
            return Err(format!(
                "`tls(..)` was given, but {address} has no TLS: use {with_tls}"
            ));
        }
        self.find_any(address)
    }

    /// Whether there are settings of TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    fn find_any(&self, address: &Address) -> Result<Arc<dyn Connect>, String> {
        let scheme = address.scheme();
        if let Some(own) = self.own.iter().find(|own| own.scheme() == scheme) {
            return Ok(own.clone());
        }
        match address {
            Address::Tcp(_) => Ok(Arc::new(Tcp)),
            Address::Unix(_) | Address::Abstract(_) => Ok(Arc::new(Unix)),
            Address::Pipe(_) => Ok(Arc::new(NamedPipe)),
            Address::Memory(_) => Ok(Arc::new(Memory)),
            #[cfg(feature = "tls")]
            Address::Tls(below) => {
                let below = self.find_any(below)?;
                Ok(Arc::new(TlsConnector::new(below, self.tls.clone())))
            }
            #[cfg(not(feature = "tls"))]
            Address::Tls(_) => Err(WITHOUT_TLS.to_owned()),
            Address::Other { .. } => Err(missing("connector", scheme)),
        }
    }
}

/// The advice for addresses of TLS.
#[cfg(not(feature = "tls"))]
const WITHOUT_TLS: &str =
    "TLS needs the feature `tls` of the crate wawo, as in `cargo add wawo --features tls`";

impl fmt::Debug for Connectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schemes = self.own.iter().map(|connector| connector.scheme());
        f.debug_list().entries(schemes).finish()
    }
}

/// Schemes that have a crate: scheme, crate, and the type or function for the builders.
const KNOWN: [(&str, &str, &str); 3] = [
    ("ws", "wawo-http", "WebSocket"),
    ("wss", "wawo-http", "WebSocket"),
    ("nats", "wawo-nats", "Nats"),
];

/// Schemes of protocols that wawo does not speak. Users of other frameworks write them for TCP.
const FOREIGN: [&str; 3] = ["http", "https", "grpc"];

/// The text for a builder without a connector or listener for a scheme; it says which crate provides one.
/// `role` is the name of the builder's method.
fn missing(role: &str, scheme: &str) -> String {
    let advice = match KNOWN.iter().find(|(known, ..)| *known == scheme) {
        Some((_, package, value)) => {
            format!("add the crate {package} and `.{role}({value}::new())`")
        }
        None if FOREIGN.contains(&scheme) => "write tcp://host:port".to_owned(),
        None if role == "connector" => "pass one for it by `PeerBuilder::connector`".to_owned(),
        None => "pass one for it by `ServerBuilder::listener`".to_owned(),
    };
    format!("no {role} for `{scheme}://`: {advice}")
}

/// The [`Listen`]s of one server. Its own come before those that are built in.
#[derive(Clone, Default)]
pub(crate) struct ListenSchemes(Vec<Arc<dyn Listen>>);

impl ListenSchemes {
    /// Adds a [`Listen`]; it replaces an earlier one of the same scheme.
    pub(crate) fn add(&mut self, listen: impl Listen) {
        self.0.retain(|other| other.scheme() != listen.scheme());
        self.0.push(Arc::new(listen));
    }

    /// The [`Listen`] for an address.
    ///
    /// # Errors
    ///
    /// If there is none. The text says which crate or method provides one.
    pub(crate) fn find(&self, address: &Address) -> Result<Arc<dyn Listen>, String> {
        let scheme = address.scheme();
        if let Some(own) = self.0.iter().find(|own| own.scheme() == scheme) {
            return Ok(own.clone());
        }
        match address {
            Address::Tcp(_) => Ok(Arc::new(Tcp)),
            Address::Unix(_) | Address::Abstract(_) => Ok(Arc::new(Unix)),
            Address::Pipe(_) => Ok(Arc::new(NamedPipe)),
            Address::Memory(_) => Ok(Arc::new(Memory)),
            #[cfg(feature = "tls")]
            Address::Tls(below) => self.find(below),
            #[cfg(not(feature = "tls"))]
            Address::Tls(_) => Err(WITHOUT_TLS.to_owned()),
            Address::Other { .. } => Err(missing("listener", scheme)),
        }
    }
}

impl fmt::Debug for ListenSchemes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schemes = self.0.iter().map(|listen| listen.scheme());
        f.debug_list().entries(schemes).finish()
    }
}
