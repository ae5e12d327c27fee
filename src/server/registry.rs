//! The registry of a server: its connections now, and how to reach their tasks.

mod guests;
mod occupant;
mod place;

use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, task::AbortHandle, time::timeout};

use crate::{
    clock,
    connection::Activity,
    log_limiter::LogLimiter,
    peer::{ActivityHandle, ConnectionLimit, Peer, WeakPeer},
    peer_id::PeerId,
    server::{
        admission::{Admission, AdmissionResult, ConnectionLimits, PlaceId},
        handshake_request::{Ask, HandshakeRequest},
        host::Newcomer,
        registry::occupant::Occupant,
    },
};

pub(crate) use crate::server::registry::{
    guests::GuestPlace,
    occupant::{MADE_ROOM, SILENT, UNDECIDED},
    place::{AdmissionError, ConnectionPlace, Displacement, RefusalPermit},
};

/// The connections of a server. Each has a [`ConnectionPlace`] here for as long as its task lasts.
#[derive(Debug)]
pub(crate) struct Registry {
    state: Mutex<State>,
    /// Notified when a handshake has run for the first time, or a connection is over.
    changed: Notify,
    /// Limits the log lines about connections that were silent for too long.
    silent: LogLimiter,
    /// Limits the log lines about callers whose identity was not accepted.
    refused: LogLimiter,
}

#[derive(Debug)]
struct State {
    /// Whether no more connections are admitted.
    is_closed: bool,
    /// Whether the tasks that were left were aborted.
    is_aborted: bool,
    /// The entries in the order of their places, so that connections end in the same order each time.
    entries: BTreeMap<PlaceId, Entry>,
    /// The place of each peer that was introduced.
    places: HashMap<PeerId, PlaceId>,
    /// The guests that are not the peer of a place.
    guests: BTreeMap<PeerId, KnownPeer>,
    admission: Admission,
}

/// A peer that was introduced.
type KnownPeer = (WeakPeer, ActivityHandle);

#[derive(Debug, Default)]
struct Entry {
    /// The request slot of the socket, during its handshake.
    handshake: Option<Arc<HandshakeRequest>>,
    /// The peer, once there is a driver.
    peer: Option<KnownPeer>,
    /// The handle to end the task, once the driver runs.
    task: Option<AbortHandle>,
}

/// How long accepting pauses for connections whose handshakes did not run yet. If they take longer than
/// this, a handler may block their thread, for which other connections should not wait.
const MAX_FIRST_POLL_WAIT: Duration = Duration::from_secs(1);

impl Registry {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        Self {
            state: Mutex::new(State {
                is_closed: false,
                is_aborted: false,
                entries: BTreeMap::new(),
                places: HashMap::new(),
                guests: BTreeMap::new(),
                admission: Admission::new(limits),
            }),
            changed: Notify::new(),
            silent: LogLimiter::default(),
            refused: LogLimiter::default(),
        }
    }

    /// All peers, in the order in which they came.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        self.lock().peers()
    }

    /// The peer with this number, if its connection has a place or it is a guest.
    pub(crate) fn peer(&self, id: PeerId) -> Option<Peer> {
        let state = self.lock();
        let peer = match state.places.get(&id) {
            Some(place) => state.entries.get(place).and_then(Entry::peer),
            None => state.guests.get(&id).and_then(|(guest, _)| guest.upgrade()),
        };
        // Dropping the last handle of a peer runs code of the user, which may need this lock.
        drop(state);
        peer
    }

    /// Admits no more connections from now on. Returns all peers. Sockets in their handshake are asked to
    /// leave.
    pub(crate) fn close(&self) -> Vec<Peer> {
        let mut state = self.lock();
        state.is_closed = true;
        let handshakes = state.entries.values_mut();
        let handshakes: Vec<_> = handshakes
            .filter_map(|entry| entry.handshake.take())
            .collect();
        let peers = state.peers();
        drop(state);
        handshakes
            .iter()
            .for_each(|request| request.ask(Ask::Drain));
        peers
    }

    /// Aborts the tasks of all connections that are left, in whatever runtime. They are over when their
    /// runtimes have dropped them.
    pub(crate) fn abort(&self) {
        let mut state = self.lock();
        (state.is_closed, state.is_aborted) = (true, true);
        let entries = state.entries.values_mut();
        let tasks: Vec<_> = entries.filter_map(|entry| entry.task.take()).collect();
        // A runtime that has ended drops a task in `abort`, and with it a place, which needs this lock.
        drop(state);
        tasks.iter().for_each(AbortHandle::abort);
    }

    /// Waits until no connection is left, and no guest that is open or has a call in flight.
    pub(crate) async fn emptied(&self) {
        let is_empty = |state: &State| state.entries.is_empty() && state.are_guests_done();
        self.until(is_empty).await;
    }

    /// Records that a guest is over and has no call in flight.
    pub(crate) fn guest_is_done(&self) {
        self.changed.notify_waiters();
    }

    /// Waits while all connections that may be accepted wait for the first run of their handshake.
    pub(crate) async fn wait_for_first_polls(&self) {
        let wait_for_first_polls = self.until(|state| !state.admission.awaits_first_polls());
        // After the time, one of those that wait is asked whether it says anything.
        let _ = timeout(MAX_FIRST_POLL_WAIT, wait_for_first_polls).await;
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if is_so(&self.lock()) {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn limits(&self) -> ConnectionLimits {
        *self.lock().admission.limits()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// # Errors
    ///
    /// If the connection at this place has to leave.
    fn may_stay(&self, place: PlaceId) -> Result<(), Ask> {
        match (self.is_closed, self.admission.is_leaving(place)) {
            (true, _) => Err(Ask::Drain),
            (false, true) => Err(Ask::MakeRoom),
            (false, false) => Ok(()),
        }
    }

    fn admit(&mut self, newcomer: Newcomer) -> Result<AdmissionResult, ConnectionLimit> {
        let entries = &self.entries;
        let activity = |id| {
            let handle = entries.get(&id).and_then(|entry| entry.peer.as_ref());
            handle.map_or_else(Activity::default, |(_, handle)| handle.activity())
        };
        let admitted = self.admission.admit(newcomer, clock::now(), activity)?;
        self.entries.insert(admitted.place, Entry::default());
        Ok(admitted)
    }

    fn peers(&self) -> Vec<Peer> {
        let guests = self.guests.values();
        let guests = guests.filter_map(|(guest, _)| guest.upgrade());
        let peers = self.entries.values().filter_map(Entry::peer);
        peers.chain(guests).collect()
    }

    fn occupant(&self, place: Option<PlaceId>) -> Option<Occupant> {
        self.entries.get(&place?)?.occupant()
    }
}

impl Entry {
    fn peer(&self) -> Option<Peer> {
        self.peer.as_ref()?.0.upgrade()
    }

    fn occupant(&self) -> Option<Occupant> {
        if let Some(request) = &self.handshake {
            return Some(Occupant::Handshake(request.clone()));
        }
        match self.peer() {
            Some(peer) => Some(Occupant::Peer(peer)),
            None => self.task.clone().map(Occupant::Task),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::{
        AdmissionError, ConnectionLimit, ConnectionLimits, ConnectionPlace, MAX_FIRST_POLL_WAIT,
        Registry,
    };
    use crate::server::admission::MAX_LEAVING;

    fn registry(connections: usize, handshakes: usize) -> Arc<Registry> {
        Arc::new(Registry::new(ConnectionLimits {
            connections,
            handshakes,
            per_host: connections,
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn accepting_waits_for_first_turns_but_not_for_ever() {
        let registry = registry(100, 2);
        let (first, _) = registry.admit(None).unwrap();
        let begin = Instant::now();
        registry.wait_for_first_polls().await;
        let (second, _) = registry.admit(None).unwrap();
        assert_eq!(begin.elapsed().as_secs(), 0);
        // The test runs neither of the drivers.
        registry.wait_for_first_polls().await;
        assert_eq!(begin.elapsed(), MAX_FIRST_POLL_WAIT);
        drop((first, second));
        // The hello of one has come when its driver first runs, that of another has not, and the third is
        // over.
        let ends: [fn(ConnectionPlace); 3] = [
            |place| place.handshake_done(),
            |place| place.is_silent(),
            drop,
        ];
        for end in ends {
            let registry = self::registry(100, 1);
            let (place, _) = registry.admit(None).unwrap();
            let waiting = tokio::spawn({
                let registry = registry.clone();
                async move { registry.wait_for_first_polls().await }
            });
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            end(place);
            waiting.await.unwrap();
        }
        assert_eq!(begin.elapsed(), MAX_FIRST_POLL_WAIT);
    }

    #[tokio::test]
    async fn a_place_is_free_when_it_is_dropped_and_none_is_given_once_it_is_closed() {
        let registry = registry(1, 1);
        let (place, _) = registry.admit(None).unwrap();
        let full = AdmissionError::Full(ConnectionLimit::MaxConnections);
        assert_eq!(registry.admit(None).err(), Some(full));
        drop(place);
        let (place, _) = registry.admit(None).unwrap();
        let own = registry.admit_own().unwrap();
        assert!(registry.close().is_empty(), "no peer was made known");
        assert_eq!(registry.admit(None).err(), Some(AdmissionError::Closed));
        assert_eq!(registry.admit_own().err(), Some(AdmissionError::Closed));
        drop((place, own));
        registry.emptied().await;
    }

    #[test]
    fn so_many_are_told_why_they_are_refused_and_no_more() {
        let registry = registry(1, 1);
        let told: Vec<_> = (0..MAX_LEAVING)
            .map(|_| registry.refuse().unwrap())
            .collect();
        assert!(registry.refuse().is_none());
        drop(told);
        assert!(registry.refuse().is_some());
    }

    /// A task may be spawned at the moment when all are aborted.
    #[tokio::test]
    async fn a_task_that_comes_after_all_were_aborted_is_aborted_too() {
        let registry = registry(10, 10);
        let (before, after) = (registry.admit_own().unwrap(), registry.admit_own().unwrap());
        let (one, other) = (before.task(), after.task());
        let first = tokio::spawn(async move {
            let _place = before;
            std::future::pending::<()>().await;
        });
        one.fill(first.abort_handle());
        registry.abort();
        let second = tokio::spawn(async move {
            let _place = after;
            std::future::pending::<()>().await;
        });
        other.fill(second.abort_handle());
        registry.emptied().await;
        assert!(first.await.unwrap_err().is_cancelled());
        assert!(second.await.unwrap_err().is_cancelled());
    }
}
