//! All that the other side has presented, for the check of who it is.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    identity::{credentials::Credentials, refusal::Refusal},
    transport::{Address, PeerFacts},
};

/// All that is known of the other side when it asks to be let in, for [`Authenticate`].
///
/// The credentials and the claimed name are what it says. The certificates, the Unix user and, if no proxy
/// in between hides it, the address are facts. `Debug` does not print credentials.
///
/// [`Authenticate`]: crate::Authenticate
#[derive(Debug, Clone)]
pub struct Presented {
    protocol: Cow<'static, str>,
    credentials: Credentials,
    claimed_name: String,
    address: Option<Address>,
    facts: PeerFacts,
}

impl Presented {
    /// A caller by this protocol of which nothing is known yet: for other protocols, which have a
    /// [`Gateway`](crate::Gateway::presented) that makes it, and for tests of an authenticator.
    pub fn new(protocol: impl Into<Cow<'static, str>>) -> Self {
        Self {
            protocol: protocol.into(),
            credentials: Credentials::default(),
            claimed_name: String::new(),
            address: None,
            facts: PeerFacts::default(),
        }
    }

    /// Sets the credentials.
    #[must_use = "returns the caller with the credentials"]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Sets the name that the other side claims.
    #[must_use = "returns the caller with the name"]
    pub fn with_claimed_name(mut self, name: impl Into<String>) -> Self {
        self.claimed_name = name.into();
        self
    }

    /// Sets the address of the other side.
    #[must_use = "returns the caller with the address"]
    pub fn with_address(mut self, address: Address) -> Self {
        self.address = Some(address);
        self
    }

    /// Sets the facts that its transport knows: [`Transport::facts`](crate::Transport::facts).
    #[must_use = "returns the caller with the facts"]
    pub fn with_facts(mut self, facts: PeerFacts) -> Self {
        self.facts = facts;
        self
    }

    /// The protocol that it speaks: `"wawo"`, or the name of another [`Protocol`](crate::Protocol).
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// The credentials; empty if there are none.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The credentials as a text; `None` if there are none, or they are not UTF-8.
    pub fn token(&self) -> Option<&str> {
        self.credentials.as_str()
    }

    /// The name that it claims; not proven. It may be empty.
    pub fn claimed_name(&self) -> &str {
        &self.claimed_name
    }

    /// Requires the credentials to be this secret, one for all callers. The time that it takes tells nothing
    /// of the secret.
    ///
    /// ```
    /// # use wawo::{Presented, Server};
    /// let server = Server::builder().authenticate(async |it: Presented| it.require("secret"));
    /// ```
    ///
    /// # Errors
    ///
    /// A refusal, if they are others, or the secret is empty.
    pub fn require(&self, secret: impl AsRef<[u8]>) -> Result<(), Refusal> {
        match self.credentials.matches(secret) {
            true => Ok(()),
            false => Err(Refusal::new("the credentials are not known")),
        }
    }

    /// The address, as [`Peer::address`](crate::Peer::address) has it.
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// See [`PeerFacts::certificates`].
    pub fn certificates(&self) -> &[Bytes] {
        self.facts.certificates()
    }

    /// See [`PeerFacts::unix_user`].
    pub fn unix_user(&self) -> Option<u32> {
        self.facts.unix_user()
    }
}
