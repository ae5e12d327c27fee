//! Whether the other side reads, as far as the transport tells.

use std::time::Instant;

use crate::{connection::Connection, error::ConnectionError, time::after};

/// Bytes that a peer must read within `write_timeout`, if at least as many wait for it.
const MIN_PROGRESS_BYTES: u64 = 4 * 1024;

impl<T> Connection<T> {
    /// Says that the transport takes nothing of the output for now, or, if the output is empty,
    /// that it holds back what it took. If that goes on for `write_timeout`,
    /// [`handle_timeout`](Self::handle_timeout) ends the connection.
    pub fn output_blocked(&mut self, now: Instant) {
        self.now = now;
        let written = self.output.written();
        self.flush_blocked |= self.output.is_empty();
        self.blocked_since.get_or_insert((now, written));
    }

    /// Says that the transport has passed on all that it took: its flush has ended.
    pub fn output_flushed(&mut self) {
        self.output.flushed();
        self.flush_blocked = false;
        if self.output.is_empty() {
            self.blocked_since = None;
        }
    }

    /// Bytes that the transport took and does not pass on.
    fn unflushed(&self) -> usize {
        match self.flush_blocked {
            true => self.output.unflushed(),
            false => 0,
        }
    }

    /// Whether the other side reads.
    pub(super) fn check_progress(&mut self, now: Instant) -> Result<(), ConnectionError> {
        let timeout = self.config.write_timeout();
        let Some((_, before)) = self
            .blocked_since
            .filter(|(at, _)| after(*at, timeout) <= now)
        else {
            return Ok(());
        };
        let written = self.output.written();
        let waiting = self.output.len() + self.unflushed();
        if waiting > 0 && written - before < MIN_PROGRESS_BYTES {
            return Err(ConnectionError::SlowReader { waiting, timeout });
        }
        self.blocked_since = (waiting > 0).then_some((now, written));
        Ok(())
    }
}
