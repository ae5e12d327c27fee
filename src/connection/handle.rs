//! The handle of a connection: the state that its driver shares with the peer, the calls and the streams.

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
    task::Waker,
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};
use wawo_protocol::{CallId, CloseCode, Config, ConnectionError, Hello, Refusal, Relocation, Side};

use crate::{
    backstop,
    call_side::CallSide,
    clock::{self, Clock},
    connection::{
        activity::{Activity, ActivityRecord},
        drain::{DrainOutcome, DrainProgress, GRACE_OVER},
        mailbox::{Command, Mailbox, UnsentMessages},
        outbox::OutboxTotal,
        owner::{ConnectionEvent, Owner},
        schemas::Schemas,
        snapshot::PeerSnapshot,
        state::ConnectionState,
        warnings::{ConnectionWarnings, MetLimit},
    },
    decoding::DecodedBytes,
    descriptor::{MethodIds, MethodNames, MethodRef},
    identity::Identity,
    request::DefaultTimeouts,
    status::Status,
};

/// The handle of a connection. Its holders leave commands for the driver, and read the connection's
/// state.
///
/// Dropping it ends nothing: the connection lasts until it is [closed](Self::close).
#[derive(Debug)]
pub(crate) struct ConnectionHandle {
    mailbox: Mailbox,
    outbox_total: Arc<OutboxTotal>,
    drain: DrainProgress,
    /// The memory that decoded messages of the other side take.
    decoded: Arc<DecodedBytes>,
    side: Side,
    default_timeouts: DefaultTimeouts,
    stall_timeout: Duration,
    /// The clock of the runtime in which the driver runs.
    clock: Clock,
    hello: OnceLock<Hello>,
    /// The identity that the other side has proven in the handshake.
    identity: OnceLock<Identity>,
    state: watch::Sender<ConnectionState>,
    /// The names of the methods that this side serves, for the log.
    names: MethodNames,
    schemas: Schemas,
    activity: ActivityRecord,
    owner: Arc<dyn Owner>,
}

impl ConnectionHandle {
    /// Creates the state of a new connection. `names` are those of the methods that this side serves, and
    /// `decoded` is the memory for decoded messages of the other side.
    pub(crate) fn new(
        side: Side,
        config: &Config,
        names: MethodNames,
        decoded: Arc<DecodedBytes>,
        owner: Arc<dyn Owner>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|own: &Weak<Self>| Self {
            mailbox: Mailbox::new(config.max_waiting_calls(), own.clone()),
            outbox_total: Arc::default(),
            drain: DrainProgress::default(),
            decoded,
            side,
            default_timeouts: DefaultTimeouts::new(config),
            stall_timeout: config.stall_timeout(),
            clock: Clock::current(),
            hello: OnceLock::new(),
            identity: OnceLock::new(),
            state: watch::Sender::new(ConnectionState::Handshaking),
            names,
            schemas: Schemas::default(),
            activity: ActivityRecord::new(clock::now()),
            owner,
        })
    }
}

/// The methods that a peer calls.
impl ConnectionHandle {
    /// The hello of the other side, once it has come.
    pub(crate) fn hello(&self) -> Option<&Hello> {
        self.hello.get()
    }

    /// The identity that the other side has proven.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.get()
    }

    /// Follows the state of the connection.
    pub(crate) fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.subscribe()
    }

    /// Waits until one side takes no more calls, or the connection is over.
    pub(crate) async fn draining(&self) {
        // The sender lives as long as this handle.
        let _ = self.state().wait_for(ConnectionState::takes_no_calls).await;
    }

    /// Waits until the connection is over.
    pub(crate) async fn closed(&self) {
        // The sender lives as long as this handle.
        let _ = self.state().wait_for(ConnectionState::is_closed).await;
    }

    /// Why the connection is over, if it is over.
    pub(crate) fn why_closed(&self) -> Option<ConnectionError> {
        self.state.borrow().end()
    }

    /// Whether the connection is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.mailbox.closed().is_some()
    }

    /// Whether the connection is not over, and the other side takes calls.
    pub(crate) fn takes_calls(&self) -> bool {
        self.mailbox.takes_calls()
    }

    /// Sends one-way messages that another connection of the peer has not sent, before all that waits
    /// here. Returns the last ones, if too many wait. If this connection is over too, all stay in `unsent`.
    pub(crate) fn send_first(&self, unsent: &mut UnsentMessages) -> UnsentMessages {
        self.mailbox.put_first(unsent)
    }

    /// Closes the connection, and sends the reason to the other side.
    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        self.mailbox
            .push_end(Command::Close(code, reason.to_owned()));
    }

    /// Asks the other side to connect anew. Only the side that has accepted the connection can ask.
    pub(crate) fn move_peer(&self, relocation: Relocation) {
        self.mailbox.push_end(Command::Move(relocation));
    }

    /// Takes no more calls, and closes when those in flight have ended.
    pub(crate) fn begin_drain(&self) {
        self.mailbox.push_end(Command::Drain);
    }

    /// Closes the connection at the end of a drain's grace, which was this long.
    pub(crate) fn cut(&self, grace: Duration) {
        self.drain.cut(grace);
        self.close(CloseCode::Normal, GRACE_OVER);
    }

    pub(crate) fn drain_outcome(&self) -> DrainOutcome {
        self.drain.outcome()
    }

    /// How much the connection holds now; all zero if it is over.
    pub(crate) async fn snapshot(&self) -> PeerSnapshot {
        let (sender, receiver) = oneshot::channel();
        self.mailbox.push_end(Command::Snapshot(sender));
        receiver.await.unwrap_or_default()
    }

    pub(crate) fn activity(&self) -> Activity {
        self.activity.activity()
    }

    /// The memory that decoded messages of the other side take.
    pub(crate) fn decoded(&self) -> &Arc<DecodedBytes> {
        &self.decoded
    }

    /// The schema of a method that this side serves.
    pub(crate) fn descriptor(&self, ids: MethodIds) -> Option<MethodRef> {
        self.names.method(ids)
    }
}

/// The methods that the driver calls, and the calls and streams that it carries.
impl ConnectionHandle {
    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// How many bytes the outboxes of all streams to the other side hold.
    pub(super) fn outbox_total(&self) -> &Arc<OutboxTotal> {
        &self.outbox_total
    }

    pub(super) fn drain(&self) -> &DrainProgress {
        &self.drain
    }

    pub(super) fn activity_record(&self) -> &ActivityRecord {
        &self.activity
    }

    pub(super) fn default_timeouts(&self) -> &DefaultTimeouts {
        &self.default_timeouts
    }

    pub(super) fn stall_timeout(&self) -> Duration {
        self.stall_timeout
    }

    pub(super) fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    pub(super) fn owner(&self) -> &dyn Owner {
        &*self.owner
    }

    pub(super) fn side(&self) -> Side {
        self.side
    }

    /// Whether this side has started the call.
    pub(super) fn is_ours(&self, call: CallId) -> bool {
        call.side() == self.side
    }

    /// Records that the hellos are exchanged, and the identity that the other side has proven.
    pub(super) fn open(&self, hello: Hello, identity: Option<Identity>) {
        // A connection opens once, so the cells are empty.
        let _ = self.hello.set(hello);
        if let Some(identity) = identity {
            let _ = self.identity.set(identity);
        }
        self.state.send_replace(ConnectionState::Open);
        let side = self.side.name();
        tracing::debug!(target: "wawo::connection", peer = %self, side, "connection open");
        self.owner.connection_changed(ConnectionEvent::Opened);
    }

    /// Closes the mailbox, and ends the calls in it as not sent. The peer may keep the one-way messages in it,
    /// behind those that the driver has not sent.
    pub(super) fn end_commands(
        &self,
        error: &ConnectionError,
        mut unsent: UnsentMessages,
        wakers: &mut Vec<Waker>,
    ) {
        for command in self.mailbox.close(error, wakers) {
            if let Some(Command::Call(_, slot) | Command::PlainCall(_, slot)) = unsent.add(command)
            {
                wakers.extend(slot.complete(Err(Status::from_closed(error))));
            }
        }
        if !unsent.is_empty() {
            drop(self.owner.keep_unsent(unsent));
        }
    }

    /// Records that the other side takes no more calls.
    pub(super) fn announce_their_drain(&self) {
        self.mailbox.drain_there();
        self.announce_drain();
    }

    /// Records that one side takes no more calls.
    pub(super) fn announce_drain(&self) {
        self.state.send_if_modified(ConnectionState::drain);
        self.owner.connection_changed(ConnectionEvent::Draining);
    }

    /// Reports that the other side asks this one to connect anew.
    pub(super) fn announce_move(&self, relocation: Relocation) {
        self.owner
            .connection_changed(ConnectionEvent::Move(relocation));
    }

    /// Records that the connection is over.
    pub(super) fn end(&self, error: &ConnectionError) {
        self.state
            .send_replace(ConnectionState::Closed(error.clone()));
    }
}

/// The methods that write the log.
impl ConnectionHandle {
    /// Logs how a call of the other side failed.
    #[cold]
    pub(super) fn log(&self, ids: MethodIds, status: &Status) {
        status.log(&self.names.name(ids), self);
        self.report_limit_of(ids, status);
    }

    /// Logs how a one-way message failed, as no reply carries its status.
    #[cold]
    pub(super) fn log_one_way(&self, ids: MethodIds, status: &Status) {
        status.log_one_way(&self.names.name(ids), self);
        self.report_limit_of(ids, status);
    }

    fn report_limit_of(&self, ids: MethodIds, status: &Status) {
        if let Some(limit) = status.limit() {
            self.report_limit(CallSide::Server, limit, Some(ids), &status.message());
        }
    }

    /// Reports that a call was refused, or ended, for a limit of this side of the call. `ids` are those of a
    /// method that this side serves.
    #[cold]
    pub(super) fn report_limit(
        &self,
        side: CallSide,
        limit: &'static str,
        ids: Option<MethodIds>,
        error: &dyn fmt::Display,
    ) {
        let name = ids.map(|ids| self.names.name(ids));
        let method = name.as_ref().map(|name| name as &dyn fmt::Display);
        let met = MetLimit {
            side,
            limit,
            method,
            error,
        };
        self.warnings().limit_met(self, met);
    }

    /// Reports that a call of this side was refused.
    #[cold]
    pub(super) fn report_refusal(&self, refusal: &Refusal) {
        if !matches!(refusal, Refusal::Closed | Refusal::Draining) {
            self.report_limit(CallSide::Client, refusal.reason(), None, refusal);
        }
    }

    pub(super) fn warnings(&self) -> &ConnectionWarnings {
        self.owner.warnings()
    }
}

/// Prints the address of the peer, for the log.
impl fmt::Display for ConnectionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.owner.fmt(f)
    }
}

impl backstop::WatchTarget for ConnectionHandle {
    fn look(&self, wakers: &mut Vec<Waker>) -> Option<Instant> {
        let now = self.clock.real_now();
        self.mailbox.look(now, &self.default_timeouts, wakers)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fmt,
        sync::Arc,
        time::{Duration, Instant},
    };

    use wawo_protocol::{Config, MethodId, ServiceId, Side};

    use super::{
        Command, ConnectionEvent, ConnectionHandle, ConnectionWarnings, DecodedBytes, MethodNames,
        Owner,
    };
    use crate::{
        backstop::WatchTarget, body::Body, peer_id::PeerId, request::Request, transport::Address,
    };

    /// An owner that ignores all events.
    #[derive(Debug)]
    struct Nobody(PeerId, ConnectionWarnings);

    impl Owner for Nobody {
        fn id(&self) -> PeerId {
            self.0
        }

        fn address(&self) -> Option<&Address> {
            None
        }

        fn warnings(&self) -> &ConnectionWarnings {
            &self.1
        }

        fn connection_changed(&self, _: ConnectionEvent) {}
    }

    impl fmt::Display for Nobody {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("nobody")
        }
    }

    fn connection() -> Arc<ConnectionHandle> {
        ConnectionHandle::new(
            Side::Connecting,
            &Config::default(),
            MethodNames::default(),
            DecodedBytes::new(&Config::default(), None),
            Arc::new(Nobody(PeerId::next(), ConnectionWarnings::default())),
        )
    }

    /// Whether the backstop ends a call whose deadline passed long ago.
    fn ends_late_calls() -> bool {
        let connection = connection();
        let (service, method) = (ServiceId(1), MethodId(1));
        let mut request = Request::by_id(service, method, false, Body::One(Default::default()));
        let past = Instant::now().checked_sub(Duration::from_secs(1));
        request.set_deadline(Some(past.unwrap()));
        let mailbox = connection.mailbox();
        let slot = mailbox.push_call(request, 0, Command::Call).unwrap();
        connection.look(&mut Vec::new());
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
