//! What another protocol gets of a server.

use std::{fmt, sync::Arc};

use wawo_protocol::Config;

use crate::server::{registry::ConnectionPlace, state::ServerState};

/// The way of another protocol to what a server serves. Cheap to clone; it does not keep the server
/// running.
#[derive(Clone)]
pub struct Gateway {
    state: Arc<ServerState>,
    /// Of the socket whose calls come this way, if it is one of the server's.
    place: Option<Arc<ConnectionPlace>>,
}

impl Gateway {
    pub(super) fn new(state: &Arc<ServerState>) -> Self {
        Self {
            state: state.clone(),
            place: None,
        }
    }

    pub(super) fn of_socket(state: &Arc<ServerState>, place: &Arc<ConnectionPlace>) -> Self {
        Self {
            state: state.clone(),
            place: Some(place.clone()),
        }
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
            .field("is_of_socket", &self.place.is_some())
            .finish_non_exhaustive()
    }
}
