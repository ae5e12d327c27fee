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
    /// Bytes that wait to be written to sockets.
    OutputBytes,
    /// Bytes of messages that wait for credit.
    OutboxBytes,
    /// Calls that wait for a slot.
    WaitingCalls,
    /// Connections that read nothing, because their output is full.
    BlockedConnections,
}
