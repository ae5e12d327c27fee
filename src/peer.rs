//! The other end of a connection, as a handle: either side may call.

mod drain;
mod driver;
mod events;
mod incoming;
mod input;
mod mailbox;
mod outgoing;
mod schemas;
mod shelf;
mod snapshot;
mod stream;
mod usage;
mod watched;

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
use wawo_protocol::{
    CloseCode, Config, ConnectionError, Hello, Metadata, MethodId, Payload, ServiceId, Side,
    time::after,
};

pub(crate) use crate::peer::{
    drain::ended_by_drain,
    driver::{clock, open},
    events::Teller,
    usage::Usage,
};
pub use crate::peer::{
    drain::{CutPeer, DrainReport},
    events::{ConnectionLimit, Events, PeerEvent},
    snapshot::PeerSnapshot,
};
use crate::{
    backstop::{self, Clock, timeout_at},
    body::Body,
    caller::{Calls, Start, TwoWay},
    context::Context,
    decoding::{DecodedBytes, Sum},
    descriptor::{MethodDescriptor, MethodIds, MethodNames, ServiceDescriptor, Shape},
    peer::{
        drain::Drain,
        mailbox::{Command, Mailbox, NotTaken, PlainCall, not_sent},
        schemas::Schemas,
        usage::LastCall,
    },
    reply::{Canceller, ReplyFuture, ReplySlot},
    request::{Caller, DefaultTimeouts, Request},
    response::Response,
    status::{Carrier, Delivery, Result, Status},
    transport::Address,
};

/// The other end of a connection. It clones cheaply, and can be called: make a generated client
/// over it, or use it as a [`tower::Service`].
///
/// A program that connects has one from [`Peer::builder`]; when the last clone of it, the last
/// stub over it and the last call in flight are gone, the connection is closed. A handler has the
/// peer that calls it from [`Context::peer`]; there the connection lasts until one side closes it.
#[derive(Clone)]
pub struct Peer(Arc<Handle>);

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
            .teller
            .events_of(self.downgrade(), shared.stage.subscribe())
    }

    /// This peer, without keeping its connection open.
    pub fn downgrade(&self) -> WeakPeer {
        WeakPeer {
            id: self.0.shared.id,
            address: self.0.shared.address.clone(),
            handle: Arc::downgrade(&self.0),
        }
    }

    /// Waits until either side takes no more calls, or the connection is over. A handler whose
    /// stream would go on for ever ends it then, with [`Context::peer`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn draining(&self) {
        let is_over = |stage: &Stage| matches!(stage, Stage::Draining | Stage::Closed(_));
        // The sender lives as long as this peer.
        let _ = self.0.shared.stage.subscribe().wait_for(is_over).await;
    }

    /// Waits until the connection is over, and tells why.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> ConnectionError {
        let mut stage = self.0.shared.stage.subscribe();
        loop {
            if let Stage::Closed(error) = &*stage.borrow_and_update() {
                return error.clone();
            }
            if stage.changed().await.is_err() {
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
    pub(crate) fn is_greeting(&self) -> bool {
        matches!(&*self.0.shared.stage.borrow(), Stage::Greeting)
    }

    /// Waits until the hellos are exchanged.
    pub(crate) async fn greeted(&self) -> Result<(), ConnectionError> {
        let mut stage = self.0.shared.stage.subscribe();
        loop {
            match &*stage.borrow_and_update() {
                Stage::Greeting => {}
                Stage::Open | Stage::Draining => return Ok(()),
                Stage::Closed(error) => return Err(error.clone()),
            }
            if stage.changed().await.is_err() {
                return Err(ConnectionError::ClosedHere);
            }
        }
    }

    /// A peer that was never connected.
    fn unconnected() -> Self {
        static UNCONNECTED: OnceLock<Peer> = OnceLock::new();
        UNCONNECTED
            .get_or_init(|| {
                let (side, names) = (Side::Accepting, MethodNames::default());
                let config = Config::default();
                let shared = Shared::new(side, None, &config, Teller::default(), names, None);
                let closed = ConnectionError::ClosedHere;
                shared.mailbox.close(&closed, &mut Vec::new());
                shared
                    .stage
                    .send_replace(Stage::Closed(ConnectionError::ClosedHere));
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

impl Calls for Peer {
    type Ability = TwoWay;

    fn handle(&self) -> Arc<dyn Start> {
        self.0.clone()
    }
}

impl Service<Request> for Peer {
    type Response = Response;
    type Error = Status;
    type Future = ReplyFuture;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<()>> {
        // A call waits for room by itself, within its deadline.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> ReplyFuture {
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
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What a request carries to tell where it comes from.
    pub(crate) fn as_caller(self: Arc<Self>) -> Arc<dyn Caller> {
        self
    }

    /// A call that fails before the driver sees it.
    #[cold]
    fn failed(&self, status: Status) -> ReplyFuture {
        ReplyFuture::ready(Err(status.carried_by(self.carrier())))
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
pub(crate) struct Shared {
    id: u64,
    pub(crate) mailbox: Mailbox,
    /// What all streams to the other side hold in their outboxes, in bytes.
    pub(crate) outboxes: AtomicUsize,
    pub(crate) teller: Teller,
    pub(crate) drain: Drain,
    /// What decoded messages of the other side take.
    pub(crate) decoded: Arc<DecodedBytes>,
    side: Side,
    address: Option<Address>,
    default_timeouts: DefaultTimeouts,
    stall_timeout: Duration,
    /// Of the runtime in which the driver runs.
    clock: Clock,
    hello: OnceLock<Hello>,
    stage: watch::Sender<Stage>,
    /// Names of what this side serves.
    names: MethodNames,
    schemas: Schemas,
    last_call: LastCall,
    /// Something came when it was asked for, though not all of a hello.
    has_spoken: AtomicBool,
}

/// How far a connection has come.
#[derive(Debug, Clone)]
enum Stage {
    Greeting,
    Open,
    /// One side takes no more calls.
    Draining,
    Closed(ConnectionError),
}

impl Shared {
    fn new(
        side: Side,
        address: Option<Address>,
        config: &Config,
        teller: Teller,
        names: MethodNames,
        server: Option<Arc<Sum>>,
    ) -> Arc<Self> {
        static LAST_ID: AtomicU64 = AtomicU64::new(0);
        Arc::new_cyclic(|shared: &Weak<Self>| Self {
            id: LAST_ID.fetch_add(1, Ordering::Relaxed) + 1,
            mailbox: Mailbox::new(config.max_waiting_calls, shared.clone()),
            outboxes: AtomicUsize::new(0),
            teller,
            drain: Drain::default(),
            decoded: DecodedBytes::new(config, server),
            side,
            address,
            default_timeouts: DefaultTimeouts::new(config),
            stall_timeout: config.stall_timeout,
            clock: Clock::current(),
            hello: OnceLock::new(),
            stage: watch::Sender::new(Stage::Greeting),
            names,
            schemas: Schemas::default(),
            last_call: LastCall::new(clock()),
            has_spoken: AtomicBool::new(false),
        })
    }
}

impl Shared {
    /// What all streams to the other side hold in their outboxes, in bytes.
    pub(crate) fn outbox_bytes(&self) -> usize {
        self.outboxes.load(Ordering::Relaxed)
    }

    /// Writes down how a call of the other side failed.
    #[cold]
    pub(crate) fn log(&self, ids: MethodIds, status: &Status) {
        status.log(&self.names.name(ids), self);
    }
}

/// Where the peer is, for the log.
impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Some(address) => address.fmt(f),
            None => write!(f, "peer {}", self.id),
        }
    }
}

impl backstop::Watched for Shared {
    fn look(&self, wakers: &mut Vec<Waker>) -> Option<Instant> {
        let now = self.clock.real_now();
        self.mailbox.look(now, &self.default_timeouts, wakers)
    }
}

impl Start for Handle {
    fn start(self: Arc<Self>, request: Request) -> ReplyFuture {
        match request.is_one_way() {
            true => self.send(request),
            false => self.call(request),
        }
    }

    fn max_decoded_bytes(&self) -> usize {
        self.shared.decoded.max_message()
    }

    fn start_plain(self: Arc<Self>, method: &MethodDescriptor, message: Payload) -> ReplyFuture {
        match method.shape() {
            Shape::OneWay if message.len() <= MAX_NOTE_BYTES => {
                self.send_note(method.service(), method.id(), message.into_bytes())
            }
            Shape::OneWay => self.send(Request::new(method, Body::One(message))),
            _ => self.call_plain(method, message),
        }
    }

    fn expect(self: Arc<Self>, service: &'static ServiceDescriptor) {
        self.expect_schema(service);
    }

    fn address(&self) -> Option<&Address> {
        self.shared.address.as_ref()
    }
}

impl Handle {
    fn call(self: Arc<Self>, request: Request) -> ReplyFuture {
        let bytes = message_bytes(&request);
        match self.shared.mailbox.push_call(request, bytes, Command::Call) {
            Ok(slot) => ReplyFuture::promised(slot, self),
            Err(reason) => self.not_taken(reason),
        }
    }

    fn call_plain(self: Arc<Self>, method: &MethodDescriptor, message: Payload) -> ReplyFuture {
        let bytes = message.len();
        let call = PlainCall {
            service: method.service(),
            method: method.id(),
            message,
            is_stream: method.shape().is_stream(),
        };
        match self
            .shared
            .mailbox
            .push_call(call, bytes, Command::PlainCall)
        {
            Ok(slot) => ReplyFuture::promised(slot, self),
            Err(reason) => self.not_taken(reason),
        }
    }

    fn send(self: Arc<Self>, request: Request) -> ReplyFuture {
        if let Some(message) = as_note(&request) {
            let message = message.clone().into_bytes();
            return self.send_note(request.service(), request.method(), message);
        }
        let bytes = message_bytes(&request);
        if let Some(status) = self.refuses(bytes) {
            return self.failed(status);
        }
        match self.shared.mailbox.push(Command::Send(request), bytes) {
            Ok(()) => ReplyFuture::sent(),
            Err(NotTaken::Full(Command::Send(request))) => self.wait_for_room(request),
            Err(NotTaken::Closed(error)) => self.failed(not_sent(&error)),
            // `push` gives back what it was given.
            Err(NotTaken::Full(_)) => self.failed(no_room()),
        }
    }

    /// Sends a short one-way message that has nothing else, and need not be kept as a request.
    fn send_note(
        self: Arc<Self>,
        service: ServiceId,
        method: MethodId,
        message: Bytes,
    ) -> ReplyFuture {
        if let Some(status) = self.refuses(message.len()) {
            return self.failed(status);
        }
        match self.shared.mailbox.push_note(service, method, &message) {
            Ok(()) => ReplyFuture::sent(),
            Err(NotTaken::Closed(error)) => self.failed(not_sent(&error)),
            Err(NotTaken::Full(())) => {
                let body = Body::One(message.into());
                self.wait_for_room(Request::by_id(service, method, true, body))
            }
        }
    }

    fn not_taken(self: Arc<Self>, reason: NotTaken<impl Into<Request>>) -> ReplyFuture {
        match reason {
            NotTaken::Closed(error) => self.failed(not_sent(&error)),
            NotTaken::Full(call) => self.wait_for_room(call.into()),
        }
    }

    /// A one-way message that the peer would not take: its sender hears of it here or never.
    fn refuses(&self, bytes: usize) -> Option<Status> {
        let max = self.shared.hello.get()?.limits.max_message_bytes;
        (bytes > max as usize).then(|| {
            let text = format!(
                "the call was not sent: a message of {bytes} bytes; \
                 the peer takes at most {max} (its max_message_bytes)"
            );
            Status::resource_exhausted(text).with_delivery(Delivery::NotSent)
        })
    }

    /// Starts a call once the driver has room for it, if that comes before the deadline, or, without
    /// one, within `stall_timeout`.
    fn wait_for_room(self: Arc<Self>, mut request: Request) -> ReplyFuture {
        let bytes = message_bytes(&request);
        // The driver gives a call its default deadline when it takes it, so the wait before that
        // has to be counted here.
        let defaults = &self.shared.default_timeouts;
        let now = clock();
        request.head_mut().take_default(now, defaults);
        let stall_timeout = self.shared.stall_timeout;
        let (end, late) = match request.deadline() {
            Some(deadline) => (deadline, no_room()),
            None => (after(now, stall_timeout), no_room_within(stall_timeout)),
        };
        let slot = Arc::new(ReplySlot::default());
        ReplyFuture::boxed(async move {
            let mut reply = ReplyFuture::promised(slot.clone(), self.clone());
            // Dropped before the reply is, which then has nothing to cancel.
            let place = self.shared.mailbox.line_up(request, bytes, slot);
            match timeout_at(end, &mut reply).await {
                Some(result) => return result,
                None => place.leave(late),
            }
            reply.await
        })
    }
}

impl Canceller for Handle {
    fn cancel(&self, slot: &Arc<ReplySlot>) {
        self.shared.mailbox.push_end(Command::Cancel(slot.clone()));
    }

    fn carrier(&self) -> Option<Arc<dyn Carrier>> {
        Some(self.shared.clone())
    }
}

impl ReplyFuture {
    /// The answer to a one-way message that was given to the driver.
    fn sent() -> Self {
        Self::ready(Ok(sent()))
    }
}

fn sent() -> Response {
    Response::new(Metadata::new(), Body::One(Payload::default()))
}

/// A longer one-way message is not copied while it waits for the driver.
const MAX_NOTE_BYTES: usize = 1024;

/// The message of a one-way call that can be sent as a note.
fn as_note(request: &Request) -> Option<&Payload> {
    let head = request.head();
    let has_default = head.takes_default && head.deadline.is_none();
    let is_plain = has_default && head.metadata.is_empty() && head.depth == 0;
    match request.body() {
        Body::One(message) if is_plain && message.len() <= MAX_NOTE_BYTES => Some(message),
        _ => None,
    }
}

fn message_bytes(request: &Request) -> usize {
    match request.body() {
        Body::One(bytes) => bytes.len(),
        Body::Many(_) => 0,
    }
}

fn no_room() -> Status {
    let text = "the deadline passed while the call waited for the connection to take it";
    Status::deadline_exceeded(text).with_delivery(Delivery::NotSent)
}

/// A call without a deadline has waited for room for this long.
fn no_room_within(stall_timeout: Duration) -> Status {
    let text = format!(
        "the connection took no more calls within {stall_timeout:?} (stall_timeout): others wait for \
         the limits of the peer"
    );
    Status::resource_exhausted(text).with_delivery(Delivery::NotSent)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use wawo_protocol::{Config, MethodId, ServiceId, Side};

    use super::{Command, MethodNames, Shared, Teller};
    use crate::{backstop::Watched, body::Body, request::Request};

    /// Whether a call whose deadline is long past is ended by the backstop.
    fn ends_late_calls() -> bool {
        let shared = Shared::new(
            Side::Connecting,
            None,
            &Config::default(),
            Teller::default(),
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
