//! The interface by which a connection reaches the peer that it belongs to.

use std::fmt;

use wawo_protocol::{ConnectionError, Relocation};

use crate::{
    connection::{mailbox::UnsentMessages, warnings::ConnectionWarnings},
    descriptor::ServiceDescriptor,
    peer_id::PeerId,
    transport::Address,
};

/// The peer that a connection belongs to. The connection reports its events to it, and logs under its
/// address.
///
/// `Display` prints the address of the peer, for the log.
pub(crate) trait Owner: fmt::Debug + fmt::Display + Send + Sync {
    /// See [`Peer::id`](crate::Peer::id).
    fn id(&self) -> PeerId;

    /// See [`Peer::address`](crate::Peer::address).
    fn address(&self) -> Option<&Address>;

    /// Limits the warnings about the connection, with those about others.
    fn warnings(&self) -> &ConnectionWarnings;

    /// Takes an event of the connection, from its driver or from a thread that makes a stub. No lock is
    /// held meanwhile.
    fn connection_changed(&self, event: ConnectionEvent);

    /// Takes one-way messages that the connection has not sent, as it is over or the other side drains. By
    /// default they are returned.
    fn keep_unsent(&self, messages: UnsentMessages) -> Result<(), UnsentMessages> {
        Err(messages)
    }
}

/// Something that happened to a connection.
#[derive(Debug)]
pub(crate) enum ConnectionEvent {
    /// The hellos are exchanged.
    Opened,
    /// One side takes no more calls.
    Draining,
    /// The other side, which has accepted the connection, asks this one to connect anew.
    Move(Relocation),
    /// The other side takes no more for now, so calls and streams to it wait.
    Blocked,
    /// The other side takes calls and streams again.
    Writable,
    /// The other side announced this service with another schema.
    SchemaDiffers(ServiceDescriptor),
    /// The connection is over. Its hello had come.
    Ended(ConnectionError),
    /// The connection is over before its hello came.
    NotOpened(ConnectionError),
}
