//! A guest before anybody hears of it.

use std::{borrow::Cow, fmt, sync::Arc};

use crate::{
    descriptor::MethodNames,
    peer::{GuestInfo, PeerExtensions},
    server::{ServeError, guest::Guest, registry::ConnectionPlace, state::ServerState},
    transport::Address,
};

/// Says who a guest is before it is welcome, so that listeners to events, layers and handlers never see
/// it without: made by [`Gateway::guest`](crate::Gateway::guest). Dropping it makes no guest.
///
/// ```
/// # struct User(&'static str);
/// # fn come(gateway: &wawo::Gateway, arrival: &wawo::Arrival) -> Result<(), wawo::ServeError> {
/// let guest = gateway.guest().address(arrival.address().clone());
/// let guest = guest.claimed_name("ada").extension(User("ada")).welcome()?;
/// assert_eq!(guest.peer().claimed_name(), "ada");
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until `welcome`"]
pub struct GuestBuilder {
    state: Arc<ServerState>,
    /// Of the socket that the guest comes by, if it is one of the server's.
    place: Option<Arc<ConnectionPlace>>,
    info: GuestInfo,
}

impl GuestBuilder {
    pub(crate) fn new(
        state: Arc<ServerState>,
        place: Option<Arc<ConnectionPlace>>,
        protocol: Cow<'static, str>,
    ) -> Self {
        let info = GuestInfo {
            protocol,
            address: None,
            claimed_name: String::new(),
            extensions: PeerExtensions::default(),
            names: MethodNames::default(),
        };
        Self { state, place, info }
    }

    /// The address that the guest comes from: its [`Peer::address`](crate::Peer::address). Default none.
    pub fn address(mut self, address: Address) -> Self {
        self.info.address = Some(address);
        self
    }

    /// The name that the guest says it has: its [`Peer::claimed_name`](crate::Peer::claimed_name). Default
    /// empty.
    pub fn claimed_name(mut self, name: impl Into<String>) -> Self {
        self.info.claimed_name = name.into();
        self
    }

    /// A value that its [`Peer::extensions`](crate::Peer::extensions) have from the beginning, such as the
    /// user that the protocol has authenticated. A later one of the same type takes its place.
    pub fn extension<T: Send + Sync + 'static>(self, value: T) -> Self {
        self.info.extensions.insert(value);
        self
    }

    /// The guest: a peer whose calls come by this protocol. Everyone who listens to events hears that it
    /// is connected.
    ///
    /// Make one for each connection of the protocol, at its first call, so that those who only look
    /// whether the server is there are no peers that come and go.
    ///
    /// # Errors
    ///
    /// If the server takes no more connections.
    pub fn welcome(self) -> Result<Guest, ServeError> {
        Guest::new(&self.state, self.place.as_deref(), self.info)
    }
}

impl fmt::Debug for GuestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestBuilder")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
