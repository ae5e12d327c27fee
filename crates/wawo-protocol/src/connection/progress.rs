//! Checks that the other side reads, as far as the transport shows it.

use std::time::{Duration, Instant};

use crate::{error::ConnectionError, output::Output, time::after};

/// Bytes that a peer must read within `write_timeout`, if at least as many wait for it: even a slow
/// line carries a packet of 4 KiB in that time.
const MIN_PROGRESS_BYTES: u64 = 4 * 1024;

#[derive(Debug, Default)]
pub(crate) struct WriteProgress {
    /// When the transport last stopped taking bytes, or was last checked, and the bytes that it had
    /// taken by then.
    blocked_since: Option<(Instant, u64)>,
    /// The transport took all of the output, but has not passed it on.
    is_unflushed: bool,
}

impl WriteProgress {
    /// Records that the transport takes nothing for now, or has not passed on all that it took.
    pub(crate) fn block(&mut self, now: Instant, output: &Output) {
        self.is_unflushed |= output.is_empty();
        let written = output.written();
        self.blocked_since.get_or_insert((now, written));
    }

    /// Records that the transport has passed on all that it took.
    pub(crate) fn flush(&mut self, output: &mut Output) {
        output.flushed();
        self.is_unflushed = false;
        self.update(output);
    }

    /// Stops the time that runs if no bytes wait any more.
    pub(crate) fn update(&mut self, output: &Output) {
        if output.is_empty() && !self.is_unflushed {
            self.blocked_since = None;
        }
    }

    /// When to call [`check`](Self::check).
    #[inline]
    pub(crate) fn poll_timeout(&self, write_timeout: Duration) -> Option<Instant> {
        self.blocked_since.map(|(at, _)| after(at, write_timeout))
    }

    /// Checks that the other side has taken enough bytes since the last check.
    pub(crate) fn check(
        &mut self,
        now: Instant,
        timeout: Duration,
        output: &Output,
    ) -> Result<(), ConnectionError> {
        let Some((at, before)) = self.blocked_since else {
            return Ok(());
        };
        if now < after(at, timeout) {
            return Ok(());
        }
        let unflushed = match self.is_unflushed {
            true => output.unflushed(),
            false => 0,
        };
        let (written, waiting) = (output.written(), output.len() + unflushed);
        if waiting > 0 && written - before < MIN_PROGRESS_BYTES {
            return Err(ConnectionError::SlowReader { waiting, timeout });
        }
        self.blocked_since = (waiting > 0).then_some((now, written));
        Ok(())
    }
}
