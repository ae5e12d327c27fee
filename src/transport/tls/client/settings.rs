//! The configuration of TLS at the side that connects, as made from settings and files.

use std::sync::Arc;

use tokio_rustls::rustls::{
    ClientConfig,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    sign::SingleCertAndKey,
};

use crate::transport::tls::{
    TlsError,
    alpn::WAWO,
    certificate::{Certificate, CertificateSource},
    client::any_name::AnyServerName,
    live::{LiveConfig, Load},
    provider::or_default_provider,
    trust::{Trust, TrustSource},
};

/// The settings of which a configuration is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientSettings {
    pub(super) certificate: Option<CertificateSource>,
    pub(super) servers: TrustSource,
    pub(super) accepts_any_name: bool,
    pub(super) crypto_provider: Option<Arc<CryptoProvider>>,
}

/// The protocols that a connecting side offers.
pub(super) fn protocols() -> Vec<Vec<u8>> {
    vec![WAWO.to_vec()]
}

impl ClientSettings {
    pub(super) fn has_files(&self) -> bool {
        self.servers.has_files()
            || self
                .certificate
                .as_ref()
                .is_some_and(CertificateSource::is_file)
    }

    fn verifier(&self, trust: Trust) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let provider = or_default_provider(self.crypto_provider.as_ref());
        let builder = WebPkiServerVerifier::builder_with_provider(trust.roots, provider);
        let built = builder.with_crls(trust.revocation_lists).build();
        let verifier = built.map_err(|error| TlsError::Content {
            place: "the roots or revocation lists for servers".to_owned(),
            reason: error.to_string(),
        })?;
        Ok(match self.accepts_any_name {
            true => Arc::new(AnyServerName(verifier)),
            false => verifier,
        })
    }

    fn config(
        &self,
        certificate: Option<Certificate>,
        trust: Trust,
    ) -> Result<ClientConfig, TlsError> {
        let builder =
            ClientConfig::builder_with_provider(or_default_provider(self.crypto_provider.as_ref()));
        let builder = builder.with_safe_default_protocol_versions()?;
        // It only means that the verifier may be another than that of the library.
        let builder = builder.dangerous();
        let builder = builder.with_custom_certificate_verifier(self.verifier(trust)?);
        let mut config = match certificate {
            Some(certificate) => {
                let resolver = SingleCertAndKey::from(certificate.into_shared());
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols();
        Ok(config)
    }
}

impl Load for ClientSettings {
    type Config = ClientConfig;

    const SIDE: &'static str = "client";

    /// New files also mean that no session of those before is resumed.
    fn load(
        &self,
        before: Option<&LiveConfig<ClientConfig>>,
    ) -> Result<LiveConfig<ClientConfig>, TlsError> {
        let provider = or_default_provider(self.crypto_provider.as_ref());
        let read = self
            .certificate
            .as_ref()
            .map(|source| source.read(&provider));
        let (certificate, trust) = (read.transpose()?, self.servers.read()?);
        let prints = (
            certificate
                .as_ref()
                .map(|certificate| certificate.fingerprint),
            Some(trust.fingerprint),
        );
        let is_same =
            |before: &&LiveConfig<ClientConfig>| (before.certificate, before.trust) == prints;
        if let Some(before) = before.filter(is_same) {
            return Ok(before.clone());
        }
        Ok(LiveConfig {
            config: Arc::new(self.config(certificate, trust)?),
            certificate: prints.0,
            trust: prints.1,
        })
    }
}
