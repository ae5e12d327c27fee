//! The settings of TLS at the side that connects.

use std::sync::Arc;

use tokio_rustls::rustls::{
    ClientConfig,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::CertificateDer,
    sign::SingleCertAndKey,
};

use crate::transport::tls::{
    ClientTls, TlsError,
    alpn::WAWO,
    certificate::{Certificate, CertificateSource},
    client::any_name::AnyServerName,
    live::{Live, Load, Loaded},
    pem::Pem,
    provider::or_ring,
    server_name,
    trust::{Trust, TrustSource},
};

/// The settings of a [`ClientTls`]; made by [`ClientTls::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientTlsBuilder {
    certificate: Option<CertificateSource>,
    servers: TrustSource,
    server_name: Option<String>,
    accepts_any_name: bool,
    provider: Option<Arc<CryptoProvider>>,
}

/// The protocols that a connecting side offers.
pub(super) fn protocols() -> Vec<Vec<u8>> {
    vec![WAWO.to_vec()]
}

impl ClientTlsBuilder {
    pub(super) fn new() -> Self {
        Self {
            certificate: None,
            servers: TrustSource::default(),
            server_name: None,
            accepts_any_name: false,
            provider: None,
        }
    }

    /// Trusts servers whose certificate one of these roots has signed. Each call adds roots. Default: those of
    /// the system, which no longer count once roots are given.
    pub fn roots(mut self, roots: Pem) -> Self {
        self.servers.roots.push(roots);
        self
    }

    /// As [`roots`](Self::roots), with one root in DER.
    pub fn root_der(mut self, root: impl Into<Vec<u8>>) -> Self {
        self.servers
            .der_roots
            .push(CertificateDer::from(root.into()));
        self
    }

    /// Trusts the roots of the system too, beside those that are given. They are read once, when this is built:
    /// on Linux from the files of the distribution, or from `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    pub fn system_roots(mut self) -> Self {
        self.servers.uses_system = true;
        self
    }

    /// Refuses a server whose certificate is in this list (CRL) of its issuer. With at least one list, each
    /// issuer in the server's chain except for the root needs one. A list that is out of date goes on to count.
    pub fn revocation_list(mut self, list: Pem) -> Self {
        self.servers.revocation_lists.push(list);
        self
    }

    /// The certificate that this side shows to servers that ask for one, with the certificates between it and
    /// the root behind it, and its key: PKCS#8, PKCS#1 or SEC1, without a password. Default: none.
    pub fn certificate(mut self, chain: Pem, key: Pem) -> Self {
        self.certificate = Some(CertificateSource { chain, key });
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
        self.accepts_any_name = true;
        self
    }

    /// Uses another implementation of the cryptography. Default: ring.
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Reads the files, and the roots of the system if they are trusted.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or has no PEM of its kind, if key and certificate do not belong together, if the
    /// system has no roots, or if a setting is wrong.
    pub fn build(mut self) -> Result<ClientTls, TlsError> {
        if self.servers.is_empty() {
            self.servers.uses_system = true;
        }
        let name = self.server_name.as_deref().map(server_name::parse);
        let server_name = name.transpose().map_err(|error| TlsError::Content {
            place: "the `server_name` of TLS".to_owned(),
            reason: error.to_string(),
        })?;
        Ok(ClientTls {
            live: Arc::new(Live::new(self)?),
            server_name,
        })
    }

    pub(super) fn has_files(&self) -> bool {
        self.servers.has_files()
            || self
                .certificate
                .as_ref()
                .is_some_and(CertificateSource::is_file)
    }

    fn verifier(&self, trust: Trust) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let provider = or_ring(self.provider.as_ref());
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
        let builder = ClientConfig::builder_with_provider(or_ring(self.provider.as_ref()));
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

impl Load for ClientTlsBuilder {
    type Config = ClientConfig;

    const NAME: &'static str = "connecting side";

    /// New files also mean that no session of those before is resumed.
    fn load(
        &self,
        before: Option<&Loaded<ClientConfig>>,
    ) -> Result<Loaded<ClientConfig>, TlsError> {
        let provider = or_ring(self.provider.as_ref());
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
        let is_same = |before: &&Loaded<ClientConfig>| (before.certificate, before.trust) == prints;
        if let Some(before) = before.filter(is_same) {
            return Ok(before.clone());
        }
        Ok(Loaded {
            config: Arc::new(self.config(certificate, trust)?),
            certificate: prints.0,
            trust: prints.1,
        })
    }
}
