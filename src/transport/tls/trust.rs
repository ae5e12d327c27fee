//! The root certificates that this side trusts, and the lists of certificates that were revoked.

use std::sync::Arc;

use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject},
};

use crate::transport::tls::{
    TlsError,
    certificate::{certificates, content},
    live::{Fingerprint, fingerprint},
    pem::Pem,
};

/// The places of roots and revocation lists.
#[derive(Debug, Clone, Default)]
pub(super) struct TrustSource {
    pub(super) roots: Vec<Pem>,
    pub(super) der_roots: Vec<CertificateDer<'static>>,
    /// The roots of the system, if they are trusted.
    pub(super) system_roots: Option<RootCertStore>,
    pub(super) revocation_lists: Vec<Pem>,
}

/// Roots and revocation lists, as read at one time.
pub(super) struct Trust {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) revocation_lists: Vec<CertificateRevocationListDer<'static>>,
    pub(super) fingerprint: Fingerprint,
}

impl TrustSource {
    /// Whether it names no root at all.
    pub(super) fn is_empty(&self) -> bool {
        self.roots.is_empty() && self.der_roots.is_empty() && self.system_roots.is_none()
    }

    pub(super) fn has_files(&self) -> bool {
        self.roots.iter().any(Pem::is_file) || self.revocation_lists.iter().any(Pem::is_file)
    }

    pub(super) fn read(&self) -> Result<Trust, TlsError> {
        let mut roots = self
            .system_roots
            .clone()
            .unwrap_or_else(RootCertStore::empty);
        let mut texts = Vec::new();
        for root in &self.der_roots {
            let added = roots.add(root.clone());
            added.map_err(|error| TlsError::Content {
                place: "a root certificate in DER".to_owned(),
                reason: format!("it is broken: {error}"),
            })?;
        }
        for pem in &self.roots {
            let text = pem.read()?;
            for root in certificates(pem, &text)? {
                let added = roots.add(root);
                added.map_err(|error| {
                    content(pem, format!("one of its roots is broken: {error}"))
                })?;
            }
            texts.push(text);
        }
        let mut revocation_lists = Vec::new();
        for pem in &self.revocation_lists {
            let text = pem.read()?;
            revocation_lists.extend(lists(pem, &text)?);
            texts.push(text);
        }
        let fingerprint = fingerprint(texts.iter().map(Vec::as_slice));
        Ok(Trust {
            roots: Arc::new(roots),
            revocation_lists,
            fingerprint,
        })
    }
}

/// The revocation lists in a PEM text, at least one.
fn lists(pem: &Pem, text: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(text).collect();
    let lists = read.map_err(|error| content(pem, format!("it is no valid PEM: {error}")))?;
    match lists.is_empty() {
        true => {
            let reason = "it has no revocation list, which begins with `-----BEGIN X509 CRL-----`";
            Err(content(pem, reason.to_owned()))
        }
        false => Ok(lists),
    }
}

/// The roots that the system trusts. Some of them may be of a form that the library does not know.
pub(super) fn read_system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    if ignored > 0 {
        tracing::debug!(
            target: "wawo::tls",
            added,
            ignored,
            "some root certificates of the system cannot be used"
        );
    }
    if added > 0 {
        return Ok(roots);
    }
    let first = found.errors.first().map(ToString::to_string);
    let reason = first.unwrap_or_else(|| "there are none".to_owned());
    Err(TlsError::SystemRoots(reason))
}
