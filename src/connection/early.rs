//! The handle of a connection that has a peer, and no driver yet.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use wawo_protocol::ConnectionError;

use crate::{
    clock,
    connection::{
        handle::ConnectionHandle,
        mailbox::{EarlyCommands, UnsentMessages},
        new_connection::NewConnection,
        owner::ConnectionEvent,
        state::ConnectionState,
    },
    timer::TaskTimer,
};

/// The handle of a connection whose hellos are not exchanged yet, though there is a peer: calls wait in its
/// mailbox, within their deadlines. Dropping it ends the connection, unless a driver has begun.
#[derive(Debug)]
pub(crate) struct EarlyHandle {
    handle: Arc<ConnectionHandle>,
    timer: TaskTimer,
}

impl EarlyHandle {
    pub(crate) fn new(handle: Arc<ConnectionHandle>) -> Self {
        Self {
            handle,
            timer: TaskTimer::default(),
        }
    }

    /// Exchanges the hellos, and acts on the commands that holders of the peer leave
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// If the connection is over, or a command ends it. [`end`](Self::end) and [`NewConnection::end`] have
    /// to follow.
    pub(crate) fn poll_handshake(
        &mut self,
        new: &mut NewConnection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectionError>> {
        if let Poll::Ready(result) = new.poll_handshake(cx) {
            return Poll::Ready(result);
        }
        loop {
            let next = match self.take_commands(cx) {
                EarlyCommands::Wait(next) => next,
                EarlyCommands::Close(code, reason) => {
                    new.close(code, &reason);
                    return Poll::Ready(Err(ConnectionError::ClosedHere));
                }
            };
            if !self.timer.is_due(next, cx) {
                return Poll::Pending;
            }
        }
    }

    fn take_commands(&self, cx: &Context<'_>) -> EarlyCommands {
        let (handle, mut wakers) = (&self.handle, Vec::new());
        let (mailbox, defaults) = (handle.mailbox(), handle.default_timeouts());
        let commands = mailbox.poll_early(cx, clock::now(), defaults, &mut wakers);
        wakers.into_iter().for_each(std::task::Waker::wake);
        commands
    }

    /// Ends the connection, whose handshake has failed: its calls were not sent.
    pub(crate) fn end(&self, error: &ConnectionError) {
        let (handle, mut wakers) = (&self.handle, Vec::new());
        let warnings = handle.warnings();
        warnings.connection_over(handle, handle.side(), error);
        handle.end_commands(error, UnsentMessages::default(), &mut wakers);
        handle.end(error);
        wakers.into_iter().for_each(std::task::Waker::wake);
        let event = ConnectionEvent::NotOpened(error.clone());
        handle.owner().connection_changed(event);
    }
}

impl Drop for EarlyHandle {
    fn drop(&mut self) {
        let is_early = matches!(&*self.handle.state().borrow(), ConnectionState::Handshaking);
        if is_early {
            self.end(&ConnectionError::ClosedHere);
        }
    }
}
