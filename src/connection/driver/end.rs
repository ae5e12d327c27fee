//! Ends a connection.

use wawo_protocol::ConnectionError;

use crate::{
    codec::buffer_pool,
    connection::{driver::Driver, mailbox::UnsentMessages, owner::ConnectionEvent},
};

impl Driver {
    /// Ends all calls and streams of the connection, which is over.
    pub(super) fn end(&mut self, error: &ConnectionError) {
        if matches!(error, ConnectionError::Lost(_)) {
            self.connection.lose();
        }
        buffer_pool::release();
        self.count_drained();
        let waiting = self.connection.take_one_way();
        let unsent = UnsentMessages::of_calls(waiting);
        self.handle.end_commands(error, unsent, &mut self.wakers);
        let cut = self.handle.drain().why_cut();
        for (call, sent) in self.connection.take_calls() {
            call.lose(error, cut.as_deref(), sent, &mut self.wakers);
        }
        if let Some(observation) = &mut self.observation {
            observation.close(error);
        }
        self.incoming.end(error, &mut self.wakers);
        self.handle.end(error);
        self.wake_all();
        let event = ConnectionEvent::Ended(error.clone());
        self.handle.owner().connection_changed(event);
    }
}

impl Drop for Driver {
    /// Ends the connection, when the driver's task was aborted or has ended.
    fn drop(&mut self) {
        if !self.handle.is_closed() {
            self.connection.lose();
            self.end(&ConnectionError::ClosedHere);
        }
    }
}
