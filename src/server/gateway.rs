//! The access of another protocol to the services of a server.

use std::{borrow::Cow, fmt, sync::Arc};

use wawo_protocol::Config;

use crate::{
    descriptor::ServiceDescriptor,
    server::{ServeError, guest::Guest, registry::ConnectionPlace, state::ServerState},
    transport::Address,
};

/// The access of another protocol to the services of a server. Cheap to clone; it does not keep the
/// server running.
#[derive(Clone)]
pub struct Gateway {
    state: Arc<ServerState>,
    /// The name of the protocol.
    protocol: Cow<'static, str>,
    /// The place of the socket whose calls come this way, if the server has accepted it.
    place: Option<Arc<ConnectionPlace>>,
}

impl Gateway {
    pub(super) fn new(state: &Arc<ServerState>, protocol: Cow<'static, str>) -> Self {
        Self {
            state: state.clone(),
            protocol,
            place: None,
        }
    }

    pub(super) fn of_socket(
        state: &Arc<ServerState>,
        protocol: Cow<'static, str>,
        place: &Arc<ConnectionPlace>,
    ) -> Self {
        Self {
            state: state.clone(),
            protocol,
            place: Some(place.clone()),
        }
    }

    /// Makes a guest: a peer whose calls come by this protocol, from this address. All listeners to
    /// events get the event that it is connected.
    ///
    /// Make one for each connection of the protocol, at its first call. Then connections that only check
    /// whether the server is there make no events.
    ///
    /// # Errors
    ///
    /// If the server takes no more connections.
    pub fn welcome(&self, address: Option<Address>) -> Result<Guest, ServeError> {
        let place = self.place.as_deref();
        Guest::new(&self.state, place, self.protocol.clone(), address)
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
