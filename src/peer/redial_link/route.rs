//! The connections of a peer that reconnects, and the begin of a call over one of them.

use std::sync::Arc;

use wawo_protocol::ConnectionError;

use crate::{
    connection::{ConnectionHandle, StartError},
    peer::redial_link::{Outage, RedialLink},
    request::Request,
    response_future::ResponseSlot,
    status::{Delivery, Status},
};

/// The connections of a peer.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// The connection that carries calls. It may be over already, if the task that dials does not know it
    /// yet.
    pub(super) current: Option<Arc<ConnectionHandle>>,
    /// All connections that may not be over, the oldest first: also those that drain, and one that is not
    /// ready for calls yet.
    pub(super) connections: Vec<Arc<ConnectionHandle>>,
    /// The connections that there were when the peer began to drain.
    pub(super) drained: Vec<Arc<ConnectionHandle>>,
    /// Why there is no connection.
    pub(super) outage: Option<Outage>,
    /// Whether no other connection will follow.
    pub(super) is_stopped: bool,
    /// Why the peer is closed for good.
    pub(super) end: Option<ConnectionError>,
}

/// How many connections of one peer there may be: the current one, and those before it whose calls have not
/// ended. With one more, the oldest is closed.
const MAX_CONNECTIONS: usize = 5;

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

impl Route {
    /// Takes out the oldest connection, if there are too many.
    pub(super) fn take_surplus(&mut self) -> Option<Arc<ConnectionHandle>> {
        self.connections.retain(|one| !one.is_closed());
        (self.connections.len() > MAX_CONNECTIONS).then(|| self.connections.remove(0))
    }

    /// The status of a call while there is no connection.
    fn status(&self) -> Status {
        let text = format!("the call was not sent: {}", self.describe());
        let status = Status::unavailable(text).with_delivery(Delivery::NotSent);
        match &self.end {
            Some(error) => status.with_source(error.clone()),
            None => status,
        }
    }

    /// Why there is no connection.
    fn describe(&self) -> String {
        match (&self.end, &self.outage) {
            (Some(error), _) => error.to_string(),
            (None, _) if self.is_stopped => "the peer is closed".to_owned(),
            (None, Some(outage)) => outage.describe(),
            (None, None) => "another connection is on its way".to_owned(),
        }
    }
}

impl RedialLink {
    /// Begins a call over the current connection. `refused_by` is a connection that the call is not made
    /// over again.
    #[allow(
        clippy::result_large_err,
        reason = "what was not taken goes back whole"
    )]
    pub(in crate::peer) fn begin(
        &self,
        request: Request,
        refused_by: Option<&Arc<ConnectionHandle>>,
    ) -> Result<Begun, NotBegun> {
        let route = self.read();
        let is_other = |current: &&Arc<ConnectionHandle>| {
            refused_by.is_none_or(|refused_by| !Arc::ptr_eq(refused_by, current))
        };
        let Some(current) = route.current.as_ref().filter(is_other) else {
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
    pub(in crate::peer) fn has_connection(
        &self,
        refused_by: Option<&Arc<ConnectionHandle>>,
    ) -> Result<bool, Status> {
        let route = self.read();
        let is_other = |current: &Arc<ConnectionHandle>| {
            refused_by.is_none_or(|refused_by| !Arc::ptr_eq(refused_by, current))
        };
        let current = route.current.as_ref();
        if current.is_some_and(|current| is_other(current) && current.takes_calls()) {
            return Ok(true);
        }
        match route.is_stopped {
            true => Err(route.status()),
            false => Ok(false),
        }
    }

    /// The status of a call while there is no connection.
    pub(in crate::peer) fn not_connected(&self) -> Status {
        self.read().status()
    }

    /// Why there is no connection.
    pub(super) fn describe_outage(&self) -> String {
        self.read().describe()
    }
}
