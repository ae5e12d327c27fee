//! Records how much a connection is used.

use std::time::{Duration, Instant};

use crate::connection::driver::Driver;

/// The last call of a connection is known to this precision. A driver compares two times whenever it
/// has done something, and writes a new time this often at most.
const STEP: Duration = Duration::from_secs(1);

/// The part of the [record](crate::connection::activity::ActivityRecord) that was written.
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

    /// Whether calls at this time are to be recorded, if there may be any.
    #[inline]
    pub(super) fn is_due(&self, now: Instant, may_have_calls: bool) -> bool {
        (may_have_calls || self.has_calls) && now >= self.due
    }
}

impl Driver {
    /// Something has come that may have to do with a call.
    #[cold]
    pub(super) fn record_activity(&mut self, now: Instant) {
        self.activity.calls = self.connection.calls();
        if self.activity.calls > 0 {
            self.handle.activity_record().set_last_call(now);
            self.activity.due = now + STEP;
        }
    }

    /// Records whether there are calls now, before the driver waits.
    #[inline]
    pub(super) fn record_has_calls(&mut self) {
        let has_calls = self.connection.has_calls() || self.incoming.one_way_messages() > 0;
        if has_calls != self.activity.has_calls {
            self.activity.has_calls = has_calls;
            self.handle.activity_record().set_has_calls(has_calls);
        }
    }

    /// Nothing has to come back for one-way calls of this side. They are found when some time of
    /// the connection is up, as that of its keep-alive.
    pub(super) fn record_started_calls(&mut self, now: Instant) {
        if self.connection.calls() != self.activity.calls {
            self.record_activity(now);
        }
    }
}
