//! The facts that a transport knows about its other end.

use std::fmt;

use bytes::Bytes;

/// The facts about the other end of a transport that do not depend on what it says: from
/// [`Transport::facts`](crate::Transport::facts). The default has none.
#[derive(Clone, Default)]
pub struct PeerFacts {
    unix_user: Option<u32>,
    certificates: Vec<Bytes>,
}

impl PeerFacts {
    /// No facts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the user id of the process at the other end.
    #[must_use = "returns the facts with the user"]
    pub fn with_unix_user(mut self, uid: u32) -> Self {
        self.unix_user = Some(uid);
        self
    }

    /// Sets the certificates of the other end, which the caller has verified: each in DER, the end's own
    /// first, then those that signed it.
    #[must_use = "returns the facts with the certificates"]
    pub fn with_certificates(mut self, chain: Vec<Bytes>) -> Self {
        self.certificates = chain;
        self
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.unix_user.is_none() && self.certificates.is_empty()
    }

    /// The user id of the process at the other end of a Unix socket, as the system says: the one that it
    /// had when it connected or began to listen. With a proxy in between it is that of the proxy.
    pub fn unix_user(&self) -> Option<u32> {
        self.unix_user
    }

    /// The verified certificates of the other end: each in DER, its own first. Empty without TLS, and if
    /// it has shown none.
    pub fn certificates(&self) -> &[Bytes] {
        &self.certificates
    }
}

impl fmt::Debug for PeerFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerFacts")
            .field("unix_user", &self.unix_user)
            .field("certificates", &self.certificates.len())
            .finish()
    }
}

#[cfg(unix)]
impl PeerFacts {
    /// The user at the other end of a Unix socket.
    pub(super) fn of_unix_socket(socket: &tokio::net::UnixStream) -> Self {
        match socket.peer_cred() {
            Ok(credentials) => Self::default().with_unix_user(credentials.uid()),
            // The other end has closed the socket already.
            Err(_) => Self::default(),
        }
    }
}
