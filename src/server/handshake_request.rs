//! Requests of a server to a socket in its handshake to leave.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

/// A request of a server that a socket in its handshake leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ask {
    /// Leave, unless bytes have come since this was last asked.
    CloseIfSilent,
    /// Leave, because another connection takes its place.
    MakeRoom,
    /// Leave, because the server takes no more connections.
    Drain,
}

/// The progress of a handshake, or of a part of it.
#[derive(Debug)]
pub(crate) enum Progress<T> {
    Done(T),
    /// Bytes have come since the server asked before, though not enough. The handshake goes on.
    HasSpoken,
    Asked(Ask),
}

/// The slot in which a server leaves its request for a handshake.
#[derive(Debug, Default)]
pub(crate) struct HandshakeRequest(Mutex<RequestState>);

#[derive(Debug, Default)]
struct RequestState {
    ask: Option<Ask>,
    waker: Option<Waker>,
}

impl HandshakeRequest {
    /// Leaves a request. If there is one already, the more urgent one stays.
    pub(crate) fn ask(&self, ask: Ask) {
        let mut state = self.lock();
        state.ask = state.ask.max(Some(ask));
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Takes the request, if there is one; otherwise the task is woken by the next.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Option<Ask> {
        let mut state = self.lock();
        let ask = state.ask.take();
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => state.waker = Some(cx.waker().clone()),
        }
        ask
    }

    fn lock(&self) -> MutexGuard<'_, RequestState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
