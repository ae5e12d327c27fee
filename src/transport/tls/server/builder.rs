//! The settings of TLS at the side that accepts.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio_rustls::rustls::{crypto::CryptoProvider, pki_types::CertificateDer};

use crate::transport::tls::{
    ServerTls, TlsError, certificate::CertificateSource, live::Live, pem::Pem,
    server::settings::ServerSettings,
};

/// The settings of a [`ServerTls`]; made by [`ServerTls::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct ServerTlsBuilder {
    settings: ServerSettings,
    reload_interval: Option<Duration>,
}

/// How often files are looked at. Certificates are renewed days before they expire.
pub(crate) const RELOAD_INTERVAL: Duration = Duration::from_secs(60);

impl ServerTls {
    /// A server with the certificate (and the chain behind it) in one PEM file and its key in another. It asks
    /// clients for no certificates.
    ///
    /// # Errors
    ///
    /// As [`ServerTlsBuilder::build`].
    pub fn from_pem_files(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let (certificate, key) = (Pem::file(certificate), Pem::file(key));
        Self::builder().certificate(certificate, key).build()
    }

    /// The same, from PEM text in memory.
    ///
    /// # Errors
    ///
    /// As [`ServerTlsBuilder::build`].
    pub fn from_pem(
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Result<Self, TlsError> {
        let (certificate, key) = (Pem::bytes(certificate), Pem::bytes(key));
        Self::builder().certificate(certificate, key).build()
    }

    /// All settings. [`certificate`](ServerTlsBuilder::certificate) has to be set.
    pub fn builder() -> ServerTlsBuilder {
        ServerTlsBuilder {
            settings: ServerSettings::default(),
            reload_interval: Some(RELOAD_INTERVAL),
        }
    }
}

impl ServerTlsBuilder {
    /// The certificate of the server, with the certificates between it and the root behind it, and its key:
    /// PKCS#8, PKCS#1 or SEC1, without a password.
    pub fn certificate(mut self, chain: Pem, key: Pem) -> Self {
        self.settings.certificate = Some(CertificateSource { chain, key });
        self
    }

    /// Asks each client for a certificate that one of these roots has signed, and refuses clients without one.
    /// Each call adds roots. Default: clients are not asked.
    pub fn client_roots(mut self, roots: Pem) -> Self {
        self.settings.clients.roots.push(roots);
        self
    }

    /// As [`client_roots`](Self::client_roots), with one root in DER.
    pub fn client_root_der(mut self, root: impl Into<Vec<u8>>) -> Self {
        self.settings
            .clients
            .der_roots
            .push(CertificateDer::from(root.into()));
        self
    }

    /// Also takes clients without a certificate; a wrong one is refused all the same. The authenticator then
    /// decides. It needs [`client_roots`](Self::client_roots).
    pub fn client_certificates_optional(mut self) -> Self {
        self.settings.are_certificates_optional = true;
        self
    }

    /// Refuses clients whose certificate is in this list (CRL) of its issuer. With at least one list, each
    /// issuer in a client's chain except for the root needs one; without, its clients are refused. A list that
    /// is out of date goes on to count.
    pub fn client_revocation_list(mut self, list: Pem) -> Self {
        self.settings.clients.revocation_lists.push(list);
        self
    }

    /// Uses another implementation of the cryptography. Default: ring.
    pub fn crypto_provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.settings.crypto_provider = Some(provider);
        self
    }

    /// How often [`Server::run`](crate::Server::run) looks at the files: at least 1 ms, or `None` for never.
    /// Default: 60 s.
    pub fn reload_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.reload_interval = interval.into();
        self
    }

    /// Reads the files.
    ///
    /// # Errors
    ///
    /// If there is no certificate, if a file cannot be read or has no PEM of its kind, if key and certificate
    /// do not belong together, or if a setting is wrong.
    pub fn build(self) -> Result<ServerTls, TlsError> {
        let interval = self.reload_interval;
        if interval.is_some_and(|interval| interval < Duration::from_millis(1)) {
            return Err(TlsError::Setting(
                "the reload_interval of TLS must be at least 1 ms",
            ));
        }
        let has_files = self.settings.has_files();
        Ok(ServerTls::new(
            Live::new(self.settings)?,
            interval.filter(|_| has_files),
        ))
    }
}
