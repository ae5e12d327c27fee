//! An event of a peer, or of a server's listeners.

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use wawo_protocol::{ConnectionError, Relocation};

use crate::{
    descriptor::ServiceDescriptor,
    peer::weak::WeakPeer,
    transport::{Address, ProxyHeaderError},
};

/// Something that happened to a peer, or to a listener of a server: an item of
/// [`Events`](crate::Events). It does not keep the connection of its peer open.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PeerEvent {
    /// The hellos are exchanged: the peer can be called. A peer that reconnects has this event for each
    /// connection, after its [`on_connect`](crate::PeerBuilder::on_connect).
    Connected(WeakPeer),
    /// The connection of a peer that [reconnects](crate::PeerBuilder::reconnect) is over, and why. The peer
    /// dials again; `Connected` follows for each new connection.
    Lost(WeakPeer, ConnectionError),
    /// A try to connect a peer that reconnects has failed.
    TryFailed(WeakPeer, FailedTry),
    /// The peer is over, and why: its connection is, or, if it reconnects, it was closed for good.
    Disconnected(WeakPeer, ConnectionError),
    /// A connection ended before its hello came: the other side speaks another protocol or version, or
    /// sent nothing. A socket that a server has accepted has no peer before its hello, so this one has an
    /// address, and [`upgrade`](WeakPeer::upgrade) returns `None`.
    NotConnected(WeakPeer, ConnectionError),
    /// The peer, or this side, takes no more calls; what is in flight goes on.
    Draining(WeakPeer),
    /// The peer, a server that is about to drain, asks this side to connect anew: when, and where. The
    /// connection goes on meanwhile.
    Move(WeakPeer, Relocation),
    /// The peer takes no more for now: calls and streams to it wait.
    Blocked(WeakPeer),
    /// The peer takes calls and streams again.
    Writable(WeakPeer),
    /// The peer announced a service that this side calls with another schema. Calls of it may fail, but
    /// none is refused. It comes once for each service of a connection, when the first stub of the
    /// service is made, or when the hello comes.
    SchemaDiffers(WeakPeer, ServiceDescriptor),
    /// A listener could not accept a connection. It goes on, after a pause if need be. Also a panic of a
    /// [`Protocol`](crate::Protocol), which ends only its socket.
    AcceptFailed(Arc<io::Error>),
    /// A connection from this address, which is that of a trusted proxy, was closed: it did not begin with a
    /// header of the PROXY protocol. See
    /// [`proxy_protocol`](crate::ServerConfigBuilder::proxy_protocol).
    ProxyHeaderFailed(Address, ProxyHeaderError),
    /// A connection from this address was refused because of this limit. The other side is told the
    /// limit.
    Refused(Address, ConnectionLimit),
    /// The server closes this connection because of this limit: it has been silent for too long
    /// (`MaxHandshakes`), or makes room for a connection of another host (`MaxConnections`). The other
    /// side is told the limit. `NotConnected` or `Disconnected` follows.
    Closed(WeakPeer, ConnectionLimit),
    /// This listener was too slow, and missed this number of events.
    Missed(u64),
}

/// A try to connect that has failed, of a peer that [reconnects](crate::PeerBuilder::reconnect).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FailedTry {
    /// How many tries have failed since the last connection, with this one.
    pub number: u32,
    /// The address that was dialled.
    pub address: Option<Address>,
    /// Why it failed.
    pub error: Arc<dyn Error + Send + Sync>,
    /// How long the peer waits before it tries again; `None` if it was the last try.
    pub wait: Option<Duration>,
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

impl PeerEvent {
    /// The peer of the event, if the event is about one.
    pub fn peer(&self) -> Option<&WeakPeer> {
        match self {
            Self::Connected(peer)
            | Self::Lost(peer, _)
            | Self::TryFailed(peer, _)
            | Self::Disconnected(peer, _)
            | Self::NotConnected(peer, _)
            | Self::Draining(peer)
            | Self::Move(peer, _)
            | Self::Blocked(peer)
            | Self::Writable(peer)
            | Self::SchemaDiffers(peer, _)
            | Self::Closed(peer, _) => Some(peer),
            Self::AcceptFailed(_)
            | Self::ProxyHeaderFailed(..)
            | Self::Refused(..)
            | Self::Missed(_) => None,
        }
    }

    /// Whether this is the last event of its peer.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::Disconnected(..) | Self::NotConnected(..))
    }
}
