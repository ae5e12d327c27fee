//! What happens to peers, as a stream that any number of listeners follow.

use std::{
    fmt, io,
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
use wawo_protocol::ConnectionError;

use crate::{
    connection::ConnectionState, descriptor::ServiceDescriptor, peer::WeakPeer, transport::Address,
};

/// Something that happened to a peer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PeerEvent {
    /// The hellos are exchanged: the peer can be called.
    Connected(WeakPeer),
    /// The connection is over, and why.
    Disconnected(WeakPeer, ConnectionError),
    /// A connection ended before its hello came: another protocol, another version, or nothing.
    NotConnected(WeakPeer, ConnectionError),
    /// The peer, or this side, takes no more calls; what is in flight goes on.
    Draining(WeakPeer),
    /// The peer does not take what waits for it: calls and streams to it wait.
    Blocked(WeakPeer),
    /// It does again.
    Writable(WeakPeer),
    /// The peer announced a service that this side calls, by another schema: calls may fail, and
    /// none is refused for it. Told once for each service of a connection, when the first stub of
    /// it is made, or when the hello comes.
    SchemaDiffers(WeakPeer, ServiceDescriptor),
    /// A listener could not accept a connection; it goes on, after a pause if need be.
    AcceptFailed(Arc<io::Error>),
    /// A connection from this address was not taken, because of this limit. It was told so.
    Refused(Address, ConnectionLimit),
    /// The server closes this connection, because of this limit: it has been silent for too long
    /// (`MaxHandshakes`), or makes room for that of another host (`MaxConnections`). It is told so.
    /// `NotConnected` or `Disconnected` follows.
    Closed(WeakPeer, ConnectionLimit),
    /// This listener was slow, and so many events were thrown away.
    Missed(u64),
}

/// A limit on the connections of a server, which kept one out. `Display` names the setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionLimit {
    /// See [`ServerConfigBuilder::max_connections`](crate::ServerConfigBuilder::max_connections).
    MaxConnections,
    /// See [`ServerConfigBuilder::max_connections_per_host`](crate::ServerConfigBuilder::max_connections_per_host).
    MaxConnectionsPerHost,
    /// See [`ServerConfigBuilder::max_handshakes`](crate::ServerConfigBuilder::max_handshakes).
    MaxHandshakes,
}

impl fmt::Display for ConnectionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaxConnections => "max_connections",
            Self::MaxConnectionsPerHost => "max_connections_per_host",
            Self::MaxHandshakes => "max_handshakes",
        })
    }
}

/// The events of all peers of a server, or of one peer, from when this was made.
///
/// It is a [`Stream`]; [`next`](Self::next) reads it without any other crate. A listener never
/// slows a connection: one that falls 256 events behind loses the oldest, and hears how many by
/// [`PeerEvent::Missed`]. It ends with the server, or with the peer's connection.
pub struct Events {
    only: Option<PeerFilter>,
    /// The only peer has gone.
    is_over: bool,
    next: ReusableBoxFuture<'static, (EventResult, Receiver)>,
}

/// The peer that a listener listens to.
struct PeerFilter {
    peer: WeakPeer,
    state: watch::Receiver<ConnectionState>,
    /// Its last event may have been told already.
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
    /// The last event of a peer, if it may not be told any more: it has gone before anyone
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

impl PeerEvent {
    /// The peer that it happened to, if it is about one.
    pub fn peer(&self) -> Option<&WeakPeer> {
        match self {
            Self::Connected(peer)
            | Self::Disconnected(peer, _)
            | Self::NotConnected(peer, _)
            | Self::Draining(peer)
            | Self::Blocked(peer)
            | Self::Writable(peer)
            | Self::SchemaDiffers(peer, _)
            | Self::Closed(peer, _) => Some(peer),
            Self::AcceptFailed(_) | Self::Refused(..) | Self::Missed(_) => None,
        }
    }

    fn is_last(&self) -> bool {
        matches!(self, Self::Disconnected(..) | Self::NotConnected(..))
    }
}

/// Where events are told. Nothing is kept while nobody listens.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventSender(Arc<OnceLock<broadcast::Sender<PeerEvent>>>);

impl EventSender {
    /// Tells whoever listens. The event is made only if somebody does.
    pub(crate) fn send(&self, event: impl FnOnce() -> PeerEvent) {
        if let Some(sender) = self.0.get()
            && sender.receiver_count() > 0
        {
            // A listener that has just gone is no fault.
            let _ = sender.send(event());
        }
    }

    /// What is told from now on.
    pub(crate) fn events(&self) -> Events {
        let sender = self.0.get_or_init(|| broadcast::Sender::new(CAPACITY));
        Events {
            only: None,
            is_over: false,
            next: ReusableBoxFuture::new(receive(sender.subscribe())),
        }
    }

    /// What is told of this peer from now on.
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
