//! The figures of a connection itself: its bytes, what it holds, and the calls that it refused.

use crate::{
    call_side::CallSide,
    connection::{gauges::Gauges, observation::Observation},
};

impl Observation {
    /// Counts a call that was refused, for this reason.
    pub(in crate::connection) fn refused(&self, side: CallSide, reason: &'static str) {
        if let Some(metrics) = self.observers.metrics() {
            metrics.call_refused(side, reason);
        }
    }

    /// Counts bytes that were read just now.
    #[cold]
    #[inline(never)]
    pub(in crate::connection) fn add_read(&mut self, bytes: usize) {
        self.read_at = self.look_at_clock();
        if let Some(metrics) = self.observers.metrics() {
            metrics.read_bytes(self.transport, bytes as u64);
        }
    }

    /// Counts bytes that were written.
    #[cold]
    #[inline(never)]
    pub(in crate::connection) fn add_written(&self, bytes: usize) {
        if let Some(metrics) = self.observers.metrics() {
            metrics.written_bytes(self.transport, bytes as u64);
        }
    }

    /// Reports how much the connection holds now.
    pub(in crate::connection) fn set_gauges(&mut self, gauges: Gauges) {
        if let Some(metrics) = self.observers.metrics() {
            self.gauges.change_to(gauges, metrics);
        }
    }
}
