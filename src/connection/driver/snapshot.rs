//! Counts the calls and bytes that a connection holds.

use crate::connection::{
    driver::Driver, gauges::Gauges, mailbox::Capacity, snapshot::PeerSnapshot,
};

impl Driver {
    /// Reports how much the connection holds, if it is observed.
    #[cold]
    #[inline(never)]
    pub(super) fn record_gauges(&mut self) {
        if let Some(observation) = &mut self.observation {
            observation.set_gauges(Gauges {
                output_bytes: self.connection.output().len(),
                outbox_bytes: self.handle.outbox_total().bytes(),
                waiting_calls: self.connection.calls_waiting(),
                is_blocked: self.capacity == Capacity::NONE,
            });
        }
    }

    pub(super) fn snapshot(&mut self) -> PeerSnapshot {
        let (request_bytes, reply_bytes) = self.connection.held_bytes();
        PeerSnapshot {
            calls_out: self.connection.calls_started(),
            calls_in: self.connection.calls_served() + self.incoming.one_way_messages(),
            request_bytes,
            reply_bytes,
            output_bytes: self.connection.output().len(),
            outbox_bytes: self.handle.outbox_total().bytes(),
            waiting_reply_bytes: self.connection.waiting_reply_bytes(),
            decoded_bytes: self.handle.decoded().held(),
        }
    }
}
