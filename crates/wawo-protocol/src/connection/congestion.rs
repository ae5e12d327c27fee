//! How many more calls a driver should start, which depends on how many wait for the limits of the other
//! side.

use crate::connection::{machine::Connection, waiting_calls::CallOrigin};

/// Message bytes that may wait in calls before a driver should start no more: enough to keep a fast link
/// busy for a few milliseconds.
const CONGESTED_BYTES: usize = 4 * 1024 * 1024;

impl<T> Connection<T> {
    /// The number of calls and one-way messages that a driver should start now, of those that no handler
    /// makes: half of [`max_waiting_calls`](crate::Config::max_waiting_calls) less those that wait for room
    /// under the limits of the other side, and none while 4 MiB of message bytes wait.
    pub fn call_capacity(&self) -> usize {
        let (outer, one_way) = (CallOrigin::Outer, self.waiting.one_way_calls());
        let bytes = self.waiting.bytes_in(outer) + self.waiting.one_way_bytes();
        self.capacity(self.waiting.calls_in(outer).max(one_way), bytes)
    }

    /// The same for calls that handlers make, which other calls do not hold up. It bounds those of depth 1
    /// only, since deeper calls never wait here.
    pub fn nested_call_capacity(&self) -> usize {
        let nested = CallOrigin::Nested;
        self.capacity(self.waiting.calls_in(nested), self.waiting.bytes_in(nested))
    }

    /// The same for one-way messages that handlers send, which calls do not hold up.
    pub fn nested_message_capacity(&self) -> usize {
        let waiting = self.waiting.one_way_calls();
        self.capacity(waiting, self.waiting.one_way_bytes())
    }

    fn capacity(&self, waiting: usize, bytes: usize) -> usize {
        if bytes >= CONGESTED_BYTES {
            return 0;
        }
        let half = self.config.max_waiting_calls().div_ceil(2);
        half.saturating_sub(waiting)
    }

    /// Whether too many calls wait for room under the limits of the other side, so that a driver should
    /// start no more for now.
    pub fn is_congested(&self) -> bool {
        self.call_capacity() == 0 || self.nested_call_capacity() == 0
    }
}
