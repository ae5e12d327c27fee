//! Guests: peers that call over a protocol which carries no calls back, such as HTTP.
//!
//! The code that serves a guest, such as a gateway of a server, holds a
//! [`GuestLink`](super::guest_link::GuestLink). It serves the guest's calls as calls of its
//! [origin](Origin), which counts them. When the application drains or closes the peer, it learns of that
//! by its [`GuestControl`].
//!
//! ```text
//!   open ──drain──► draining ──no call is left, or close──► closed
//!     └───────────────────────close, end──────────────────────▲
//! ```

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::watch;
use wawo_protocol::{CloseCode, Config, ConnectionError};

use crate::{
    call_side::CallSide,
    clock,
    connection::{
        Activity, ActivityRecord, ConnectionEvent, ConnectionState, DRAINED, DrainOutcome,
        DrainProgress, GRACE_OVER, MetLimit, Owner, PeerSnapshot,
    },
    decoding::{DecodedBytes, DecodedTotal},
    descriptor::{MethodIds, MethodNames, MethodRef},
    identity::Identity,
    observe::{FarEnd, Observers},
    peer::extensions::PeerExtensions,
    serve::inbound::Origin,
    status::{Delivery, Result, Status},
    transport::Address,
};

/// The name of the protocol of callers in this process.
pub(super) const IN_PROCESS: &str = "in-process";

/// The names of a guest, and the methods that it may call.
#[derive(Debug)]
pub(crate) struct GuestInfo {
    /// The name of its protocol, for logs and statuses.
    pub(crate) protocol: Cow<'static, str>,
    pub(crate) address: Option<Address>,
    /// See [`Peer::claimed_name`](crate::Peer::claimed_name).
    pub(crate) claimed_name: String,
    /// See [`Peer::identity`](crate::Peer::identity).
    pub(crate) identity: Option<Identity>,
    /// The values that its peer has from the beginning.
    pub(crate) extensions: PeerExtensions,
    /// The names of the methods that it may call.
    pub(crate) names: MethodNames,
    pub(crate) observers: Option<Arc<Observers>>,
}

impl GuestInfo {
    /// A guest over this protocol, without an address, a name, an identity, extensions, methods and observers.
    pub(crate) fn new(protocol: Cow<'static, str>) -> Self {
        Self {
            protocol,
            address: None,
            claimed_name: String::new(),
            identity: None,
            extensions: PeerExtensions::default(),
            names: MethodNames::default(),
            observers: None,
        }
    }
}

/// The interface by which a peer reaches the code that serves the guest.
pub(crate) trait GuestControl: fmt::Debug + Send + Sync {
    /// Stops serving new calls of the guest; those in flight go on. Called at most once.
    fn drain(&self);

    /// Ends the calls in flight because the peer is closed. It sends the guest the reason, if its protocol
    /// can.
    /// Called at most once.
    fn close(&self, code: CloseCode, reason: &str);

    /// Learns that the guest is over, and no call of it is in flight. Called at most once.
    fn done(&self);
}

/// The state of a guest, which its peer shares with the code that serves it.
#[derive(Debug)]
pub(crate) struct GuestState {
    protocol: Cow<'static, str>,
    claimed_name: String,
    identity: Option<Identity>,
    names: MethodNames,
    max_calls: usize,
    decoded: Arc<DecodedBytes>,
    progress: Mutex<GuestProgress>,
    state: watch::Sender<ConnectionState>,
    drain: DrainProgress,
    activity: ActivityRecord,
    owner: Arc<dyn Owner>,
    /// It is weak, since the code that serves the guest holds the peer.
    control: Weak<dyn GuestControl>,
}

/// How far a guest has come, and its calls.
#[derive(Debug, Default)]
struct GuestProgress {
    calls_in_flight: usize,
    is_draining: bool,
    is_over: bool,
    is_announced: bool,
    /// The changes that came before it was announced.
    held_back: Vec<ConnectionEvent>,
}

impl GuestState {
    pub(super) fn new(
        info: GuestInfo,
        config: &Config,
        server: Option<Arc<DecodedTotal>>,
        owner: Arc<dyn Owner>,
        control: Weak<dyn GuestControl>,
    ) -> Self {
        Self {
            protocol: info.protocol,
            claimed_name: info.claimed_name,
            identity: info.identity,
            names: info.names,
            max_calls: config.limits().max_calls as usize,
            decoded: DecodedBytes::new(config, server),
            progress: Mutex::default(),
            state: watch::Sender::new(ConnectionState::Open),
            drain: DrainProgress::default(),
            activity: ActivityRecord::new(clock::now()),
            owner,
            control,
        }
    }
}

/// The methods that a peer calls.
impl GuestState {
    pub(super) fn protocol(&self) -> &str {
        &self.protocol
    }

    pub(super) fn is_in_process(&self) -> bool {
        self.protocol == IN_PROCESS
    }

    /// The schema of a method that the guest may call.
    pub(super) fn descriptor(&self, ids: MethodIds) -> Option<MethodRef> {
        self.names.method(ids)
    }

    pub(super) fn claimed_name(&self) -> &str {
        &self.claimed_name
    }

    pub(super) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    pub(super) fn decoded(&self) -> &Arc<DecodedBytes> {
        &self.decoded
    }

    pub(super) fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.subscribe()
    }

    /// Waits until the guest calls no more.
    pub(super) async fn draining(&self) {
        // The sender lives as long as this state.
        let _ = self.state().wait_for(ConnectionState::takes_no_calls).await;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_over
    }

    /// Whether it is over, and no call of it is in flight.
    pub(super) fn is_done(&self) -> bool {
        let progress = self.lock();
        progress.is_over && progress.calls_in_flight == 0
    }

    pub(super) fn activity(&self) -> Activity {
        self.activity.activity()
    }

    pub(super) fn drain_outcome(&self) -> DrainOutcome {
        self.drain.outcome()
    }

    pub(super) fn snapshot(&self) -> PeerSnapshot {
        let progress = self.lock();
        let calls_in = match progress.is_over {
            true => 0,
            false => progress.calls_in_flight,
        };
        PeerSnapshot {
            calls_in,
            decoded_bytes: self.decoded.held(),
            ..PeerSnapshot::default()
        }
    }

    /// Reports that the guest is connected, and then what has changed before.
    pub(super) fn announce(&self) {
        self.owner.connection_changed(ConnectionEvent::Opened);
        // More may change meanwhile.
        while let Some(changes) = self.take_held_back() {
            for change in changes {
                self.owner.connection_changed(change);
            }
        }
    }

    /// The changes to report next; `None` if there are none, and later ones need not wait.
    fn take_held_back(&self) -> Option<Vec<ConnectionEvent>> {
        let mut progress = self.lock();
        progress.is_announced = progress.held_back.is_empty();
        let is_waiting = !progress.is_announced;
        is_waiting.then(|| std::mem::take(&mut progress.held_back))
    }

    /// Reports a change, but not before the guest is announced.
    fn report(&self, change: ConnectionEvent) {
        let mut progress = self.lock();
        if !progress.is_announced {
            progress.held_back.push(change);
            return;
        }
        drop(progress);
        self.owner.connection_changed(change);
    }

    /// The status of a call to the guest.
    pub(super) fn not_callable(&self) -> Status {
        let text = match self.is_in_process() {
            true => "a call in the same process has no peer that could be called back".to_owned(),
            false => format!(
                "the peer cannot be called: it came over {}, which carries no calls to it",
                self.protocol
            ),
        };
        Status::unimplemented(text).with_delivery(Delivery::NotSent)
    }

    /// The guest, as observers of its calls see it.
    pub(super) fn far_end(&self) -> FarEnd {
        let protocol = match &self.protocol {
            Cow::Borrowed(name) => name,
            // A name that is made at run time is no label: there might be many.
            Cow::Owned(_) => "other",
        };
        FarEnd {
            protocol,
            ..FarEnd::native(Some(self.owner.id()), self.owner.address())
        }
    }

    /// Takes no more calls, and closes when those in flight have ended.
    pub(super) fn drain(&self) {
        let mut progress = self.lock();
        if progress.is_draining || progress.is_over {
            return;
        }
        progress.is_draining = true;
        let in_flight = progress.calls_in_flight;
        self.drain.begin(in_flight);
        drop(progress);
        self.state.send_if_modified(ConnectionState::drain);
        self.report(ConnectionEvent::Draining);
        if let Some(control) = self.control.upgrade() {
            control.drain();
        }
        if in_flight == 0 {
            self.close(CloseCode::Normal, DRAINED);
        }
    }

    /// Closes the guest at the end of a drain's grace, which was this long.
    pub(super) fn cut(&self, grace: Duration) {
        self.drain.cut(grace);
        self.close(CloseCode::Normal, GRACE_OVER);
    }

    pub(super) fn close(&self, code: CloseCode, reason: &str) {
        if self.end(&ConnectionError::ClosedHere)
            && let Some(control) = self.control.upgrade()
        {
            control.close(code, reason);
        }
    }

    fn lock(&self) -> MutexGuard<'_, GuestProgress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the guest's connection is over. Returns `false` if it was over before.
    pub(super) fn end(&self, error: &ConnectionError) -> bool {
        let mut progress = self.lock();
        if std::mem::replace(&mut progress.is_over, true) {
            return false;
        }
        if progress.is_draining {
            self.drain.count(progress.calls_in_flight);
        }
        let is_done = progress.calls_in_flight == 0;
        drop(progress);
        self.activity.set_has_calls(false);
        self.state
            .send_replace(ConnectionState::Closed(error.clone()));
        self.report(ConnectionEvent::Ended(error.clone()));
        if is_done {
            self.report_done();
        }
        true
    }

    fn report_done(&self) {
        if let Some(control) = self.control.upgrade() {
            control.done();
        }
    }
}

impl Origin for GuestState {
    fn limit_met(&self, limit: &'static str, method: &dyn fmt::Display, error: &str) {
        let met = MetLimit {
            side: CallSide::Server,
            limit,
            method: Some(method),
            error: &error,
        };
        self.owner.warnings().limit_met(self, met);
    }

    fn begin_call(&self) -> Result<()> {
        let mut progress = self.lock();
        if progress.is_draining || progress.is_over {
            let text = "the call was not served: this side takes no more calls of the guest";
            return Err(Status::unavailable(text).with_delivery(Delivery::NotSent));
        }
        if progress.calls_in_flight >= self.max_calls {
            let max = self.max_calls;
            let text =
                format!("the call was not served: {max} calls are in flight already (max_calls)");
            let status = Status::resource_exhausted(text).with_limit("max_calls");
            return Err(status.with_delivery(Delivery::NotSent));
        }
        progress.calls_in_flight += 1;
        self.activity.set_has_calls(true);
        self.activity.set_last_call(clock::now());
        Ok(())
    }

    fn end_call(&self) {
        let mut progress = self.lock();
        progress.calls_in_flight -= 1;
        let in_flight = progress.calls_in_flight;
        if progress.is_over {
            drop(progress);
            if in_flight == 0 {
                self.report_done();
            }
            return;
        }
        if in_flight == 0 {
            self.activity.set_has_calls(false);
        }
        let is_draining = progress.is_draining;
        if is_draining {
            self.drain.count(in_flight);
        }
        drop(progress);
        if is_draining && in_flight == 0 {
            self.close(CloseCode::Normal, DRAINED);
        }
    }
}

/// Prints the address of the guest, for the log.
impl fmt::Display for GuestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.owner.fmt(f)
    }
}
