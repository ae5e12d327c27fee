//! Closes a connection that sends nothing before its hello, when the server needs its place.

use std::task::Context;

use wawo_protocol::{CloseCode, ConnectionError};

use crate::{clock, connection::driver::Driver};

impl Driver {
    /// Closes the connection if its hello has not come, and no other bytes have come since the last time.
    /// It first reads the bytes that wait in the transport, which this side may have had no time to read.
    pub(super) fn close_if_silent(
        &mut self,
        cx: &mut Context<'_>,
        reason: &str,
    ) -> Result<(), ConnectionError> {
        if self.read(cx)? {
            self.handle_events(cx, clock::now())?;
        }
        if !self.handle.is_handshaking() {
            return Ok(());
        }
        match std::mem::take(&mut self.has_received) {
            true => self.handle.set_spoken(),
            false => {
                self.handle.set_silent();
                self.connection.close(CloseCode::LimitExceeded, reason);
            }
        }
        Ok(())
    }
}
