//! Credentials: bytes that nobody may read in a log.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The proof of who a side is, for the other side to check: a token, a password, a signed text. The default
/// is empty, which is the same as none.
///
/// `Debug` does not print it, and there is no `==`: [`matches`](Self::matches) compares without telling, by
/// the time that it takes, where the difference is. The bytes are cleared when the last clone is dropped.
/// That does not reach the copies on the way, such as the buffers of sockets.
///
/// They travel in the hello, as they are: over TCP without TLS, everyone on the way can read and use them.
/// [`Config::max_credentials_bytes`](crate::Config::max_credentials_bytes) is the room for them.
#[derive(Clone, Default)]
pub struct Credentials(Arc<Zeroizing<Vec<u8>>>);

impl Credentials {
    /// Credentials of these bytes, whose form only the two sides know.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes.into())))
    }

    /// A token, such as a JWT: the bytes of its text.
    pub fn token(token: impl Into<String>) -> Self {
        Self::new(token.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as a text. `None` if there are none, or they are not UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        let text = str::from_utf8(&self.0).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether they are these. The time that it takes depends on the two lengths only. Nothing matches an
    /// empty secret, so that a secret that is not set lets nobody in.
    pub fn matches(&self, secret: impl AsRef<[u8]>) -> bool {
        let secret = secret.as_ref();
        !secret.is_empty() && bool::from(self.0.ct_eq(secret))
    }

    /// The bytes for a hello, which are cleared with the last clone too.
    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Credentials {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::Credentials;

    #[test]
    fn only_the_same_bytes_match_and_an_empty_secret_matches_nothing() {
        let token = Credentials::token("secret");
        assert!(token.matches("secret") && token.matches(token.clone()));
        for other in ["", "secre", "secret!", "Secret"] {
            assert!(!token.matches(other), "{other}");
        }
        assert!(!Credentials::default().matches(""));
        assert!(!Credentials::default().matches("secret"));
    }

    #[test]
    fn a_text_is_read_back_and_never_printed() {
        let token = Credentials::token("secret");
        assert_eq!(token.as_str(), Some("secret"));
        assert_eq!(token.as_bytes(), b"secret");
        assert_eq!(format!("{token:?}"), "Credentials(..)");
        assert_eq!(token.into_bytes(), "secret");
        assert_eq!(Credentials::default().as_str(), None);
        assert_eq!(Credentials::new([0xff]).as_str(), None);
    }
}
