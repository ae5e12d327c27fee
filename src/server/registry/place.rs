//! The place of a connection in the registry: how a connection gets one, and what it records there.

use std::sync::Arc;

use tokio::task::AbortHandle;
use wawo_protocol::ConnectionError;

use crate::{
    clock,
    error_chain::ErrorChain,
    peer::{ConnectionLimit, Peer, WeakPeer},
    server::{
        admission::{Admission, PlaceId},
        handshake_request::{Ask, HandshakeRequest},
        host::{Host, Newcomer},
        registry::{Entry, Registry, occupant::Occupant},
    },
    transport::Address,
};

/// The place of a connection. Dropping it frees the place; a guest that is still there goes on without one.
#[derive(Debug)]
pub(crate) struct ConnectionPlace {
    registry: Arc<Registry>,
    pub(super) id: PlaceId,
}

/// The reason why a connection gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdmissionError {
    /// The server takes no more connections.
    Closed,
    /// This limit refuses it.
    Full(ConnectionLimit),
}

/// How a connection was admitted.
#[derive(Debug)]
pub(crate) struct Displacement {
    /// The peer whose connection was closed for it.
    pub(crate) makes_room: Option<WeakPeer>,
}

impl Registry {
    /// Takes a place for a connection that was accepted. Others may be closed for it.
    pub(crate) fn admit(
        self: &Arc<Self>,
        newcomer: impl Into<Newcomer>,
    ) -> Result<(ConnectionPlace, Displacement), AdmissionError> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(AdmissionError::Closed);
        }
        let admitted = state.admit(newcomer.into()).map_err(AdmissionError::Full)?;
        let (makes_room, asked) = (admitted.makes_room, admitted.asked);
        let (closes, is_asked) = (state.occupant(makes_room), state.occupant(asked));
        // Dropping the last handle of a peer runs code of the user, which may need this lock.
        drop(state);
        let displaced = Displacement {
            makes_room: closes.and_then(Occupant::make_room),
        };
        if let Some(occupant) = is_asked {
            occupant.close_if_silent();
        }
        Ok((self.place(admitted.place), displaced))
    }

    /// Takes a place for a connection that the program itself has opened.
    pub(crate) fn admit_own(self: &Arc<Self>) -> Result<ConnectionPlace, AdmissionError> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(AdmissionError::Closed);
        }
        let id = state.admission.admit_own(clock::now());
        state.entries.insert(id, Entry::default());
        Ok(self.place(id))
    }

    fn place(self: &Arc<Self>, id: PlaceId) -> ConnectionPlace {
        ConnectionPlace {
            registry: self.clone(),
            id,
        }
    }

    /// The permit to tell a connection why it is refused; `None` while too many are leaving.
    pub(crate) fn refuse(self: &Arc<Self>) -> Option<RefusalPermit> {
        let may_explain = self.lock().admission.may_explain();
        may_explain.then(|| RefusalPermit(self.clone()))
    }

    /// Asks a connection whether it says anything, if `find` returns one to ask.
    fn ask(&self, find: impl FnOnce(&mut Admission) -> Option<PlaceId>) {
        let mut state = self.lock();
        let asked = find(&mut state.admission);
        let asked = state.occupant(asked);
        // Dropping the last handle of a peer runs code of the user, which may need this lock.
        drop(state);
        if let Some(occupant) = asked {
            occupant.close_if_silent();
        }
    }
}

impl ConnectionPlace {
    /// Makes a peer known, before its first event. A guest that the socket had before goes on without a
    /// place.
    ///
    /// # Errors
    ///
    /// If the connection has to leave: the server has stopped taking connections, or it makes room for
    /// another.
    pub(crate) fn introduce(&self, peer: &Peer) -> Result<(), Ask> {
        let mut state = self.registry.lock();
        state.may_stay(self.id)?;
        let state = &mut *state;
        let mut guest = None;
        if let Some(entry) = state.entries.get_mut(&self.id) {
            entry.handshake = None;
            let known = (peer.downgrade(), peer.activity_handle());
            guest = entry.peer.replace(known);
            state.places.insert(peer.id(), self.id);
            state.admission.handshake_done(self.id);
        }
        if let Some(guest) = guest {
            state.release_guest(guest);
        }
        self.registry.changed.notify_waiters();
        Ok(())
    }

    /// Records that the handshake of the socket begins; `request` can ask it to leave.
    ///
    /// # Errors
    ///
    /// As [`introduce`](Self::introduce).
    pub(crate) fn begin_handshake(&self, request: &Arc<HandshakeRequest>) -> Result<(), Ask> {
        self.set_handshake(Some(request.clone()))
    }

    /// Records that the socket speaks another protocol.
    ///
    /// # Errors
    ///
    /// As [`introduce`](Self::introduce).
    pub(crate) fn end_handshake(&self) -> Result<(), Ask> {
        self.set_handshake(None)?;
        self.handshake_done();
        Ok(())
    }

    fn set_handshake(&self, request: Option<Arc<HandshakeRequest>>) -> Result<(), Ask> {
        let mut state = self.registry.lock();
        state.may_stay(self.id)?;
        if let Some(entry) = state.entries.get_mut(&self.id) {
            entry.handshake = request;
        }
        Ok(())
    }

    /// Records the host of a connection that came through a proxy.
    ///
    /// # Errors
    ///
    /// If the host may have no more connections.
    pub(crate) fn set_host(&self, host: Option<Host>) -> Result<(), ConnectionLimit> {
        self.registry.lock().admission.set_host(self.id, host)
    }

    /// The slot for the handle of the connection's task. It is filled where the task is spawned.
    pub(crate) fn task(&self) -> TaskSlot {
        TaskSlot {
            registry: self.registry.clone(),
            id: self.id,
        }
    }

    /// Records that the handshake has run for the first time, and has to wait.
    pub(crate) fn is_silent(&self) {
        self.registry.ask(|admission| admission.is_silent(self.id));
        self.registry.changed.notify_waiters();
    }

    /// Records that the socket was asked, and bytes have come, though not a whole hello.
    pub(crate) fn has_spoken(&self) {
        self.registry.ask(|admission| admission.has_spoken(self.id));
    }

    /// Records that the socket was asked, and is closed because no bytes had come.
    pub(crate) fn was_silent(&self, from: &Address) {
        let from = from.clone();
        let max = self.registry.limits().handshakes;
        self.registry.silent.add(move |count| {
            let limit = ConnectionLimit::MaxHandshakes;
            tracing::warn!(
                target: "wawo::server",
                %from,
                count,
                %limit,
                max,
                "connections were closed that had not said hello"
            );
        });
    }

    /// Logs that the handshake has ended because of who the other side is, or because this side could not
    /// find that out. Other ends of a handshake are not logged here.
    pub(crate) fn was_refused(&self, from: Option<&Address>, error: &ConnectionError) {
        let is_about_identity = matches!(
            error,
            ConnectionError::Refused { .. }
                | ConnectionError::AcceptTimedOut(_)
                | ConnectionError::NoCredentials(_)
        );
        if !is_about_identity {
            return;
        }
        let (from, error) = (from.cloned(), error.clone());
        self.registry.refused.add(move |count| {
            let from = from.as_ref().map(tracing::field::display);
            let error = ErrorChain(&error);
            tracing::warn!(target: "wawo::server", from, count, %error, "connections were not let in");
        });
    }

    pub(super) fn handshake_done(&self) {
        self.registry.lock().admission.handshake_done(self.id);
        self.registry.changed.notify_waiters();
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        state.admission.remove(self.id);
        let mut entry = state.entries.remove(&self.id);
        let mut peer = entry.as_mut().and_then(|entry| entry.peer.take());
        if let Some((peer, _)) = &peer {
            state.places.remove(&peer.id());
        }
        // A guest that is still there has outlived its socket, and has to be drained like others.
        if let Some(guest) = peer.take_if(|(_, activity)| activity.is_of_guest()) {
            state.release_guest(guest);
        }
        // Dropping a handle may drop the user's state behind it, which may need this lock.
        drop(state);
        drop((entry, peer));
        self.registry.changed.notify_waiters();
    }
}

/// The slot for the handle of a task. The task gets its place before it is spawned, and its handle exists
/// only after that.
#[derive(Debug)]
pub(crate) struct TaskSlot {
    registry: Arc<Registry>,
    id: PlaceId,
}

impl TaskSlot {
    pub(crate) fn fill(self, task: AbortHandle) {
        let mut state = self.registry.lock();
        if state.is_aborted {
            drop(state);
            return task.abort();
        }
        // If there is no entry, the connection is over already.
        if let Some(entry) = state.entries.get_mut(&self.id) {
            entry.task = Some(task);
        }
    }
}

/// The permit to tell a refused connection why. Dropping it counts the connection as closed.
#[derive(Debug)]
pub(crate) struct RefusalPermit(Arc<Registry>);

impl Drop for RefusalPermit {
    fn drop(&mut self) {
        self.0.lock().admission.explained();
    }
}
