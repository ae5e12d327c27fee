//! The connections of a peer that reconnects.

use std::sync::Arc;

use wawo_protocol::ConnectionError;

use crate::{
    connection::ConnectionHandle,
    identity::Identity,
    peer::redial_link::outage::Outage,
    status::{Delivery, Status},
};

/// The connections of a peer.
///
/// They hold values of the application: identities, requests, errors. The drop of such a value may ask the
/// peer, which needs the lock around this. So all that is taken out of here is dropped without the lock.
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
    /// The identity that the other side has proven over the connection that carries calls, or did last.
    pub(super) identity: Option<Identity>,
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

impl Route {
    /// Takes out the connections that are over.
    pub(super) fn take_closed(&mut self) -> Vec<Arc<ConnectionHandle>> {
        let closed = self.connections.extract_if(.., |one| one.is_closed());
        closed.collect()
    }

    /// Takes out the oldest connection, if there are too many. Those that are over were taken out before.
    pub(super) fn take_surplus(&mut self) -> Option<Arc<ConnectionHandle>> {
        (self.connections.len() > MAX_CONNECTIONS).then(|| self.connections.remove(0))
    }

    /// The connection that carries calls, unless it has refused the call in question.
    pub(super) fn current_but(
        &self,
        refused_by: Option<&Arc<ConnectionHandle>>,
    ) -> Option<&Arc<ConnectionHandle>> {
        let has_refused = |current: &Arc<ConnectionHandle>| {
            refused_by.is_some_and(|refused_by| Arc::ptr_eq(refused_by, current))
        };
        self.current
            .as_ref()
            .filter(|current| !has_refused(current))
    }

    /// The status of a call while there is no connection.
    pub(super) fn status(&self) -> Status {
        let text = format!("the call was not sent: {}", self.describe());
        let status = Status::unavailable(text).with_delivery(Delivery::NotSent);
        match &self.end {
            Some(error) => status.with_source(error.clone()),
            None => status,
        }
    }

    /// Why there is no connection.
    pub(super) fn describe(&self) -> String {
        match (&self.end, &self.outage) {
            (Some(error), _) => error.to_string(),
            (None, _) if self.is_stopped => "the peer is closed".to_owned(),
            (None, Some(outage)) => outage.describe(),
            (None, None) => "another connection is on its way".to_owned(),
        }
    }
}
