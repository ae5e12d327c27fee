//! How much a connection holds, as metrics count it.

use crate::metrics::{Gauge, Metrics};

/// The part of one connection in the gauges of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gauges {
    /// The bytes that wait to be written.
    pub(super) output_bytes: usize,
    /// The bytes in the outboxes of streams.
    pub(super) outbox_bytes: usize,
    /// The calls of this side that wait for the other side's limits.
    pub(super) waiting_calls: usize,
    /// Whether the connection takes no calls of this side for now.
    pub(super) is_blocked: bool,
}

impl Gauges {
    /// Changes the part of the connection to this.
    pub(super) fn change_to(&mut self, now: Self, metrics: &Metrics) {
        if *self == now {
            return;
        }
        let before = std::mem::replace(self, now);
        for (gauge, before, now) in [
            (Gauge::OutputBytes, before.output_bytes, now.output_bytes),
            (Gauge::OutboxBytes, before.outbox_bytes, now.outbox_bytes),
            (Gauge::WaitingCalls, before.waiting_calls, now.waiting_calls),
            (
                Gauge::BlockedConnections,
                usize::from(before.is_blocked),
                usize::from(now.is_blocked),
            ),
        ] {
            let by =
                i64::try_from(now).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX);
            if by != 0 {
                metrics.change_gauge(gauge, by);
            }
        }
    }
}
