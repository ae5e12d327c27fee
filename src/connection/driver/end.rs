//! Ends a connection.

use std::{io, sync::Arc};

use wawo_protocol::ConnectionError;

use crate::{
    codec::buffer_pool,
    connection::{
        driver::Driver, mailbox::Command, owner::ConnectionEvent, state::ConnectionState,
    },
    status::Status,
};

impl Driver {
    /// The connection is over: all that waits for something ends.
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

    /// A peer that goes before its hello did perhaps not understand ours.
    #[cold]
    pub(super) fn lose_early(&self, error: io::Error) -> ConnectionError {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let has_gone = matches!(
            error.kind(),
            UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe
        );
        if self.handle.hello().is_some() || !has_gone {
            return lost(error);
        }
        let text = format!(
            "{error}, before the hello of the peer, which may speak another protocol, or TLS"
        );
        lost(io::Error::new(error.kind(), text))
    }
}

impl Drop for Driver {
    /// The task was aborted, or has ended.
    fn drop(&mut self) {
        if !self.handle.is_closed() {
            self.connection.lose();
            self.end(&ConnectionError::ClosedHere);
        }
    }
}

/// The transport failed.
pub(super) fn lost(error: io::Error) -> ConnectionError {
    ConnectionError::Lost(Arc::new(error))
}
