//! A copy of all metrics, for bridges to other collectors.

use wawo_protocol::{Code, Side};

use crate::{call_side::CallSide, metrics::durations::CallDurations};

/// All figures of a [`Metrics`](crate::Metrics) at one time, since it was made. Calls that end meanwhile may
/// be in some of them and not yet in others.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct MetricsSnapshot {
    /// The calls, by side, method and protocol, in this order. Methods that were not called are left out.
    pub methods: Vec<MethodMetrics>,
    /// The calls that were refused or ended for a limit, by side and reason.
    pub refused: Vec<RefusedCalls>,
    /// The connections, by side and transport.
    pub connections: Vec<ConnectionMetrics>,
    /// The peers of the connections that this side opened.
    pub connecting_peers: u64,
    /// The peers of the connections that this side accepted.
    pub accepting_peers: u64,
    /// The bytes of sockets, by transport.
    pub io: Vec<IoBytes>,
    /// Bytes of packets that wait to be written to sockets.
    pub output_bytes: u64,
    /// Bytes of messages of streams that wait to become packets.
    pub outbox_bytes: u64,
    /// Calls of this side that wait until the other side takes more calls.
    pub waiting_calls: u64,
    /// Connections that take no calls of this side until more of their output is written.
    pub blocked_connections: u64,
    /// The lines that an access log dropped: its writer was too slow, or failed.
    pub dropped_log_lines: u64,
}

/// The calls of one method, on one side and over one protocol.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MethodMetrics {
    /// The side that counted the calls.
    pub side: CallSide,
    /// The protocol that carried them, such as `wawo`.
    pub protocol: &'static str,
    /// The full name of the method, such as `chat.v1.Chat/Join`. `None` for methods that this side does not
    /// know, or that are beyond the limit of [`Metrics`](crate::Metrics).
    pub method: Option<Box<str>>,
    /// The calls that began.
    pub started: u64,
    /// The calls that have begun and not ended.
    pub in_flight: u64,
    /// The requests of the calls that have ended.
    pub requests: MessageCount,
    /// The replies of the calls that have ended.
    pub replies: MessageCount,
    /// How often a call was sent again after a failure.
    pub retries: u64,
    /// The handlers that panicked.
    pub panics: u64,
    /// The calls that have ended, by their code. Codes without calls are left out.
    pub outcomes: Vec<Outcome>,
}

/// The messages of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageCount {
    /// The number of messages.
    pub messages: u64,
    /// The bytes of these messages, encoded and without the headers of packets.
    pub bytes: u64,
}

/// The calls of a method that ended with one code.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome {
    /// The code.
    pub code: Code,
    /// Their number, and the times that they took.
    pub durations: CallDurations,
}

/// The calls that were refused or ended for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedCalls {
    /// The side that refused them.
    pub side: CallSide,
    /// The name of the limit; `draining` or `closed` if the connection took no calls.
    pub reason: &'static str,
    /// Their number.
    pub count: u64,
}

/// The connections of one side over one transport.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionMetrics {
    /// The end that this side has.
    pub side: Side,
    /// The transport, such as `tcp`.
    pub transport: &'static str,
    /// The connections that are open.
    pub open: u64,
    /// The connections that have ended: the reasons, and the number for each.
    pub ended: Vec<(&'static str, u64)>,
}

/// The bytes that went over the sockets of one transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoBytes {
    /// The transport, such as `tcp`.
    pub transport: &'static str,
    /// The bytes that were read.
    pub received: u64,
    /// The bytes that were written.
    pub sent: u64,
}
