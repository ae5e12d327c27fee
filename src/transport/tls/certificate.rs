//! The certificate of this side, with its key.

use std::sync::Arc;

use tokio_rustls::rustls::{
    self,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use crate::transport::tls::{
    TlsError,
    live::{Fingerprint, fingerprint},
    pem::Pem,
};

/// The places of a certificate and its key.
#[derive(Debug, Clone)]
pub(super) struct CertificateSource {
    pub(super) chain: Pem,
    pub(super) key: Pem,
}

/// A certificate, its chain and its key, as read at one time.
pub(super) struct Certificate {
    pub(super) key: CertifiedKey,
    pub(super) fingerprint: Fingerprint,
}

impl CertificateSource {
    pub(super) fn read(&self, provider: &CryptoProvider) -> Result<Certificate, TlsError> {
        let (chain_text, key_text) = (self.chain.read()?, self.key.read()?);
        let chain = certificates(&self.chain, &chain_text)?;
        let key = key(&self.key, &key_text)?;
        let key =
            CertifiedKey::from_der(chain, key, provider).map_err(|error| self.wrong(error))?;
        let fingerprint = fingerprint([&chain_text[..], &key_text]);
        Ok(Certificate { key, fingerprint })
    }

    pub(super) fn is_file(&self) -> bool {
        self.chain.is_file() || self.key.is_file()
    }

    fn wrong(&self, error: rustls::Error) -> TlsError {
        match error {
            rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch) => {
                TlsError::WrongKey {
                    certificate: self.chain.to_string(),
                    key: self.key.to_string(),
                }
            }
            rustls::Error::InvalidCertificate(_) => content(
                &self.chain,
                format!("its first certificate is broken: {error}"),
            ),
            // The library's text says nothing of the key itself.
            error => content(&self.key, format!("its key cannot be used: {error}")),
        }
    }
}

/// The certificates in a PEM text, in order; at least one.
pub(super) fn certificates(
    pem: &Pem,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let chain = read.map_err(|error| content(pem, format!("it is no valid PEM: {error}")))?;
    match chain.is_empty() {
        true => {
            let reason = "it has no certificate, which begins with `-----BEGIN CERTIFICATE-----`";
            Err(content(pem, reason.to_owned()))
        }
        false => Ok(chain),
    }
}

fn key(pem: &Pem, text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            let reason = "it has no private key, which begins with `-----BEGIN PRIVATE KEY-----` (or EC, \
                          or RSA); keys with a password are not read";
            content(pem, reason.to_owned())
        }
        error => content(pem, format!("it is no valid PEM: {error}")),
    })
}

pub(super) fn content(pem: &Pem, reason: String) -> TlsError {
    let place = pem.to_string();
    TlsError::Content { place, reason }
}

impl Certificate {
    pub(super) fn into_shared(self) -> Arc<CertifiedKey> {
        Arc::new(self.key)
    }
}
