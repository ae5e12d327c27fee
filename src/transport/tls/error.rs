//! Why a configuration of TLS cannot be made.

use std::{error::Error, fmt, io, path::PathBuf};

use tokio_rustls::rustls;

use crate::error_chain::ErrorChain;

/// The reason why a [`ServerTls`](crate::tls::ServerTls) or [`ClientTls`](crate::tls::ClientTls) cannot be
/// made, or made anew from its files. It never contains a part of a key. `Display` ends with the cause, and
/// [`source`](Error::source) begins after that cause.
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The text is not what it has to be: no PEM, without a certificate or a key, or a broken one.
    Content {
        /// The file, or `the PEM text in memory`.
        place: String,
        /// The problem, and what to do.
        reason: String,
    },
    /// The key is not that of the certificate.
    WrongKey {
        /// The place of the certificate.
        certificate: String,
        /// The place of the key.
        key: String,
    },
    /// The system has no root certificates, or they cannot be read.
    SystemRoots(String),
    /// A setting is missing or wrong.
    Setting(&'static str),
    /// The provider of cryptography or the TLS library refuses the settings.
    Rustls(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => {
                let path = path.display();
                write!(f, "cannot read `{path}` for TLS: {source}")
            }
            Self::Content { place, reason } => write!(f, "{place}: {reason}"),
            Self::WrongKey { certificate, key } => write!(
                f,
                "the key in {key} is not that of the first certificate in {certificate}; \
                 the file of a chain begins with the certificate of this side"
            ),
            Self::SystemRoots(reason) => write!(
                f,
                "no root certificates of the system: {reason}; install them (on Debian the package \
                 `ca-certificates`), or give roots by `ClientTls::builder().roots(..)`"
            ),
            Self::Setting(reason) => f.write_str(reason),
            Self::Rustls(error) => write!(f, "the settings of TLS cannot be used: {error}"),
        }
    }
}

impl Error for TlsError {
    /// Begins after the cause that `Display` ends with.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read { source, .. } => source.source(),
            Self::Rustls(error) => error.source(),
            _ => None,
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Rustls(error)
    }
}

impl fmt::Debug for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&ErrorChain(self), f)
    }
}
