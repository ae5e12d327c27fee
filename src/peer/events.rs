//! The events of peers, as a stream that any number of listeners follow.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};
use tokio_util::sync::ReusableBoxFuture;

use crate::{
    connection::{ConnectionState, ConnectionWarnings},
    peer::{event::PeerEvent, hooks::PeerHooks, weak::WeakPeer},
};

/// The events of all peers of a server, or of one peer, that happen after this was made.
///
/// It is a [`Stream`]; [`next`](Self::next) reads it without any other crate. A listener never slows a
/// connection: one that falls 256 events behind misses the oldest, and gets their number by
/// [`PeerEvent::Missed`]. The stream ends with the server, or with the peer's connection.
pub struct Events {
    only: Option<PeerFilter>,
    /// Whether the only peer's last event was returned.
    is_over: bool,
    next: ReusableBoxFuture<'static, (EventResult, Receiver)>,
}

/// The one peer whose events a listener gets.
struct PeerFilter {
    peer: WeakPeer,
    state: watch::Receiver<ConnectionState>,
    /// Whether its last event may have been sent before the listener could get it.
    may_have_missed_end: bool,
}

type Receiver = broadcast::Receiver<PeerEvent>;
type EventResult = Result<PeerEvent, RecvError>;

/// How many events a listener may be behind before it misses the oldest.
const CAPACITY: usize = 256;

impl Events {
    /// Waits for the next event; `None` when there are no more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<PeerEvent> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Events {
    type Item = PeerEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PeerEvent>> {
        while !self.is_over {
            if let Some(event) = self.take_missed_end() {
                return Poll::Ready(Some(event));
            }
            let (received, receiver) = ready!(self.next.poll(cx));
            self.next.set(receive(receiver));
            let event = match received {
                Ok(event) => event,
                Err(RecvError::Lagged(missed)) => {
                    if let Some(only) = &mut self.only {
                        only.may_have_missed_end = true;
                    }
                    PeerEvent::Missed(missed)
                }
                Err(RecvError::Closed) => break,
            };
            if let Some(only) = &self.only {
                let id = only.peer.id();
                if event.peer().is_some_and(|peer| peer.id() != id) {
                    continue;
                }
                self.is_over = event.is_last();
            }
            return Poll::Ready(Some(event));
        }
        Poll::Ready(None)
    }
}

impl Events {
    /// The last event of a peer, if the listener may have missed it: the connection was over before the
    /// listener came, or while it was behind.
    fn take_missed_end(&mut self) -> Option<PeerEvent> {
        let only = self.only.as_mut()?;
        if !std::mem::take(&mut only.may_have_missed_end) {
            return None;
        }
        let ConnectionState::Closed(error) = &*only.state.borrow() else {
            return None;
        };
        self.is_over = true;
        Some(PeerEvent::Disconnected(only.peer.clone(), error.clone()))
    }
}

async fn receive(mut receiver: Receiver) -> (EventResult, Receiver) {
    let received = receiver.recv().await;
    (received, receiver)
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

/// Sends events to all listeners, and runs the functions of the program for them. Nothing is kept while
/// there are no listeners. All peers of a server share one, with the limits of their warnings.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventSender {
    shared: Arc<SharedByPeers>,
    hooks: Option<Arc<dyn PeerHooks>>,
}

#[derive(Debug, Default)]
struct SharedByPeers {
    listeners: OnceLock<broadcast::Sender<PeerEvent>>,
    warnings: ConnectionWarnings,
}

impl EventSender {
    /// A sender that runs these functions too.
    pub(crate) fn with_hooks(hooks: Option<Arc<dyn PeerHooks>>) -> Self {
        let shared = Arc::default();
        Self { shared, hooks }
    }

    /// Limits the warnings about the connections of these peers.
    pub(crate) fn warnings(&self) -> &ConnectionWarnings {
        &self.shared.warnings
    }

    /// The functions to run when a peer comes or goes, before its event is sent.
    pub(super) fn hooks(&self) -> Option<&dyn PeerHooks> {
        self.hooks.as_deref()
    }

    /// Sends an event to all listeners. `event` is called only if there are any.
    pub(crate) fn send(&self, event: impl FnOnce() -> PeerEvent) {
        if let Some(sender) = self.shared.listeners.get()
            && sender.receiver_count() > 0
        {
            // The send fails if the last listener was dropped just now, which is no error.
            let _ = sender.send(event());
        }
    }

    /// The events from now on.
    pub(crate) fn events(&self) -> Events {
        let listeners = &self.shared.listeners;
        let sender = listeners.get_or_init(|| broadcast::Sender::new(CAPACITY));
        Events {
            only: None,
            is_over: false,
            next: ReusableBoxFuture::new(receive(sender.subscribe())),
        }
    }

    /// The events of this peer from now on.
    pub(super) fn events_of(
        &self,
        peer: WeakPeer,
        state: watch::Receiver<ConnectionState>,
    ) -> Events {
        let mut events = self.events();
        events.only = Some(PeerFilter {
            peer,
            state,
            may_have_missed_end: true,
        });
        events
    }
}
