//! The figures of a connection at a moment.

/// How many calls and bytes the connection to a peer holds at a moment. It shows how busy the connection
/// is, and whether anything was left when all calls have ended. From
/// [`Peer::snapshot`](crate::Peer::snapshot).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerSnapshot {
    /// Calls to the peer, in flight or waiting for room.
    pub calls_out: usize,
    /// Calls of the peer in flight, and one-way messages of it that are being handled.
    pub calls_in: usize,
    /// Credit that requests of the peer hold, of the credit for all calls, in bytes.
    pub request_bytes: u64,
    /// Credit that unread replies of the peer hold, of the credit for all calls, in bytes.
    pub reply_bytes: u64,
    /// Bytes that wait to be written.
    pub output_bytes: usize,
    /// Bytes of streams to the peer that wait until it gives credit.
    pub outbox_bytes: usize,
    /// Bytes of single replies to the peer that are held until the peer gives credit for them.
    pub waiting_reply_bytes: u64,
    /// Bytes that the decoded requests of running calls of the peer take; short requests are not counted.
    /// Each call in a thread for blocking handlers adds 1 KiB.
    pub decoded_bytes: usize,
}
