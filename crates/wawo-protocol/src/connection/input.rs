//! How far the input has been read: what is left of it is the start of a packet, which has to become
//! whole in time.

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
    /// Whether bytes have come since the last look.
    pub(crate) fn has_grown(&self, length: usize) -> bool {
        length > self.left
    }

    /// `left` bytes of the input are left.
    #[inline]
    pub(crate) fn set_left(&mut self, left: usize) {
        self.left = left;
    }

    /// A packet was whole.
    #[inline]
    pub(crate) fn packet_done(&mut self) {
        self.partial_since = None;
    }

    /// The next packet is not whole.
    pub(crate) fn wait_for_packet(&mut self, now: Instant) {
        self.partial_since.get_or_insert(now);
    }

    /// When the packet that has begun must be whole.
    #[inline]
    pub(crate) fn poll_timeout(&self, packet_timeout: Duration) -> Option<Instant> {
        self.partial_since.map(|at| after(at, packet_timeout))
    }
}
