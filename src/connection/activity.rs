//! How much a connection is used, for a server that needs its place.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// How much a connection is used: its driver writes it, the server reads it.
#[derive(Debug)]
pub(crate) struct ActivityRecord {
    has_calls: AtomicBool,
    last_call: LastCall,
}

/// How much a connection is used, at one time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Activity {
    /// Calls are in flight, in either direction, or one-way messages are being handled.
    pub(crate) has_calls: bool,
    /// When the connection last had to do with a call, within a second; `None` if it never had.
    pub(crate) last_call: Option<Instant>,
}

impl ActivityRecord {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            has_calls: AtomicBool::new(false),
            last_call: LastCall::new(now),
        }
    }

    /// Calls are in flight, or none is.
    pub(crate) fn set_has_calls(&self, has_calls: bool) {
        self.has_calls.store(has_calls, Ordering::Relaxed);
    }

    /// The connection has to do with a call now.
    pub(crate) fn set_last_call(&self, now: Instant) {
        self.last_call.set(now);
    }

    pub(crate) fn activity(&self) -> Activity {
        Activity {
            has_calls: self.has_calls.load(Ordering::Relaxed),
            last_call: self.last_call.get(),
        }
    }
}

/// The last call of a connection is known to this precision. A driver compares two times whenever it
/// has done something, and writes a new time this often at most.
const STEP: Duration = Duration::from_secs(1);

/// The part of an [`ActivityRecord`] that its driver has written, so that it seldom writes to memory that
/// others read.
#[derive(Debug)]
pub(super) struct ActivityReport {
    /// Calls before this time need not be recorded.
    due: Instant,
    /// How many calls there had been when they were last recorded.
    calls: u64,
    /// The connection had calls when the driver last waited.
    has_calls: bool,
}

impl ActivityReport {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            due: now,
            calls: 0,
            has_calls: false,
        }
    }

    /// The connection has had this many calls, some of which are in flight or have just ended.
    pub(super) fn record_calls(&mut self, now: Instant, calls: u64, record: &ActivityRecord) {
        self.calls = calls;
        if calls > 0 {
            record.last_call.set(now);
            self.due = now + STEP;
        }
    }

    /// Calls are in flight, or none is.
    #[inline]
    pub(super) fn record_has_calls(&mut self, has_calls: bool, record: &ActivityRecord) {
        if has_calls != self.has_calls {
            self.has_calls = has_calls;
            record.set_has_calls(has_calls);
        }
    }

    /// How many calls there had been when they were last recorded.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// Whether calls at this time are to be recorded, if there may be any.
    #[inline]
    pub(super) fn is_due(&self, now: Instant, may_have_calls: bool) -> bool {
        (may_have_calls || self.has_calls) && now >= self.due
    }
}

/// When a connection last had to do with a call.
#[derive(Debug)]
struct LastCall {
    opened: Instant,
    /// Seconds after `opened`, and one: 0 for never.
    seconds: AtomicU32,
}

impl LastCall {
    fn new(now: Instant) -> Self {
        Self {
            opened: now,
            seconds: AtomicU32::new(0),
        }
    }

    fn set(&self, now: Instant) {
        let seconds = now.saturating_duration_since(self.opened).as_secs();
        // A connection that lasts for 136 years counts as used from then on.
        let seconds = u32::try_from(seconds + 1).unwrap_or(u32::MAX);
        self.seconds.store(seconds, Ordering::Relaxed);
    }

    fn get(&self) -> Option<Instant> {
        let seconds = self.seconds.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.opened + Duration::from_secs(seconds.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::LastCall;

    #[test]
    fn the_last_call_is_known_by_the_second() {
        let opened = Instant::now();
        let last_call = LastCall::new(opened);
        assert_eq!(last_call.get(), None);
        for (millis, seconds) in [(0, 0), (999, 0), (1_000, 1), (86_400_000, 86_400)] {
            last_call.set(opened + Duration::from_millis(millis));
            assert_eq!(last_call.get(), Some(opened + Duration::from_secs(seconds)));
        }
    }
}
