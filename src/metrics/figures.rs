//! The figures that the hooks report.

use std::time::Duration;

use wawo_protocol::Code;

/// The figures of a call that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallFigures {
    pub(crate) code: Code,
    /// From its begin to its end, with the whole stream if it has one.
    pub(crate) took: Duration,
    pub(crate) request_messages: u64,
    pub(crate) request_bytes: u64,
    pub(crate) reply_messages: u64,
    pub(crate) reply_bytes: u64,
}

/// An amount that goes up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gauge {
    /// Bytes of packets that wait to be written to sockets.
    OutputBytes,
    /// Bytes of messages of streams that wait to become packets.
    OutboxBytes,
    /// Calls of this side that wait until the other side takes more calls.
    WaitingCalls,
    /// Connections that take no calls of this side until more of their output is written.
    BlockedConnections,
}
