//! How recently and how much a connection is used. A server reads it to choose which connection to close
//! when it needs the place.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// How much a connection is used. Its driver writes this record, and the server reads it.
#[derive(Debug)]
pub(crate) struct ActivityRecord {
    has_calls: AtomicBool,
    last_call: LastCall,
}

/// A reading of an [`ActivityRecord`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Activity {
    /// Whether calls are in flight, in either direction, or one-way messages are being handled.
    pub(crate) has_calls: bool,
    /// When the connection last had a call or a one-way message, precise to a second; `None` if it never
    /// had.
    pub(crate) last_call: Option<Instant>,
}

impl ActivityRecord {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            has_calls: AtomicBool::new(false),
            last_call: LastCall::new(now),
        }
    }

    /// Records whether calls are in flight.
    pub(crate) fn set_has_calls(&self, has_calls: bool) {
        self.has_calls.store(has_calls, Ordering::Relaxed);
    }

    /// Records that the connection has a call or a one-way message now.
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

/// The time of the last call is recorded to this precision. A driver compares two times after each round
/// of events, and writes the shared record at most once in this time.
const STEP: Duration = Duration::from_secs(1);

/// The driver's own part of an [`ActivityRecord`]. It keeps what was last written, so that the driver
/// seldom writes to memory that other threads read.
#[derive(Debug)]
pub(super) struct ActivityReport {
    /// Calls before this time need not be recorded.
    due: Instant,
    /// The number of calls so far when they were last recorded.
    calls: u64,
    /// Whether the connection had calls when the driver last waited.
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

    /// Records the number of calls so far, some of which are in flight or have just ended, and the time
    /// if there are any.
    pub(super) fn record_calls(&mut self, now: Instant, calls: u64, record: &ActivityRecord) {
        self.calls = calls;
        if calls > 0 {
            record.last_call.set(now);
            self.due = now + STEP;
        }
    }

    /// Records whether calls are in flight.
    #[inline]
    pub(super) fn record_has_calls(&mut self, has_calls: bool, record: &ActivityRecord) {
        if has_calls != self.has_calls {
            self.has_calls = has_calls;
            record.set_has_calls(has_calls);
        }
    }

    /// The number of calls so far when they were last recorded.
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
    /// Seconds since `opened`, plus one; 0 means never.
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
        // The seconds overflow after 136 years; the connection counts as just used from then on.
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
