//! What a connection holds at a moment.

use tokio::sync::oneshot;

use crate::connection::{driver::Driver, mailbox::Command};
use crate::peer::Peer;

/// What a connection holds at a moment: how busy it is, and whether anything is left when nothing
/// should be. From [`Peer::snapshot`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerSnapshot {
    /// Calls to the peer, in flight or waiting for room.
    pub calls_out: usize,
    /// Calls of the peer in flight, with one-way messages that are being handled.
    pub calls_in: usize,
    /// What requests of the peer hold of the credit of all calls, in bytes.
    pub request_bytes: u64,
    /// What replies of the peer, not read yet, hold of the credit of all calls, in bytes.
    pub reply_bytes: u64,
    /// Bytes that wait to be written.
    pub output_bytes: usize,
    /// What streams to the peer hold until it gives credit, in bytes.
    pub outbox_bytes: usize,
    /// Bytes that replies to the peer, streams aside, hold until it reads them.
    pub waiting_reply_bytes: u64,
    /// Bytes that requests of the peer that are worked on take, decoded; those that take little
    /// are not counted. Of a call in a thread for those that block, 1 KiB more.
    pub decoded_bytes: usize,
}

impl Peer {
    /// What the connection holds now. All is zero when nothing is in flight; also when the
    /// connection is over.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn snapshot(&self) -> PeerSnapshot {
        let (sender, receiver) = oneshot::channel();
        self.0.shared.mailbox.push_end(Command::Snapshot(sender));
        receiver.await.unwrap_or_default()
    }
}

impl Driver {
    pub(crate) fn snapshot(&mut self) -> PeerSnapshot {
        let (request_bytes, reply_bytes) = self.connection.held_bytes();
        PeerSnapshot {
            calls_out: self.connection.calls_started(),
            calls_in: self.connection.calls_served() + self.incoming.one_way_messages(),
            request_bytes,
            reply_bytes,
            output_bytes: self.connection.output().len(),
            outbox_bytes: self.shared.outbox_bytes(),
            waiting_reply_bytes: self.connection.waiting_reply_bytes(),
            decoded_bytes: self.shared.decoded.held(),
        }
    }
}
