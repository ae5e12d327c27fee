//! Ends a connection.

use std::io;

use wawo_protocol::ConnectionError;

use crate::{
    codec::buffer_pool,
    connection::{
        driver::Driver,
        loss::{lost, lost_early},
        mailbox::Command,
        owner::ConnectionEvent,
        state::ConnectionState,
    },
    status::Status,
};

impl Driver {
    /// Ends all calls and streams of the connection, which is over.
    pub(super) fn end(&mut self, error: &ConnectionError) {
        if matches!(error, ConnectionError::Lost(_)) {
            self.connection.lose();
        }
        buffer_pool::release();
        self.count_drained();
        let commands = self.handle.mailbox().close(error, &mut self.wakers);
        let cut = self.handle.drain().why_cut();
        for (call, sent) in self.connection.take_calls() {
            call.lose(error, cut.as_deref(), sent, &mut self.wakers);
        }
        for command in commands {
            if let Command::Call(_, slot) | Command::PlainCall(_, slot) = command {
                self.wakers
                    .extend(slot.complete(Err(Status::from_closed(error))));
            }
        }
        self.incoming.end(error, &mut self.wakers);
        let before = self.handle.end(error);
        self.wake_all();
        let event = match before {
            ConnectionState::Handshaking => ConnectionEvent::NotOpened(error.clone()),
            _ => ConnectionEvent::Ended(error.clone()),
        };
        self.handle.owner().connection_changed(event);
    }

    /// The error of a transport that ended.
    #[cold]
    pub(super) fn lose(&self, error: io::Error) -> ConnectionError {
        match self.handle.hello() {
            Some(_) => lost(error),
            None => lost_early(error),
        }
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
