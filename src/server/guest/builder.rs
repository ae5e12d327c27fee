//! The builder of a guest.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Weak},
};

use crate::{
    identity::Identity,
    peer::GuestInfo,
    server::{ServeError, guest::Guest, registry::ConnectionPlace, state::ServerState},
    transport::Address,
};

/// Builds a [`Guest`]; made by [`Gateway::guest`](crate::Gateway::guest).
///
/// The address, the names and the extensions are set before the guest exists, so that events, layers and
/// handlers never see it without them. Dropping the builder makes no guest.
///
/// ```
/// # use wawo::Identity;
/// # struct User(&'static str);
/// # fn open(gateway: &wawo::Gateway, arrival: &wawo::Arrival) -> Result<(), wawo::ServeError> {
/// let guest = gateway.guest().address(arrival.address().clone());
/// let guest = guest.claimed_name("ada").identity(Identity::new(User("ada"))).build()?;
/// assert_eq!(guest.peer().claimed_name(), "ada");
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct GuestBuilder {
    state: Arc<ServerState>,
    /// The place of the socket that the guest comes by, if it is one of the server's.
    place: Option<Weak<ConnectionPlace>>,
    info: GuestInfo,
}

impl GuestBuilder {
    pub(crate) fn new(
        state: Arc<ServerState>,
        place: Option<Weak<ConnectionPlace>>,
        protocol: Cow<'static, str>,
    ) -> Self {
        let info = GuestInfo::new(protocol);
        Self { state, place, info }
    }

    /// Sets the address that the guest comes from: its [`Peer::address`](crate::Peer::address). The
    /// default is the address of the socket that the guest comes by, and none if the server does not know
    /// that.
    pub fn address(mut self, address: Address) -> Self {
        self.info.address = Some(address);
        self
    }

    /// Sets the name that the guest claims: its [`Peer::claimed_name`](crate::Peer::claimed_name). Default
    /// empty.
    pub fn claimed_name(mut self, name: impl Into<String>) -> Self {
        self.info.claimed_name = name.into();
        self
    }

    /// Sets who the guest was proven to be: its [`Peer::identity`](crate::Peer::identity), most often from
    /// [`Gateway::authenticate`](crate::Gateway::authenticate). A call may have
    /// [another](crate::Request::set_identity). Default none.
    pub fn identity(mut self, identity: impl Into<Option<Identity>>) -> Self {
        self.info.identity = identity.into();
        self
    }

    /// Adds a value to its [`Peer::extensions`](crate::Peer::extensions). It replaces an earlier one of its
    /// type.
    pub fn extension<T: Send + Sync + 'static>(self, value: T) -> Self {
        self.info.extensions.insert(value);
        self
    }

    /// Makes the guest: a peer whose calls come by this protocol.
    /// [`PeerEvent::Connected`](crate::PeerEvent::Connected) reports it.
    ///
    /// Make one for each connection of the protocol, at its first call: a connection that only probes
    /// whether the server is there then causes no events.
    ///
    /// # Errors
    ///
    /// If the server takes no more connections.
    pub fn build(self) -> Result<Guest, ServeError> {
        let place = self.place.as_ref().and_then(Weak::upgrade);
        Guest::new(&self.state, place.as_deref(), self.info)
    }
}

impl fmt::Debug for GuestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestBuilder")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
