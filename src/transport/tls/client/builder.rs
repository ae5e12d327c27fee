//! The settings of TLS at the side that connects.

use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::{crypto::CryptoProvider, pki_types::CertificateDer};

use crate::transport::tls::{
    ClientTls, TlsError, certificate::CertificateSource, client::settings::ClientSettings,
    live::Live, pem::Pem, server_name, trust::read_system_roots,
};

/// The settings of a [`ClientTls`]; made by [`ClientTls::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientTlsBuilder {
    settings: ClientSettings,
    trusts_system: bool,
    server_name: Option<String>,
}

impl ClientTls {
    /// All settings. The default trusts the roots of the system.
    pub fn builder() -> ClientTlsBuilder {
        ClientTlsBuilder {
            settings: ClientSettings::default(),
            trusts_system: false,
            server_name: None,
        }
    }

    /// The configuration of all addresses for which none was given. The roots of the system are read once.
    pub(in crate::transport::tls) fn of_system() -> Result<Self, TlsError> {
        static OF_SYSTEM: OnceLock<ClientTls> = OnceLock::new();
        if let Some(tls) = OF_SYSTEM.get() {
            return Ok(tls.clone());
        }
        let tls = Self::builder().build()?;
        Ok(OF_SYSTEM.get_or_init(|| tls).clone())
    }
}

impl ClientTlsBuilder {
    /// Trusts servers whose certificate one of these roots has signed. Each call adds roots. Default: those of
    /// the system, which no longer count once roots are given.
    pub fn roots(mut self, roots: Pem) -> Self {
        self.settings.servers.roots.push(roots);
        self
    }

    /// As [`roots`](Self::roots), with one root in DER.
    pub fn root_der(mut self, root: impl Into<Vec<u8>>) -> Self {
        self.settings
            .servers
            .der_roots
            .push(CertificateDer::from(root.into()));
        self
    }

    /// Trusts the roots of the system too, beside those that are given. They are read once, when this is built:
    /// on Linux from the files of the distribution, or from `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    pub fn system_roots(mut self) -> Self {
        self.trusts_system = true;
        self
    }

    /// Refuses a server whose certificate is in this list (CRL) of its issuer. With at least one list, each
    /// issuer in the server's chain except for the root needs one. A list that is out of date goes on to count.
    pub fn revocation_list(mut self, list: Pem) -> Self {
        self.settings.servers.revocation_lists.push(list);
        self
    }

    /// The certificate that this side shows to servers that ask for one, with the certificates between it and
    /// the root behind it, and its key: PKCS#8, PKCS#1 or SEC1, without a password. Default: none.
    pub fn certificate(mut self, chain: Pem, key: Pem) -> Self {
        self.settings.certificate = Some(CertificateSource { chain, key });
        self
    }

    /// The name that the server's certificate has to have, and that this side asks for (SNI): a host or an IP
    /// address. Default: the host of the address.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Accepts a certificate with any name, as long as a trusted root has signed it. Then each owner of such a
    /// certificate may pretend to be the server: use it only with roots of your own that sign nothing else. To
    /// connect by an IP address or through a proxy, [`server_name`](Self::server_name) is enough.
    pub fn danger_accept_any_server_name(mut self) -> Self {
        self.settings.accepts_any_name = true;
        self
    }

    /// Uses another implementation of the cryptography. Default: ring.
    pub fn crypto_provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.settings.crypto_provider = Some(provider);
        self
    }

    /// Reads the files, and the roots of the system if they are trusted.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or has no PEM of its kind, if key and certificate do not belong together, if the
    /// system has no roots, or if a setting is wrong.
    pub fn build(mut self) -> Result<ClientTls, TlsError> {
        if self.trusts_system || self.settings.servers.is_empty() {
            self.settings.servers.system_roots = Some(read_system_roots()?);
        }
        let name = self.server_name.as_deref().map(server_name::parse);
        let server_name = name.transpose().map_err(|error| TlsError::Content {
            place: "the `server_name` of TLS".to_owned(),
            reason: error.to_string(),
        })?;
        Ok(ClientTls::new(Live::new(self.settings)?, server_name))
    }
}
