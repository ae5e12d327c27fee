//! The settings of TLS at the side that accepts.

use std::{sync::Arc, time::Duration};

use tokio_rustls::rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring::Ticketer},
    pki_types::CertificateDer,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::SingleCertAndKey,
};

use crate::transport::tls::{
    ServerTls, TlsError,
    certificate::CertificateSource,
    live::{Live, Load, Loaded},
    pem::Pem,
    provider::or_ring,
    trust::{Trust, TrustSource},
};

/// The settings of a [`ServerTls`]; made by [`ServerTls::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct ServerTlsBuilder {
    certificate: Option<CertificateSource>,
    clients: TrustSource,
    are_certificates_optional: bool,
    provider: Option<Arc<CryptoProvider>>,
    reload_interval: Option<Duration>,
}

/// The configuration of a server.
pub(crate) struct ServerSide {
    pub(crate) config: Arc<ServerConfig>,
    /// Verifies certificates of clients; `None` if they are not asked for, or if the program has made the
    /// configuration itself.
    pub(crate) verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// How often files are looked at. Certificates are renewed days before they expire.
pub(crate) const RELOAD_INTERVAL: Duration = Duration::from_secs(60);

impl ServerTlsBuilder {
    pub(super) fn new() -> Self {
        Self {
            certificate: None,
            clients: TrustSource::default(),
            are_certificates_optional: false,
            provider: None,
            reload_interval: Some(RELOAD_INTERVAL),
        }
    }

    /// The certificate of the server, with the certificates between it and the root behind it, and its key:
    /// PKCS#8, PKCS#1 or SEC1, without a password.
    pub fn certificate(mut self, chain: Pem, key: Pem) -> Self {
        self.certificate = Some(CertificateSource { chain, key });
        self
    }

    /// Asks each client for a certificate that one of these roots has signed, and refuses clients without one.
    /// Each call adds roots. Default: clients are not asked.
    pub fn client_roots(mut self, roots: Pem) -> Self {
        self.clients.roots.push(roots);
        self
    }

    /// As [`client_roots`](Self::client_roots), with one root in DER.
    pub fn client_root_der(mut self, root: impl Into<Vec<u8>>) -> Self {
        self.clients
            .der_roots
            .push(CertificateDer::from(root.into()));
        self
    }

    /// Also takes clients without a certificate; a wrong one is refused all the same. The authenticator then
    /// decides. It needs [`client_roots`](Self::client_roots).
    pub fn client_certificates_optional(mut self) -> Self {
        self.are_certificates_optional = true;
        self
    }

    /// Refuses clients whose certificate is in this list (CRL) of its issuer. With at least one list, each
    /// issuer in a client's chain except for the root needs one; without, its clients are refused. A list that
    /// is out of date goes on to count.
    pub fn client_revocation_list(mut self, list: Pem) -> Self {
        self.clients.revocation_lists.push(list);
        self
    }

    /// Uses another implementation of the cryptography. Default: ring.
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// How often the files are looked at while there is a runtime: at least 1 ms, or `None` for never. Default:
    /// 60 s.
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
        let has_files = self.clients.has_files()
            || self
                .certificate
                .as_ref()
                .is_some_and(CertificateSource::is_file);
        Ok(ServerTls {
            live: Arc::new(Live::new(self)?),
            interval: interval.filter(|_| has_files),
        })
    }

    fn verifier(&self, trust: Trust) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let provider = or_ring(self.provider.as_ref());
        let builder = WebPkiClientVerifier::builder_with_provider(trust.roots, provider)
            .with_crls(trust.revocation_lists);
        let builder = match self.are_certificates_optional {
            true => builder.allow_unauthenticated(),
            false => builder,
        };
        builder.build().map_err(|error| TlsError::Content {
            place: "the roots or revocation lists for clients".to_owned(),
            reason: error.to_string(),
        })
    }

    /// The certificates of clients, if they are asked for.
    fn trust(&self) -> Result<Option<Trust>, TlsError> {
        if !self.clients.is_empty() {
            return self.clients.read().map(Some);
        }
        match self.are_certificates_optional || !self.clients.revocation_lists.is_empty() {
            true => Err(TlsError::Setting(
                "settings for certificates of clients need roots: give them by `client_roots`",
            )),
            false => Ok(None),
        }
    }
}

impl Load for ServerTlsBuilder {
    type Config = ServerSide;

    const NAME: &'static str = "server";

    fn load(&self, before: Option<&Loaded<ServerSide>>) -> Result<Loaded<ServerSide>, TlsError> {
        let provider = or_ring(self.provider.as_ref());
        let source = self.certificate.as_ref();
        let missing = "a server needs a certificate for TLS: give one by `ServerTls::builder().certificate(..)`";
        let certificate = source.ok_or(TlsError::Setting(missing))?.read(&provider)?;
        let trust = self.trust()?;
        let prints = (
            Some(certificate.fingerprint),
            trust.as_ref().map(|trust| trust.fingerprint),
        );
        let before = before.filter(|before| before.trust == prints.1);
        if let Some(before) = before.filter(|before| before.certificate == prints.0) {
            return Ok(before.clone());
        }
        let verifier = trust.map(|trust| self.verifier(trust)).transpose()?;
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions()?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
            None => builder.with_no_client_auth(),
        };
        let resolver = SingleCertAndKey::from(certificate.into_shared());
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        // Sessions of clients that other roots have verified must not be resumed.
        config.ticketer = match before {
            Some(before) => before.config.config.ticketer.clone(),
            None => Ticketer::new()?,
        };
        let config = Arc::new(config);
        Ok(Loaded {
            config: Arc::new(ServerSide { config, verifier }),
            certificate: prints.0,
            trust: prints.1,
        })
    }
}
