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
    connection::ConnectionState,
    peer::{event::PeerEvent, weak::WeakPeer},
};

/// The events of all peers of a server, or of one peer, from when this was made.
///
/// It is a [`Stream`]; [`next`](Self::next) reads it without any other crate. A listener never
/// slows a connection: one that falls 256 events behind loses the oldest, and hears how many by
/// [`PeerEvent::Missed`]. It ends with the server, or with the peer's connection.
pub struct Events {
    only: Option<PeerFilter>,
    /// The connection of the only peer is over, and its last event was returned.
    is_over: bool,
    next: ReusableBoxFuture<'static, (EventResult, Receiver)>,
}

/// The peer that a listener listens to.
struct PeerFilter {
    peer: WeakPeer,
    state: watch::Receiver<ConnectionState>,
    /// Its last event may have been sent already.
    looks: bool,
}

type Receiver = broadcast::Receiver<PeerEvent>;
type EventResult = Result<PeerEvent, RecvError>;

/// How many events a listener may be behind.
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
            if let Some(event) = self.look_for_the_end() {
                return Poll::Ready(Some(event));
            }
            let (received, receiver) = ready!(self.next.poll(cx));
            self.next.set(receive(receiver));
            let event = match received {
                Ok(event) => event,
                Err(RecvError::Lagged(missed)) => {
                    if let Some(only) = &mut self.only {
                        only.looks = true;
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
    /// The last event of a peer, if it may have been missed: the connection was over before anyone
    /// listened, or while the listener was behind.
    fn look_for_the_end(&mut self) -> Option<PeerEvent> {
        let only = self.only.as_mut()?;
        if !std::mem::take(&mut only.looks) {
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

/// Sends events to all who listen. Nothing is kept while nobody does.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventSender(Arc<OnceLock<broadcast::Sender<PeerEvent>>>);

impl EventSender {
    /// Sends an event to all who listen. It is made only if somebody does.
    pub(crate) fn send(&self, event: impl FnOnce() -> PeerEvent) {
        if let Some(sender) = self.0.get()
            && sender.receiver_count() > 0
        {
            // A listener that has just gone is no fault.
            let _ = sender.send(event());
        }
    }

    /// The events from now on.
    pub(crate) fn events(&self) -> Events {
        let sender = self.0.get_or_init(|| broadcast::Sender::new(CAPACITY));
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
            looks: true,
        });
        events
    }
}
