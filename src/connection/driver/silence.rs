//! Closes a connection that says nothing, when its server asks whether it does.

use std::task::Context;

use wawo_protocol::{CloseCode, ConnectionError};

use crate::{clock, connection::driver::Driver};

impl Driver {
    /// Closes the connection if its hello has not come, and nothing else has since the last time.
    /// Bytes in the buffer of the transport are read before: this side may have had no time to.
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
