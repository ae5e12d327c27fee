//! Counts the calls and bytes that a connection holds.

use crate::connection::{driver::Driver, snapshot::PeerSnapshot};

impl Driver {
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
