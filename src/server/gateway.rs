//! The access of another protocol to the services of a server.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Weak},
};

use tokio::time::timeout_at;
use wawo_protocol::{Config, time::after};

use crate::{
    clock,
    descriptor::ServiceDescriptor,
    identity::{Identity, Presented, Refusal},
    server::{guest::GuestBuilder, registry::ConnectionPlace, state::ServerState},
    transport::Address,
};

/// The access of another protocol to the services of a server. Cheap to clone; it does not keep the
/// server running, and the gateway of a socket does not keep the place of the socket. Guests that come by
/// it when the socket is gone do not count as connections.
#[derive(Clone)]
pub struct Gateway {
    state: Arc<ServerState>,
    /// The name of the protocol.
    protocol: Cow<'static, str>,
    /// The place of the socket whose calls come this way, if the server has accepted it. It is weak, so
    /// that the place is free once the socket is gone.
    place: Option<Weak<ConnectionPlace>>,
    /// The address that this socket came from.
    address: Option<Address>,
}

impl Gateway {
    pub(super) fn new(state: &Arc<ServerState>, protocol: Cow<'static, str>) -> Self {
        Self {
            state: state.clone(),
            protocol,
            place: None,
            address: None,
        }
    }

    pub(super) fn of_socket(
        state: &Arc<ServerState>,
        protocol: Cow<'static, str>,
        place: &Arc<ConnectionPlace>,
        address: &Address,
    ) -> Self {
        Self {
            state: state.clone(),
            protocol,
            place: Some(Arc::downgrade(place)),
            address: Some(address.clone()),
        }
    }

    /// A caller by this protocol, for [`authenticate`](Self::authenticate). It has the name of the
    /// protocol, and the address of the socket if the server knows it.
    pub fn presented(&self) -> Presented {
        let presented = Presented::new(self.protocol.clone());
        match &self.address {
            Some(address) => presented.with_address(address.clone()),
            None => presented,
        }
    }

    /// Asks the authenticator of the server who a caller is. Where one connection is one caller, the
    /// identity goes to [`GuestBuilder::identity`]; where it carries many callers, to
    /// [`Request::set_identity`](crate::Request::set_identity) of each call. `None` if the server has no
    /// authenticator.
    ///
    /// # Errors
    ///
    /// The refusal; also if the authenticator takes longer than the `handshake_timeout`. The protocol tells
    /// the caller its reason.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops that of the authenticator.
    pub async fn authenticate(&self, presented: Presented) -> Result<Option<Identity>, Refusal> {
        let Some(authenticator) = self.state.authenticator() else {
            return Ok(None);
        };
        let time = self.config().handshake_timeout();
        let until = after(clock::now(), time);
        match timeout_at(until.into(), authenticator.check(presented)).await {
            Ok(checked) => checked.map(Some),
            Err(_) => Err(
                Refusal::new("the authentication took too long").with_source(format!(
                    "the authenticator took longer than {time:?} (handshake_timeout)"
                )),
            ),
        }
    }

    /// A builder for a guest: a peer whose calls come by this protocol.
    pub fn guest(&self) -> GuestBuilder {
        let (state, place) = (self.state.clone(), self.place.clone());
        let guest = GuestBuilder::new(state, place, self.protocol.clone());
        match &self.address {
            Some(address) => guest.address(address.clone()),
            None => guest,
        }
    }

    /// The service with this full name, such as `chat.v1.Chat`, if the server serves it now. A protocol
    /// may look it up for each call, as services come and go.
    pub fn service(&self, name: &str) -> Option<ServiceDescriptor> {
        self.state.services.descriptor(name)
    }

    /// The services that the server serves now, by id.
    pub fn descriptors(&self) -> Vec<ServiceDescriptor> {
        self.state.services.descriptors()
    }

    /// The limits and timeouts of each connection of the server.
    pub fn config(&self) -> &Config {
        self.state.config()
    }

    /// Waits until the server takes no more connections and calls: it drains, or has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn draining(&self) {
        self.state.until_draining().await;
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("protocol", &self.protocol)
            .field("is_of_socket", &self.place.is_some())
            .finish_non_exhaustive()
    }
}
