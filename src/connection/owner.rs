//! The peer at the other end, as far as its connection knows it.

use std::fmt;

use wawo_protocol::ConnectionError;

use crate::{descriptor::ServiceDescriptor, peer_id::PeerId, transport::Address};

/// The peer that a connection belongs to. Its connection logs under its name, and tells it what happens.
///
/// `Display` says where the peer is, for the log.
pub(crate) trait Owner: fmt::Debug + fmt::Display + Send + Sync {
    /// See [`Peer::id`](crate::Peer::id).
    fn id(&self) -> PeerId;

    /// See [`Peer::address`](crate::Peer::address).
    fn address(&self) -> Option<&Address>;

    /// Hears what happens to the connection: from its driver, or from a thread that makes a stub. No
    /// lock is held meanwhile.
    fn connection_changed(&self, event: ConnectionEvent);
}

/// Something that happened to a connection.
#[derive(Debug)]
pub(crate) enum ConnectionEvent {
    /// The hellos are exchanged.
    Opened,
    /// One side takes no more calls.
    Draining,
    /// The other side does not take what waits for it.
    Blocked,
    /// It does again.
    Writable,
    /// The other side announced this service by another schema.
    SchemaDiffers(ServiceDescriptor),
    /// It is closed since nothing came when the server asked whether it says anything.
    WasSilent,
    /// It is over, and its hello had come.
    Ended(ConnectionError),
    /// It is over before its hello came.
    NotOpened(ConnectionError),
}
