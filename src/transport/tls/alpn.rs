//! The protocols that a server offers inside of TLS (ALPN, RFC 7301).

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_rustls::rustls::ServerConfig;

/// The ALPN id of wawo's own protocol.
pub(super) const WAWO: &[u8] = b"wawo/1";

/// Adds the protocols of one server to a configuration of TLS, which several servers may share.
#[derive(Default)]
pub(crate) struct OfferedProtocols {
    /// The ids of the server's other protocols.
    others: Vec<Vec<u8>>,
    /// The last configuration that was asked for, and the same with the protocols.
    last: Mutex<Option<(Arc<ServerConfig>, Arc<ServerConfig>)>>,
}

impl OfferedProtocols {
    pub(crate) fn new(others: Vec<Vec<u8>>) -> Self {
        let last = Mutex::default();
        Self { others, last }
    }

    /// The configuration with the protocols of the server. One that names protocols itself stays as it is.
    pub(crate) fn added_to(&self, config: Arc<ServerConfig>) -> Arc<ServerConfig> {
        if !config.alpn_protocols.is_empty() {
            return config;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((base, with)) = &*last
            && Arc::ptr_eq(base, &config)
        {
            return with.clone();
        }
        let mut with = ServerConfig::clone(&config);
        with.alpn_protocols = vec![WAWO.to_vec()];
        with.alpn_protocols.extend(self.others.iter().cloned());
        let with = Arc::new(with);
        *last = Some((config, with.clone()));
        with
    }
}

impl fmt::Debug for OfferedProtocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self.others.iter().map(|id| String::from_utf8_lossy(id));
        f.debug_list().entries(others).finish()
    }
}
