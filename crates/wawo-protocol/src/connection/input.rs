//! How far the input has been read. The bytes that are left are the start of a packet, which must
//! become whole within `packet_timeout`.

use std::time::{Duration, Instant};

use crate::time::after;

#[derive(Debug, Default)]
pub(crate) struct InputProgress {
    /// The bytes that were left when the input was last looked at.
    left: usize,
    /// Since when a packet has been incomplete.
    partial_since: Option<Instant>,
}

impl InputProgress {
    /// Whether bytes have come since [`set_left`](Self::set_left), if the input now has `length`
    /// bytes.
    pub(crate) fn has_grown(&self, length: usize) -> bool {
        length > self.left
    }

    /// Records that `left` bytes of the input were not read.
    #[inline]
    pub(crate) fn set_left(&mut self, left: usize) {
        self.left = left;
    }

    /// Records that a packet was whole: no packet is late.
    #[inline]
    pub(crate) fn packet_done(&mut self) {
        self.partial_since = None;
    }

    /// Records that the next packet is not whole.
    pub(crate) fn wait_for_packet(&mut self, now: Instant) {
        self.partial_since.get_or_insert(now);
    }

    /// When the packet that has begun must be whole.
    #[inline]
    pub(crate) fn poll_timeout(&self, packet_timeout: Duration) -> Option<Instant> {
        self.partial_since.map(|at| after(at, packet_timeout))
    }
}
