//! The configuration of TLS at the side that accepts, as made from settings and files.

use std::sync::Arc;

use tokio_rustls::rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring::Ticketer},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::SingleCertAndKey,
};

use crate::transport::tls::{
    TlsError,
    certificate::CertificateSource,
    live::{LiveConfig, Load},
    provider::or_default_provider,
    trust::{Trust, TrustSource},
};

/// The settings of which a configuration is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerSettings {
    pub(super) certificate: Option<CertificateSource>,
    pub(super) clients: TrustSource,
    pub(super) are_certificates_optional: bool,
    pub(super) crypto_provider: Option<Arc<CryptoProvider>>,
}

/// The configuration of a server.
pub(crate) struct ServerSide {
    pub(crate) config: Arc<ServerConfig>,
    /// Verifies certificates of clients; `None` if they are not asked for, or if the program has made the
    /// configuration itself.
    pub(crate) verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl ServerSettings {
    pub(super) fn has_files(&self) -> bool {
        self.clients.has_files()
            || self
                .certificate
                .as_ref()
                .is_some_and(CertificateSource::is_file)
    }

    fn verifier(&self, trust: Trust) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let provider = or_default_provider(self.crypto_provider.as_ref());
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

impl Load for ServerSettings {
    type Config = ServerSide;

    const SIDE: &'static str = "server";

    fn load(
        &self,
        before: Option<&LiveConfig<ServerSide>>,
    ) -> Result<LiveConfig<ServerSide>, TlsError> {
        let provider = or_default_provider(self.crypto_provider.as_ref());
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
        // One is enough for the next connection; it may contain the client's chain of certificates.
        config.send_tls13_tickets = 1;
        // Sessions of clients that other roots have verified must not be resumed.
        config.ticketer = match before {
            Some(before) => before.config.config.ticketer.clone(),
            None => Ticketer::new()?,
        };
        let config = Arc::new(config);
        Ok(LiveConfig {
            config: Arc::new(ServerSide { config, verifier }),
            certificate: prints.0,
            trust: prints.1,
        })
    }
}
