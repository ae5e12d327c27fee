//! Drains a connection: it takes no more calls, and ends when those in flight have ended.

use wawo_protocol::{CloseCode, ConnectionError};

use crate::connection::{drain::DRAINED, driver::Driver};

impl Driver {
    /// Begins the drain: from now on, the connection takes no more calls.
    pub(super) fn drain(&mut self) {
        if self.is_draining {
            return;
        }
        self.is_draining = true;
        self.connection.drain();
        self.handle.drain().begin(self.in_flight());
        self.handle.announce_drain();
    }

    /// Ends a draining connection when no call is in flight any more and all output has left.
    pub(super) fn check_drained(&mut self) -> Result<(), ConnectionError> {
        if !self.is_draining {
            return Ok(());
        }
        self.count_drained();
        if self.in_flight() > 0 || !self.is_written() {
            return Ok(());
        }
        self.connection.close(CloseCode::Normal, DRAINED);
        Err(ConnectionError::ClosedHere)
    }

    /// Records how many calls are still in flight, for the report.
    pub(super) fn count_drained(&self) {
        if self.is_draining {
            self.handle.drain().count(self.in_flight());
        }
    }

    fn in_flight(&self) -> usize {
        let calls = self.connection.calls_served() + self.connection.calls_started();
        calls + self.incoming.one_way_messages()
    }
}
