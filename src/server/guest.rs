//! Guests: peers that call by another protocol.

mod builder;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio_util::sync::CancellationToken;
use wawo_protocol::{CloseCode, ConnectionError};

pub use crate::server::guest::builder::GuestBuilder;
use crate::{
    clock,
    peer::{GuestControl, GuestInfo, GuestLink, Peer},
    request::{DefaultTimeouts, Request},
    response::Response,
    response_future::ResponseFuture,
    serve::inbound::DirectInbound,
    server::{
        ServeError,
        registry::{ConnectionPlace, GuestPlace, Registry},
        state::ServerState,
    },
    status::{Delivery, Result, Status},
};

/// A connection of another protocol that calls the services of a server. Made by
/// [`Gateway::guest`](crate::Gateway::guest), one for each such connection. Clones are the same guest.
///
/// To the rest of the program it is a [`Peer`] that cannot be called: it is in
/// [`ServerHandle::peers`](crate::ServerHandle::peers) and in events, and can be drained and closed. Its
/// calls are served as those of any peer, with the limits on deadlines, call depth and decoded messages,
/// and at most [`max_calls`](crate::Limits::max_calls) of them at a time.
///
/// When the last clone is dropped, the peer's connection is over. Calls in flight go on with their
/// futures. A guest that is kept when the future of [`Protocol::serve`](crate::Protocol::serve) has ended
/// goes on too, and no longer counts as a connection of the server. A drain of the server waits until a
/// guest is closed and has no call in flight, not until it is dropped.
#[derive(Clone)]
pub struct Guest(Arc<GuestConnection>);

struct GuestConnection {
    link: GuestLink,
    inbound: Arc<DirectInbound>,
    control: Arc<Control>,
    default_timeouts: DefaultTimeouts,
    /// The last field: the server knows the guest until all else is dropped.
    _place: GuestPlace,
}

/// The part of a guest that its peer controls.
#[derive(Debug)]
struct Control {
    closed: CancellationToken,
    reason: Mutex<String>,
    /// It learns when the guest is over.
    registry: Arc<Registry>,
}

impl GuestControl for Control {
    /// Does nothing: a protocol learns of the drain by the state of the peer.
    fn drain(&self) {}

    fn close(&self, _: CloseCode, reason: &str) {
        let mut kept = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        reason.clone_into(&mut kept);
        drop(kept);
        self.closed.cancel();
    }

    fn done(&self) {
        self.registry.guest_is_done();
    }
}

impl Guest {
    pub(super) fn new(
        state: &ServerState,
        place: Option<&ConnectionPlace>,
        mut info: GuestInfo,
    ) -> Result<Self, ServeError> {
        let service = state.service().ok_or(ServeError::Draining)?;
        let control = Arc::new(Control {
            closed: CancellationToken::new(),
            reason: Mutex::default(),
            registry: state.registry.clone(),
        });
        let (decoded, events) = (Some(state.decoded()), state.event_sender.clone());
        info.names = service.names().clone();
        info.observers = service.observers().cloned();
        let config = state.shared_config();
        let weak = Arc::downgrade(&control) as Weak<dyn GuestControl>;
        let link = GuestLink::new(info, &config, decoded, events, weak);
        let place = state.registry.add_guest(&link.peer(), place);
        let place = place.ok_or(ServeError::Draining)?;
        link.announce();
        let far_end = link.far_end();
        Ok(Self(Arc::new(GuestConnection {
            link,
            default_timeouts: DefaultTimeouts::new(&config),
            inbound: DirectInbound::new(service, config, far_end),
            control,
            _place: place,
        })))
    }

    /// The guest as a peer. Handlers and layers see it as the caller.
    pub fn peer(&self) -> Peer {
        self.0.link.peer()
    }

    /// Serves a call of the guest. It begins when the future is first polled. A one-way message is
    /// handled in a task, and the future is ready at once. A call without a deadline has the default of
    /// the server's [`Config`](crate::Config).
    ///
    /// Dropping the future, or the stream of replies that it returned, cancels the call.
    ///
    /// # Errors
    ///
    /// The status of the service. While the peer drains or is closed, calls are refused with
    /// `Unavailable`, as not sent; if `max_calls` are in flight, they are refused with
    /// `ResourceExhausted`. Calls in flight when the peer is closed end with `Unavailable`.
    pub fn call(&self, mut request: Request) -> ResponseFuture {
        let head = request.head_mut();
        head.take_default(clock::now(), &self.0.default_timeouts);
        head.caller = Some(self.0.link.caller());
        let (one_way, control) = (request.is_one_way(), self.0.control.clone());
        let (inbound, origin) = (self.0.inbound.clone(), self.0.link.origin());
        inbound.serve_within(request, origin, move |reply| match one_way {
            true => reply,
            false => ResponseFuture::boxed(until_closed(reply, control)),
        })
    }

    /// Waits until no more calls of the guest are served: the server drains, or the application has
    /// [drained](Peer::drain) or closed the peer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn draining(&self) {
        self.peer().draining().await;
    }

    /// Waits until the peer is closed: by the application, by the end of its drain, or by
    /// [`end`](Self::end). Returns the reason for the other side, which is empty after `end`. The protocol
    /// should end the connection then.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> String {
        let control = &self.0.control;
        control.closed.cancelled().await;
        let reason = control.reason.lock();
        reason.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes the peer, as [`Peer::close`] does: calls in flight end with `Unavailable`.
    pub fn close(&self, reason: &str) {
        self.peer().close(reason);
    }

    /// Ends the peer because its connection is over, for this reason of the other side or the network.
    /// [`PeerEvent::Disconnected`](crate::PeerEvent::Disconnected) and [`Peer::closed`] report it.
    /// Without this call, dropping the last clone ends the peer as closed by this side, also if the other
    /// side has gone: pass [`ConnectionError::ClosedByPeer`] then, or [`ConnectionError::Lost`] with the
    /// error of the socket.
    pub fn end(&self, reason: &ConnectionError) {
        self.0.link.end(reason);
        self.0.control.closed.cancel();
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest")
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}

/// The response of a call, or `Unavailable` when its peer is closed.
async fn until_closed(reply: ResponseFuture, control: Arc<Control>) -> Result<Response> {
    let closed = control.closed.clone();
    let response = tokio::select! {
        biased;
        result = reply => result?,
        () = closed.cancelled() => return Err(cut_status()),
    };
    Ok(response.map_stream(|replies| replies.until(closed.cancelled_owned(), cut_status)))
}

/// The status of a call in flight when its peer is closed.
fn cut_status() -> Status {
    let text =
        "the call was cut: the server closed the connection, or its grace for draining was over";
    Status::unavailable(text).with_delivery(Delivery::Unknown)
}
