//! The remote end of a connection, as a handle: either side may call the other.
//!
//! A [`Peer`] has a number, an address, the application's own [state](PeerExtensions), events and an end.
//! It is reached over a [connection](crate::connection): it knows the state of the connection, and
//! nothing of its packets. A *guest* is a peer without a connection: it calls over a protocol that
//! carries no calls back, and a [`GuestLink`] is held by the code that serves it.
//!
//! ```text
//!   Peer, stubs, calls ──► Handle ──► Link ──► ConnectionHandle ──► (its driver)
//!                            │          ├────► RedialLink ──► its current ConnectionHandle, and the next
//!                            │          └────► GuestState       ──► (the server, which serves it)
//!                            └► PeerState: number, address, events ◄── what the connection reports
//! ```
//!
//! Dropping the last clone of the handle closes the connection, so a driver holds only the state.

mod caller;
mod connect_hook;
mod drain;
mod event;
mod events;
mod extensions;
mod guest;
mod guest_link;
mod handle;
mod hooks;
mod link;
mod observed_start;
mod observers;
mod open;
mod readiness;
mod redial;
mod redial_calls;
mod redial_link;
mod start;
mod state;
mod weak;

use std::{
    fmt,
    sync::Arc,
    task::{self, Poll},
};

use tokio::sync::watch;
use tower::Service;
use wawo_protocol::{CloseCode, ConnectionError};

pub(crate) use crate::connection::{NewConnection, NewTransport, PendingCheck, log_end};
pub(crate) use crate::peer::{
    connect_hook::ConnectHook,
    events::EventSender,
    guest::{GuestControl, GuestInfo},
    guest_link::GuestLink,
    hooks::PeerHooks,
    link::ActivityHandle,
    open::{EarlyPeer, NewPeer},
    redial::{Dial, NewRedialPeer, Supervisor, TryError},
};
pub use crate::peer::{
    drain::{CutPeer, DrainReport},
    event::{ConnectionLimit, FailedTry, PeerEvent},
    events::Events,
    extensions::PeerExtensions,
    weak::WeakPeer,
};
use crate::{
    call_target::{CallTarget, Start, TwoWay},
    connection::{ConnectionHandle, ConnectionState, Owner, PeerSnapshot},
    peer::{handle::Handle, link::Link, readiness::PeerReadiness},
    peer_id::PeerId,
    request::Request,
    response::Response,
    response_future::ResponseFuture,
    status::{Result, Status},
    transport::Address,
};

/// The remote end of a connection. It clones cheaply, and can be called: make a generated client over it,
/// or use it as a [`tower::Service`].
///
/// A program that connects has one from [`Peer::builder`]. The connection is closed when the last clone
/// of it, the last stub over it and the last call in flight are dropped; the other side is told that. A
/// handler has the peer that calls it from [`Context::peer`](crate::Context::peer); there the connection
/// lasts until one side closes it.
///
/// A program that connects only to serve keeps its peer, and waits for the end of the connection:
///
/// ```no_run
/// # async fn run(service: impl wawo::Serve) -> Result<(), wawo::ConnectError> {
/// let peer = wawo::Peer::builder("tcp://127.0.0.1:4000").add_service(service).connect().await?;
/// let reason = peer.closed().await;
/// println!("the connection is over: {reason}");
/// # Ok(())
/// # }
/// ```
///
/// The compiler warns where a peer is dropped as soon as it is made:
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// # async fn run() -> Result<(), wawo::ConnectError> {
/// wawo::Peer::connect("tcp://127.0.0.1:4000").await?;
/// # Ok(())
/// # }
/// ```
///
/// A peer that calls over a protocol which carries no calls back is a *guest*: see
/// [`is_callable`](Self::is_callable).
#[derive(Clone)]
#[must_use = "the connection that a program has opened closes when the last handle of its peer is dropped; \
              to serve the other side until then, await `closed`"]
pub struct Peer(Arc<Handle>, PeerReadiness);

impl Peer {
    fn of(handle: Arc<Handle>) -> Self {
        Self(handle, PeerReadiness::default())
    }

    /// The number of this peer.
    pub fn id(&self) -> PeerId {
        self.0.state().id()
    }

    /// The address of the other side: of its listener if this side connected, else the address it came
    /// from. `None` for a transport that was opened by other means, and for callers in this process.
    pub fn address(&self) -> Option<&Address> {
        self.0.state().address()
    }

    /// The name that the other side claims in its hello; it is not proven. Empty before the hello, and
    /// while a peer that reconnects has no connection.
    pub fn claimed_name(&self) -> String {
        let of = |connection: &ConnectionHandle| {
            let hello = connection.hello();
            hello.map_or_else(String::new, |hello| hello.claimed_name.clone())
        };
        match self.0.link() {
            Link::Connection(connection) => of(connection),
            Link::Redial(redial) => redial.current().map_or_else(String::new, |it| of(&it)),
            Link::Guest(guest) => guest.claimed_name().to_owned(),
        }
    }

    /// The identity of the other side, as the authenticator of this side has proven it. `None` before the
    /// handshake is through, without an authenticator, or if it is of another type. It does not change, but
    /// for a peer that [reconnects](crate::PeerBuilder::reconnect): there it is that of the last connection,
    /// and in a handler that of the connection over which the handler was called.
    ///
    /// In a handler, [`Context::identity`](crate::Context::identity) is right for protocols too whose
    /// connections carry the calls of many callers.
    pub fn identity<U: Send + Sync + 'static>(&self) -> Option<Arc<U>> {
        self.0.proven_identity()?.to_shared()
    }

    /// Whether the peer can be called. A guest cannot: a call to it fails at once with `Unimplemented`,
    /// and is not sent.
    pub fn is_callable(&self) -> bool {
        !matches!(self.0.link(), Link::Guest(_))
    }

    /// The protocol that the peer speaks: `"wawo"`, the name of the protocol of a guest, or
    /// `"in-process"` for callers in this process.
    pub fn protocol(&self) -> &str {
        match self.0.link() {
            Link::Guest(guest) => guest.protocol(),
            Link::Connection(_) | Link::Redial(_) => NATIVE_PROTOCOL,
        }
    }

    /// Values that the application keeps for this peer, one of each type.
    pub fn extensions(&self) -> &PeerExtensions {
        self.0.extensions()
    }

    /// The events of this peer from now on. The last one says that its connection is over.
    pub fn events(&self) -> Events {
        let sender = self.0.state().event_sender();
        sender.events_of(self.downgrade(), self.state())
    }

    /// A reference to this peer that does not keep its connection open.
    pub fn downgrade(&self) -> WeakPeer {
        self.0.state().weak()
    }

    /// Waits until either side takes no more calls, or the connection is over. A handler with an endless
    /// stream ends its stream then, with [`Context::peer`](crate::Context::peer).
    ///
    /// For a peer that reconnects, it is about one connection, which may be replaced too: in a handler, the one
    /// over which the handler was called; elsewhere, the one that carries calls, or else the next.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn draining(&self) {
        self.0.draining().await;
    }

    /// Waits until the connection is over, and returns why. A peer that reconnects is over when it is closed
    /// for good.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> ConnectionError {
        let mut state = self.state();
        let closed = state.wait_for(ConnectionState::is_closed).await;
        let end = closed.ok().and_then(|state| state.end());
        end.unwrap_or(ConnectionError::ClosedHere)
    }

    /// Whether the connection is over. A peer that reconnects is over when it is closed for good.
    pub fn is_closed(&self) -> bool {
        self.0.link().is_closed()
    }

    /// Closes the connection, and tells the other side why. Calls in flight, both ways, end with
    /// `Unavailable`. A peer that reconnects does not connect again.
    ///
    /// It does not wait: a program that ends right after it may end before the close packet has left.
    /// Await [`closed`](Self::closed) before that, or call [`drain`](Self::drain) instead.
    pub fn close(&self, reason: &str) {
        self.close_with(CloseCode::Normal, reason);
    }

    /// How many calls and bytes the connection holds now. All is zero when nothing is in flight, and when
    /// the connection is over.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn snapshot(&self) -> PeerSnapshot {
        match self.0.link() {
            Link::Connection(connection) => connection.snapshot().await,
            Link::Redial(redial) => redial.snapshot().await,
            Link::Guest(guest) => guest.snapshot(),
        }
    }
}

/// The methods for a peer that [reconnects](crate::PeerBuilder::reconnect).
impl Peer {
    /// Dials now: a hint that the network has changed, such as from Wi-Fi to a mobile network. A try that is
    /// under way begins anew, and the waits begin with the shortest. If there is a connection, it carries
    /// calls until the new one does; then it is drained: its calls in flight may end, and if it is dead,
    /// keep-alive ends it.
    ///
    /// It does nothing for a peer that does not reconnect.
    pub fn reconnect(&self) {
        if let Link::Redial(redial) = self.0.link() {
            redial.dial_now();
        }
    }
}

/// The methods that servers and clients use.
impl Peer {
    pub(crate) fn close_with(&self, code: CloseCode, reason: &str) {
        self.0.link().close(code, reason);
    }

    /// A handle to read how much the peer calls, which does not keep its connection open.
    pub(crate) fn activity_handle(&self) -> ActivityHandle {
        ActivityHandle::new(self.0.link().clone())
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        self.0.link().state()
    }
}

/// The name of the protocol of this crate.
pub(crate) const NATIVE_PROTOCOL: &str = "wawo";

impl WeakPeer {
    /// The peer, unless its connection is over and all handles of it were dropped.
    pub fn upgrade(&self) -> Option<Peer> {
        let handle = self.handle().upgrade()?;
        handle.downcast().ok().map(Peer::of)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.id())
            .field("address", &self.address())
            .field("claimed_name", &self.claimed_name())
            .finish_non_exhaustive()
    }
}

impl CallTarget for Peer {
    type Ability = TwoWay;

    fn handle(&self) -> Arc<dyn Start> {
        self.0.clone()
    }
}

impl Service<Request> for Peer {
    type Response = Response;
    type Error = Status;
    type Future = ResponseFuture;

    /// Pending while the connection has no room for a call: while half of
    /// [`max_waiting_calls`](crate::ConfigBuilder::max_waiting_calls) wait. It is a hint and reserves
    /// nothing: a call that finds no room waits for it, within its deadline. A stub does not use it.
    ///
    /// # Errors
    ///
    /// If the connection is over, the peer cannot be called, or it drains: then it takes no more calls, and
    /// the status is the one that a call would get. Calls in flight go on. A drain of this side changes
    /// nothing: it still calls the peer. A peer that reconnects is pending while it has no connection that
    /// takes calls, if its calls [wait](crate::ReconnectBuilder::wait_for_ready); else that is an error too.
    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<()>> {
        let Self(handle, readiness) = self;
        readiness.poll(handle, cx)
    }

    fn call(&mut self, request: Request) -> ResponseFuture {
        self.0.clone().start(request)
    }
}
