//! The link of a peer that reconnects: the connection that carries its calls now, and the wait of calls for
//! one.
//!
//! The task that dials ([`Supervisor`](super::redial::Supervisor)) changes the connection. All others
//! read it, and leave orders for that task.
//!
//! ```text
//!   calls ──► RedialLink ──► the current connection
//!                │  ▲ orders: close, drain, dial now
//!                ▼  │ news: a connection has changed, the other side asks to move
//!             Supervisor ──► the next connection
//! ```

mod begin;
mod orders;
mod outage;
mod owner;
mod route;
mod wait;

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::AtomicUsize,
    },
    time::Duration,
};

use tokio::sync::{Notify, watch};
use wawo_protocol::{CloseCode, Config, ConnectionError};

pub(super) use crate::peer::redial_link::{
    begin::{Begun, NotBegun},
    orders::{Move, Orders},
    outage::Outage,
    owner::ConnectionOwner,
};
use crate::{
    connection::{
        Activity, ConnectionEvent, ConnectionHandle, ConnectionState, DrainOutcome, Owner,
        PeerSnapshot, Schemas, UnsentMessages,
    },
    decoding::DecodedBytes,
    descriptor::{MethodIds, MethodNames, MethodRef, ServiceDescriptor},
    identity::Identity,
    peer::{redial_link::route::Route, state::PeerState},
    reconnect::Reconnect,
    request::DefaultTimeouts,
};

/// The state that a peer which reconnects shares with the task that dials.
#[derive(Debug)]
pub(crate) struct RedialLink {
    /// A call is left in a mailbox under the lock for reading. So a connection that is replaced gets no
    /// call after it has been told to drain.
    route: RwLock<Route>,
    state: watch::Sender<ConnectionState>,
    orders: Mutex<Orders>,
    /// Notified when there are orders, or a connection has changed.
    news: Notify,
    /// One-way messages of ended connections.
    unsent: Mutex<UnsentMessages>,
    /// How many calls wait for a connection.
    waiting: AtomicUsize,
    /// The services that stubs over the peer call.
    schemas: Schemas,
    settings: Reconnect,
    default_timeouts: DefaultTimeouts,
    stall_timeout: Duration,
    /// The memory for decoded messages of the other side, over all connections.
    decoded: Arc<DecodedBytes>,
    /// The names of the methods that this side serves.
    names: MethodNames,
    peer: Arc<PeerState>,
}

impl RedialLink {
    pub(super) fn new(
        settings: Reconnect,
        config: &Config,
        names: MethodNames,
        peer: Arc<PeerState>,
    ) -> Self {
        Self {
            route: RwLock::default(),
            state: watch::Sender::new(ConnectionState::Handshaking),
            orders: Mutex::default(),
            news: Notify::new(),
            unsent: Mutex::default(),
            waiting: AtomicUsize::new(0),
            schemas: Schemas::default(),
            settings,
            default_timeouts: DefaultTimeouts::new(config),
            stall_timeout: config.stall_timeout(),
            decoded: DecodedBytes::new(config, None),
            names,
            peer,
        }
    }
}

/// The methods that a peer calls.
impl RedialLink {
    pub(super) fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.subscribe()
    }

    /// Waits until the connection that carries calls now takes no more, is replaced or is lost; without
    /// one, until that happens to the next, or the peer is closed.
    pub(super) async fn draining(&self) {
        let mut state = self.state.subscribe();
        loop {
            // A change from here on ends the wait below.
            if state.borrow_and_update().is_closed() {
                return;
            }
            match self.current().filter(|current| !current.is_closed()) {
                Some(current) => return current.draining().await,
                // The sender lives as long as this link.
                None => drop(state.changed().await),
            }
        }
    }

    /// Whether the peer is closed for good.
    pub(super) fn is_closed(&self) -> bool {
        self.state.borrow().is_closed()
    }

    /// The connection that carries calls now, if there is one.
    pub(super) fn current(&self) -> Option<Arc<ConnectionHandle>> {
        self.read().current.clone()
    }

    /// Closes the peer for good.
    pub(super) fn close(&self, code: CloseCode, reason: &str) {
        for connection in self.stop() {
            connection.close(code, reason);
        }
    }

    /// Takes no more calls, and closes the peer when those in flight have ended.
    pub(super) fn begin_drain(&self) {
        let connections = self.stop();
        connections.iter().for_each(|one| one.begin_drain());
        let before = mem::replace(&mut self.write().drained, connections);
        drop(before);
    }

    /// Ends a drain whose grace, of this length, is over.
    pub(super) fn cut(&self, grace: Duration) {
        let drained = self.read().drained.clone();
        drained.iter().for_each(|connection| connection.cut(grace));
    }

    pub(super) fn drain_outcome(&self) -> DrainOutcome {
        let drained = self.read().drained.clone();
        let outcomes = drained.iter().map(|connection| connection.drain_outcome());
        outcomes.sum()
    }

    /// Dials no more. Returns the connections that are left.
    fn stop(&self) -> Vec<Arc<ConnectionHandle>> {
        let mut route = self.write();
        route.is_stopped = true;
        let connections = route.connections.clone();
        drop(route);
        self.order(|orders| orders.stop = true);
        // Calls that wait for a connection end.
        self.state.send_modify(|_| {});
        connections
    }

    /// Dials now, since the network has changed.
    pub(super) fn dial_now(&self) {
        self.order(|orders| orders.dial_now = true);
    }

    /// How much the connection holds now, and how many calls wait for one.
    pub(super) async fn snapshot(&self) -> PeerSnapshot {
        let mut snapshot = match self.current() {
            Some(connection) => connection.snapshot().await,
            None => PeerSnapshot::default(),
        };
        snapshot.calls_out += self.calls_waiting();
        snapshot
    }

    pub(super) fn activity(&self) -> Activity {
        let activity = self.current().map(|connection| connection.activity());
        activity.unwrap_or_default()
    }

    /// The identity that the other side has proven over the connection that it has now, or had last.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.read().identity.clone()
    }

    pub(super) fn decoded(&self) -> &Arc<DecodedBytes> {
        &self.decoded
    }

    /// The schema of a method that this side serves.
    pub(super) fn descriptor(&self, ids: MethodIds) -> Option<MethodRef> {
        self.names.method(ids)
    }

    /// Records that a stub of this side calls this service, over this connection and all that follow.
    pub(super) fn expect_schema(&self, service: &ServiceDescriptor) {
        self.schemas.add(service);
        let connections = self.read().connections.clone();
        let connections = connections.iter();
        connections.for_each(|connection| connection.expect_schema(service));
    }

    pub(super) fn default_timeouts(&self) -> &DefaultTimeouts {
        &self.default_timeouts
    }

    pub(super) fn settings(&self) -> &Reconnect {
        &self.settings
    }
}

/// The methods of the task that dials.
impl RedialLink {
    pub(super) fn peer(&self) -> &Arc<PeerState> {
        &self.peer
    }

    pub(super) fn names(&self) -> &MethodNames {
        &self.names
    }

    /// Waits for orders, or for a change of a connection.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Takes all orders but that to move.
    pub(super) fn take_orders(&self) -> Orders {
        let mut orders = self.lock_orders();
        let moved = orders.moved.take();
        let others = Orders {
            moved,
            ..Orders::default()
        };
        mem::replace(&mut *orders, others)
    }

    /// Takes the order to move, if there is one.
    pub(super) fn take_move(&self) -> Option<Move> {
        self.lock_orders().moved.take()
    }

    fn order(&self, give: impl FnOnce(&mut Orders)) {
        give(&mut self.lock_orders());
        self.news.notify_one();
    }

    /// Adds a new connection, so that a close of the peer closes it. Returns `false` if the peer is being
    /// closed.
    pub(super) fn add(&self, connection: &Arc<ConnectionHandle>) -> bool {
        let mut route = self.write();
        if route.is_stopped {
            return false;
        }
        // Those of tries that have failed, too.
        let closed = route.take_closed();
        route.connections.push(connection.clone());
        drop(route);
        drop(closed);
        let services = self.schemas.all();
        services.iter().for_each(|it| connection.expect_schema(it));
        true
    }

    /// Makes a connection the one that carries calls. Returns the one before, if it is not over.
    pub(super) fn switch_to(&self, next: &Arc<ConnectionHandle>) -> Option<Arc<ConnectionHandle>> {
        let mut route = self.write();
        let before = route.current.replace(next.clone());
        let identity = mem::replace(&mut route.identity, next.identity().cloned());
        let (outage, closed) = (route.outage.take(), route.take_closed());
        let surplus = route.take_surplus();
        drop(route);
        drop((identity, outage, closed));
        if let Some(surplus) = surplus {
            surplus.close(CloseCode::Normal, "too many connections of one peer drain");
        }
        self.send_unsent();
        self.state.send_replace(ConnectionState::Open);
        self.peer.connection_changed(ConnectionEvent::Opened);
        before.filter(|before| !before.is_closed())
    }

    /// The connection that carries calls takes no more.
    pub(super) fn report_drain(&self) {
        self.state.send_if_modified(ConnectionState::drain);
        self.peer.connection_changed(ConnectionEvent::Draining);
    }

    /// Records why there is no connection, or how far the tries for one have come.
    pub(super) fn set_outage(&self, outage: Outage) {
        let mut route = self.write();
        let before = route.outage.replace(outage);
        let lost = route.current.take_if(|one| one.is_closed());
        drop(route);
        drop(before);
        if lost.is_some() {
            self.state.send_replace(ConnectionState::Handshaking);
        }
    }

    /// Removes connections that are over. Returns those that are left.
    pub(super) fn open_connections(&self) -> Vec<Arc<ConnectionHandle>> {
        let mut route = self.write();
        let (closed, open) = (route.take_closed(), route.connections.clone());
        drop(route);
        drop(closed);
        open
    }

    /// The peer is closed for good.
    pub(super) fn end(&self, error: &ConnectionError) {
        for connection in self.stop() {
            connection.close(CloseCode::Normal, "the peer is closed");
        }
        let before = self.write().end.replace(error.clone());
        let unsent = mem::take(&mut *self.lock_unsent());
        drop((before, unsent));
        self.state
            .send_replace(ConnectionState::Closed(error.clone()));
        let ended = ConnectionEvent::Ended(error.clone());
        self.peer.connection_changed(ended);
    }
}

/// One-way messages that a connection has not sent.
impl RedialLink {
    /// Takes messages of a connection that is over or drains, if calls wait for the next one.
    fn keep_unsent(&self, messages: UnsentMessages) -> Result<(), UnsentMessages> {
        if !self.settings.wait_for_ready() || self.read().is_stopped {
            return Err(messages);
        }
        let surplus = self.lock_unsent().append(messages);
        self.lose(surplus);
        self.send_unsent();
        Ok(())
    }

    /// Gives messages that were not sent to the current connection, if there is one.
    fn send_unsent(&self) {
        let route = self.read();
        let mut unsent = self.lock_unsent();
        let Some(connection) = route.current.as_ref().filter(|one| one.takes_calls()) else {
            return;
        };
        let surplus = match unsent.is_empty() {
            true => UnsentMessages::default(),
            false => connection.send_first(&mut unsent),
        };
        drop((unsent, route));
        self.lose(surplus);
    }

    /// Drops messages, as too many wait. No lock is held meanwhile.
    fn lose(&self, surplus: UnsentMessages) {
        if !surplus.is_empty() {
            let (peer, messages) = (&self.peer, surplus.len());
            tracing::warn!(target: "wawo::peer", %peer, messages, "one-way messages are lost: too many were not sent by connections that ended");
        }
    }

    fn lock_unsent(&self) -> MutexGuard<'_, UnsentMessages> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The locks.
impl RedialLink {
    fn read(&self) -> RwLockReadGuard<'_, Route> {
        self.route.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Route> {
        self.route.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
