//! Calls to a peer that reconnects: over its current connection, and, if they wait, over the next.

use std::sync::Arc;

use crate::{
    clock,
    connection::{ConnectionHandle, Owner},
    observe::RetryCount,
    peer::{
        handle::Handle,
        redial_link::{Begun, NotBegun, RedialLink},
    },
    request::Request,
    response::Response,
    response_future::{Canceller, ResponseFuture, ResponseSlot},
    status::{Carrier, Result, Status},
};

/// Starts a call over the current connection.
pub(super) fn start(
    peer: &Arc<Handle>,
    link: &Arc<RedialLink>,
    request: Request,
) -> ResponseFuture {
    if link.lets_wait(&request) {
        let call = start_and_wait(peer.clone(), link.clone(), request);
        return ResponseFuture::boxed(call);
    }
    match link.begin(request, None) {
        Ok(Begun::Call(slot, connection)) => {
            ResponseFuture::from_slot(slot, CarriedCall::new(peer, connection))
        }
        Ok(Begun::OneWay) => ResponseFuture::ready(Ok(Response::empty())),
        Err(NotBegun::NoRoom(request, connection)) => {
            let canceller = CarriedCall::new(peer, connection.clone());
            connection.wait_for_room(request, canceller)
        }
        Err(NotBegun::Failed(status, connection)) => {
            ResponseFuture::ready(Err(status.carried_by(Some(connection))))
        }
        Err(NotBegun::NoConnection(_, status)) => {
            ResponseFuture::ready(Err(status.at(peer.state().address())))
        }
    }
}

/// Makes a call that waits for a connection. If one ends, or takes no more calls, and certainly has not sent
/// the call, the call is made again over the next.
async fn start_and_wait(
    peer: Arc<Handle>,
    link: Arc<RedialLink>,
    mut request: Request,
) -> Result<Response> {
    // The time that it waits counts.
    let defaults = link.default_timeouts();
    request.head_mut().take_default(clock::now(), defaults);
    let deadline = request.head().sourced_deadline();
    let retries = request.extensions().get::<RetryCount>().cloned();
    let mut refused_by = None;
    loop {
        let connected = link.connection_for(deadline, refused_by.as_ref()).await;
        connected.map_err(|status| status.at(peer.state().address()))?;
        let again = request.to_make_again();
        let (result, connection) = match link.begin(request, refused_by.as_ref()) {
            Ok(Begun::OneWay) => return Ok(Response::empty()),
            Ok(Begun::Call(slot, connection)) => {
                let call = CarriedCall::new(&peer, connection.clone());
                (ResponseFuture::from_slot(slot, call).await, connection)
            }
            Err(NotBegun::NoRoom(request, connection)) => {
                let call = CarriedCall::new(&peer, connection.clone());
                let reply = connection.clone().wait_for_room(request, call);
                (reply.await, connection)
            }
            Err(NotBegun::Failed(status, connection)) => (Err(status), connection),
            // The connection was lost since the wait.
            Err(NotBegun::NoConnection(unsent, _)) => {
                request = unsent;
                continue;
            }
        };
        match (result, again) {
            (Err(status), Some(again)) if may_be_made_again(&status, &connection) => {
                retries.iter().for_each(RetryCount::add);
                (request, refused_by) = (again, Some(connection));
            }
            (result, _) => return result.map_err(|status| status.carried_by(Some(connection))),
        }
    }
}

/// Whether a call was not sent because its connection takes none, rather than for a reason that another
/// connection would have too.
fn may_be_made_again(status: &Status, connection: &ConnectionHandle) -> bool {
    status.is_refusal() && !connection.takes_calls()
}

/// A call in flight: it keeps the peer open, and is cancelled at the connection that carries it.
struct CarriedCall {
    _peer: Arc<Handle>,
    connection: Arc<ConnectionHandle>,
}

impl CarriedCall {
    fn new(peer: &Arc<Handle>, connection: Arc<ConnectionHandle>) -> Arc<Self> {
        Arc::new(Self {
            _peer: peer.clone(),
            connection,
        })
    }
}

impl Canceller for CarriedCall {
    fn cancel(&self, slot: &Arc<ResponseSlot>) {
        self.connection.cancel(slot);
    }

    fn carrier(&self) -> Option<Arc<dyn Carrier>> {
        Some(self.connection.clone())
    }
}
