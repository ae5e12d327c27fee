//! Records how much a connection is used.

use std::time::Instant;

use crate::connection::driver::Driver;

impl Driver {
    /// Records the time of the last call, if what came may belong to a call.
    #[cold]
    pub(super) fn record_activity(&mut self, now: Instant) {
        let (calls, record) = (self.connection.calls(), self.handle.activity_record());
        self.activity.record_calls(now, calls, record);
    }

    /// Records whether there are calls now, before the driver waits.
    #[inline]
    pub(super) fn record_has_calls(&mut self) {
        let has_calls = self.connection.has_calls() || self.incoming.one_way_messages() > 0;
        let record = self.handle.activity_record();
        self.activity.record_has_calls(has_calls, record);
    }

    /// Records one-way calls that this side has sent. They cause no packet of the other side; so the
    /// driver calls this when one of its timeouts comes, as that of the keep-alive.
    pub(super) fn record_started_calls(&mut self, now: Instant) {
        if self.connection.calls() != self.activity.calls() {
            self.record_activity(now);
        }
    }
}
