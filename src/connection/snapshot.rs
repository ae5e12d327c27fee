//! What a connection holds at a moment.

/// What the connection to a peer holds at a moment: how busy it is, and whether anything is left when
/// nothing should be. From [`Peer::snapshot`](crate::Peer::snapshot).
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
