//! Records how much a connection is used.

use std::time::Instant;

use crate::connection::driver::Driver;

impl Driver {
    /// Something has come that may have to do with a call.
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

    /// Nothing has to come back for one-way calls of this side. They are found when some time of
    /// the connection is up, as that of its keep-alive.
    pub(super) fn record_started_calls(&mut self, now: Instant) {
        if self.connection.calls() != self.activity.calls() {
            self.record_activity(now);
        }
    }
}
