//! The other end of a connection, as a handle: either side may call.

mod drain;
mod events;
mod schemas;
mod snapshot;

use std::{
    any::Any,
    fmt,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{self, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::watch;
use tower::Service;
use wawo_protocol::{CloseCode, Config, ConnectionError, Hello, Side};

pub(crate) use crate::connection::{
    activity::{Activity, ActivityHandle},
    driver::open,
};
pub use crate::peer::{
    drain::{CutPeer, DrainReport},
    events::{ConnectionLimit, Events, PeerEvent},
    snapshot::PeerSnapshot,
};
pub(crate) use crate::peer::{
    drain::{DRAINED, TELL_TIMEOUT, ended_by_drain},
    events::EventSender,
};
use crate::{
    backstop,
    call_target::{CallTarget, Start, TwoWay},
    clock::{self, Clock},
    connection::{
        activity::ActivityRecord,
        mailbox::{Command, Mailbox, not_sent},
    },
    context::Context,
    decoding::{DecodedBytes, DecodedTotal},
    descriptor::{MethodIds, MethodNames},
    peer::{drain::Drain, schemas::Schemas},
    request::{Caller, DefaultTimeouts, Request},
    response::Response,
    response_future::{Canceller, ResponseFuture},
    status::{Delivery, Result, Status},
    transport::Address,
};

/// The other end of a connection. It clones cheaply, and can be called: make a generated client
/// over it, or use it as a [`tower::Service`].
///
/// A program that connects has one from [`Peer::builder`]; when the last clone of it, the last
/// stub over it and the last call in flight are gone, the connection is closed. A handler has the
/// peer that calls it from [`Context::peer`]; there the connection lasts until one side closes it.
#[derive(Clone)]
pub struct Peer(pub(crate) Arc<Handle>);

impl Peer {
    /// A number that no other peer in this process has or had.
    pub fn id(&self) -> u64 {
        self.0.shared.id
    }

    /// The address of the other side: of its listener if we connected, else where it came from.
    /// `None` for a transport that was opened by other means.
    pub fn address(&self) -> Option<&Address> {
        self.0.shared.address.as_ref()
    }

    /// Who the other side says that it is, in its hello; not proven. Empty before the hello.
    pub fn identity(&self) -> &str {
        let hello = self.0.shared.hello.get();
        hello.map_or("", |hello| &hello.identity)
    }

    /// The proof of its identity that the other side gave in its hello, for the application to
    /// check. Empty before the hello.
    pub fn credentials(&self) -> Bytes {
        let hello = self.0.shared.hello.get();
        hello.map_or_else(Bytes::new, |hello| hello.credentials.clone())
    }

    /// What happens to this peer from now on. The last event is that the connection is over.
    pub fn events(&self) -> Events {
        let shared = &self.0.shared;
        shared
            .event_sender
            .events_of(self.downgrade(), shared.state.subscribe())
    }

    /// This peer, without keeping its connection open.
    pub fn downgrade(&self) -> WeakPeer {
        WeakPeer::new(&self.0.shared, Arc::downgrade(&self.0))
    }

    /// Waits until either side takes no more calls, or the connection is over. A handler whose
    /// stream would go on for ever ends it then, with [`Context::peer`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn draining(&self) {
        let is_over = |state: &ConnectionState| {
            matches!(
                state,
                ConnectionState::Draining | ConnectionState::Closed(_)
            )
        };
        // The sender lives as long as this peer.
        let _ = self.0.shared.state.subscribe().wait_for(is_over).await;
    }

    /// Waits until the connection is over, and tells why.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> ConnectionError {
        let mut state = self.0.shared.state.subscribe();
        loop {
            if let ConnectionState::Closed(error) = &*state.borrow_and_update() {
                return error.clone();
            }
            if state.changed().await.is_err() {
                return ConnectionError::ClosedHere;
            }
        }
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        self.0.shared.mailbox.closed().is_some()
    }

    /// Closes the connection, and tells the other side why. Calls in flight, both ways, end with
    /// `Unavailable`.
    ///
    /// It does not wait: a program that ends at once may end before the other side is told. Await
    /// [`closed`](Self::closed) before that, or [`drain`](Self::drain) instead.
    pub fn close(&self, reason: &str) {
        self.close_with(CloseCode::Normal, reason);
    }

    pub(crate) fn close_with(&self, code: CloseCode, reason: &str) {
        let command = Command::Close(code, reason.to_owned());
        self.0.shared.mailbox.push_end(command);
    }

    /// Whether the hello of the other side has not come yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(&*self.0.shared.state.borrow(), ConnectionState::Handshaking)
    }

    /// Waits until the hellos are exchanged.
    pub(crate) async fn handshake_done(&self) -> Result<(), ConnectionError> {
        let mut state = self.0.shared.state.subscribe();
        loop {
            match &*state.borrow_and_update() {
                ConnectionState::Handshaking => {}
                ConnectionState::Open | ConnectionState::Draining => return Ok(()),
                ConnectionState::Closed(error) => return Err(error.clone()),
            }
            if state.changed().await.is_err() {
                return Err(ConnectionError::ClosedHere);
            }
        }
    }

    /// A peer that was never connected.
    fn unconnected() -> Self {
        UNCONNECTED
            .get_or_init(|| {
                let (side, names) = (Side::Accepting, MethodNames::default());
                let config = Config::default();
                let shared =
                    PeerState::new(side, None, &config, EventSender::default(), names, None);
                let closed = ConnectionError::ClosedHere;
                shared.mailbox.close(&closed, &mut Vec::new());
                shared
                    .state
                    .send_replace(ConnectionState::Closed(ConnectionError::ClosedHere));
                Self(Arc::new(Handle { shared }))
            })
            .clone()
    }
}

/// A [`Peer`] that does not keep its connection open.
#[derive(Debug, Clone)]
pub struct WeakPeer {
    id: u64,
    address: Option<Address>,
    handle: Weak<Handle>,
}

impl WeakPeer {
    pub(crate) fn new(shared: &PeerState, handle: Weak<Handle>) -> Self {
        Self {
            id: shared.id,
            address: shared.address.clone(),
            handle,
        }
    }

    /// See [`Peer::id`].
    pub fn id(&self) -> u64 {
        self.id
    }

    /// See [`Peer::address`].
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// The peer, unless its connection is over and nobody holds it any more.
    pub fn upgrade(&self) -> Option<Peer> {
        self.handle.upgrade().map(Peer)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("address", &self.address())
            .field("identity", &self.identity())
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

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<()>> {
        // A call waits for room by itself, within its deadline.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> ResponseFuture {
        self.0.clone().start(request)
    }
}

impl Context {
    /// The peer that calls; a handler may call it back. For a call in the same process it is one
    /// whose connection is over.
    pub fn peer(&self) -> Peer {
        let caller = self.caller().cloned();
        let handle = caller.and_then(|caller| caller.into_any().downcast::<Handle>().ok());
        handle.map_or_else(Peer::unconnected, Peer)
    }
}

/// What all clones of a peer share. Dropping it closes the connection, if this side connected.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) shared: Arc<PeerState>,
}

/// The peer of handlers that were called in the same process.
static UNCONNECTED: OnceLock<Peer> = OnceLock::new();

impl Handle {
    /// The connection is over, or never was.
    #[cold]
    pub(crate) fn closed(self: &Arc<Self>, error: &ConnectionError) -> ResponseFuture {
        let unconnected = UNCONNECTED.get();
        if unconnected.is_some_and(|unconnected| Arc::ptr_eq(&unconnected.0, self)) {
            let text = "a call in the same process has no peer that could be called back";
            let status = Status::unavailable(text).with_delivery(Delivery::NotSent);
            return ResponseFuture::ready(Err(status.in_process()));
        }
        self.failed(not_sent(error))
    }

    pub(crate) fn shared(&self) -> &Arc<PeerState> {
        &self.shared
    }

    /// What a request carries to tell where it comes from.
    pub(crate) fn as_caller(self: Arc<Self>) -> Arc<dyn Caller> {
        self
    }

    /// A call that fails before the driver sees it.
    #[cold]
    pub(crate) fn failed(&self, status: Status) -> ResponseFuture {
        ResponseFuture::ready(Err(status.carried_by(self.carrier())))
    }
}

impl Caller for Handle {
    fn label(&self) -> String {
        self.shared.to_string()
    }

    fn decoded_bytes(&self) -> &Arc<DecodedBytes> {
        &self.shared.decoded
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let command = Command::Close(CloseCode::Normal, String::new());
        self.shared.mailbox.push_end(command);
    }
}

/// What a driver shares with those who hold its peer.
#[derive(Debug)]
pub(crate) struct PeerState {
    pub(crate) id: u64,
    pub(crate) mailbox: Mailbox,
    /// What all streams to the other side hold in their outboxes, in bytes.
    pub(crate) outboxes: AtomicUsize,
    pub(crate) event_sender: EventSender,
    pub(crate) drain: Drain,
    /// The memory of decoded messages of the other side.
    pub(crate) decoded: Arc<DecodedBytes>,
    pub(crate) side: Side,
    pub(crate) address: Option<Address>,
    pub(crate) default_timeouts: DefaultTimeouts,
    pub(crate) stall_timeout: Duration,
    /// Of the runtime in which the driver runs.
    pub(crate) clock: Clock,
    pub(crate) hello: OnceLock<Hello>,
    pub(crate) state: watch::Sender<ConnectionState>,
    /// Names of what this side serves.
    pub(crate) names: MethodNames,
    pub(crate) schemas: Schemas,
    pub(crate) activity: ActivityRecord,
    /// Something came when it was asked for, though not all of a hello.
    pub(crate) has_spoken: AtomicBool,
    /// Closed because nothing came when it was asked for.
    pub(crate) was_silent: AtomicBool,
}

/// How far a connection has come.
#[derive(Debug, Clone)]
pub(crate) enum ConnectionState {
    Handshaking,
    Open,
    /// One side takes no more calls.
    Draining,
    Closed(ConnectionError),
}

impl PeerState {
    pub(crate) fn new(
        side: Side,
        address: Option<Address>,
        config: &Config,
        event_sender: EventSender,
        names: MethodNames,
        server: Option<Arc<DecodedTotal>>,
    ) -> Arc<Self> {
        static LAST_ID: AtomicU64 = AtomicU64::new(0);
        Arc::new_cyclic(|shared: &Weak<Self>| Self {
            id: LAST_ID.fetch_add(1, Ordering::Relaxed) + 1,
            mailbox: Mailbox::new(config.max_waiting_calls(), shared.clone()),
            outboxes: AtomicUsize::new(0),
            event_sender,
            drain: Drain::default(),
            decoded: DecodedBytes::new(config, server),
            side,
            address,
            default_timeouts: DefaultTimeouts::new(config),
            stall_timeout: config.stall_timeout(),
            clock: Clock::current(),
            hello: OnceLock::new(),
            state: watch::Sender::new(ConnectionState::Handshaking),
            names,
            schemas: Schemas::default(),
            activity: ActivityRecord::new(clock::now()),
            has_spoken: AtomicBool::new(false),
            was_silent: AtomicBool::new(false),
        })
    }
}

impl PeerState {
    /// What all streams to the other side hold in their outboxes, in bytes.
    pub(crate) fn outbox_bytes(&self) -> usize {
        self.outboxes.load(Ordering::Relaxed)
    }

    /// Writes down how a call of the other side failed.
    #[cold]
    pub(crate) fn log(&self, ids: MethodIds, status: &Status) {
        status.log(&self.names.name(ids), self);
    }

    /// Writes down how a one-way message failed, of which its sender does not hear.
    #[cold]
    pub(crate) fn log_one_way(&self, ids: MethodIds, status: &Status) {
        status.log_one_way(&self.names.name(ids), self);
    }
}

/// Where the peer is, for the log.
impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Some(address) => address.fmt(f),
            None => write!(f, "peer {}", self.id),
        }
    }
}

impl backstop::WatchTarget for PeerState {
    fn look(&self, wakers: &mut Vec<Waker>) -> Option<Instant> {
        let now = self.clock.real_now();
        self.mailbox.look(now, &self.default_timeouts, wakers)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use wawo_protocol::{Config, MethodId, ServiceId, Side};

    use super::{Command, EventSender, MethodNames, PeerState};
    use crate::{backstop::WatchTarget, body::Body, request::Request};

    /// Whether a call whose deadline is long past is ended by the backstop.
    fn ends_late_calls() -> bool {
        let shared = PeerState::new(
            Side::Connecting,
            None,
            &Config::default(),
            EventSender::default(),
            MethodNames::default(),
            None,
        );
        let (service, method) = (ServiceId(1), MethodId(1));
        let mut request = Request::by_id(service, method, false, Body::One(Default::default()));
        let past = Instant::now().checked_sub(Duration::from_secs(1));
        request.set_deadline(Some(past.unwrap()));
        let slot = shared.mailbox.push_call(request, 0, Command::Call).unwrap();
        shared.look(&mut Vec::new());
        slot.is_over()
    }

    #[tokio::test(start_paused = true)]
    async fn the_backstop_ends_no_call_where_time_is_paused() {
        assert!(!ends_late_calls());
    }

    #[tokio::test]
    async fn the_backstop_ends_calls_in_real_time() {
        assert!(ends_late_calls());
    }
}
