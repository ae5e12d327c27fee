//! The begin of a call over the current connection.

use std::sync::Arc;

use crate::{
    connection::{ConnectionHandle, StartError},
    peer::redial_link::RedialLink,
    request::Request,
    response_future::ResponseSlot,
    status::Status,
};

/// A call that a connection has taken.
pub(crate) enum Begun {
    Call(Arc<ResponseSlot>, Arc<ConnectionHandle>),
    /// A one-way message, which has no reply.
    OneWay,
}

/// Why no connection has taken a call.
pub(crate) enum NotBegun {
    /// There is no connection; it gives the request back.
    NoConnection(Request, Status),
    /// This connection has no room; it gives the request back.
    NoRoom(Request, Arc<ConnectionHandle>),
    /// The call has failed at this connection.
    Failed(Status, Arc<ConnectionHandle>),
}

impl RedialLink {
    /// Begins a call over the current connection. `refused_by` is a connection that the call is not made
    /// over again.
    #[allow(
        clippy::result_large_err,
        reason = "what was not taken goes back whole"
    )]
    pub(crate) fn begin(
        &self,
        request: Request,
        refused_by: Option<&Arc<ConnectionHandle>>,
    ) -> Result<Begun, NotBegun> {
        let route = self.read();
        let Some(current) = route.current_but(refused_by) else {
            return Err(NotBegun::NoConnection(request, route.status()));
        };
        let begun = match request.is_one_way() {
            true => current.send(request).map(|()| Begun::OneWay),
            false => {
                let slot = current.call(request);
                slot.map(|slot| Begun::Call(slot, current.clone()))
            }
        };
        begun.map_err(|error| match error {
            StartError::NoRoom(request) => NotBegun::NoRoom(request, current.clone()),
            StartError::Failed(status) => NotBegun::Failed(status, current.clone()),
        })
    }

    /// Whether a call that waits has a connection now. `refused_by` is a connection that it is not made
    /// over again.
    ///
    /// # Errors
    ///
    /// If none will come: the peer is closed.
    pub(crate) fn has_connection(
        &self,
        refused_by: Option<&Arc<ConnectionHandle>>,
    ) -> Result<bool, Status> {
        let route = self.read();
        let current = route.current_but(refused_by);
        if current.is_some_and(|current| current.takes_calls()) {
            return Ok(true);
        }
        match route.is_stopped {
            true => Err(route.status()),
            false => Ok(false),
        }
    }

    /// The status of a call while there is no connection.
    pub(crate) fn not_connected(&self) -> Status {
        self.read().status()
    }

    /// Why there is no connection.
    pub(super) fn describe_outage(&self) -> String {
        self.read().describe()
    }
}
