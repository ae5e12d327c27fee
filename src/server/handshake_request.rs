//! How a server asks a socket in its handshake to go.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

/// A server wants a socket whose protocol is not known yet to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ask {
    /// Unless it has said something since it was last asked.
    CloseIfSilent,
    /// Another takes its place.
    MakeRoom,
    /// The server takes no more connections.
    Drain,
}

/// Where a server leaves what it asks of a handshake.
#[derive(Debug, Default)]
pub(crate) struct HandshakeRequest(Mutex<RequestState>);

#[derive(Debug, Default)]
struct RequestState {
    ask: Option<Ask>,
    waker: Option<Waker>,
}

impl HandshakeRequest {
    /// Asks; of several things that were asked the most urgent counts.
    pub(crate) fn ask(&self, ask: Ask) {
        let mut state = self.lock();
        state.ask = state.ask.max(Some(ask));
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Takes what was asked, without waiting for more.
    pub(crate) fn take(&self) -> Option<Ask> {
        self.lock().ask.take()
    }

    /// Takes what was asked; the task is woken for what is asked later.
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
