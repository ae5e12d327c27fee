//! The names in a certificate.

use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The names in a verified certificate, which say who its owner is. An authenticator gets certificates from
/// [`PeerFacts::certificates`](crate::transport::PeerFacts::certificates); the first one is that of the other
/// end.
///
/// ```
/// use wawo::{tls::CertificateNames, transport::PeerFacts};
///
/// /// The name of a workload, such as `spiffe://example.org/billing`.
/// fn workload(facts: &PeerFacts) -> Option<String> {
///     let names = CertificateNames::of(facts.certificates().first()?)?;
///     names.uris().iter().find(|uri| uri.starts_with("spiffe://")).cloned()
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateNames {
    dns: Vec<String>,
    uris: Vec<String>,
}

impl CertificateNames {
    /// The names in a certificate, which is in DER; `None` if it is no certificate. Nothing is verified here.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let certificate = CertificateDer::from(certificate);
        let certificate = EndEntityCert::try_from(&certificate).ok()?;
        Some(Self {
            dns: certificate.valid_dns_names().map(str::to_owned).collect(),
            uris: certificate.valid_uri_names().map(str::to_owned).collect(),
        })
    }

    /// The DNS names among its subject alternative names, in their order. Some may begin with `*.`.
    pub fn dns(&self) -> &[String] {
        &self.dns
    }

    /// The URIs among its subject alternative names, in their order; for SPIFFE there is exactly one, which
    /// begins with `spiffe://`.
    pub fn uris(&self) -> &[String] {
        &self.uris
    }
}
