//! The wait of a caller until a connection has room for its call, as tower asks for.
//!
//! A stub leaves its call at once, and the call waits for room within its deadline. A caller that goes
//! by tower's rules asks first: `poll_ready` is pending while the mailbox is full, so that `load_shed`
//! refuses calls, and a balancer looks elsewhere.
//!
//! Readiness is a hint and reserves nothing. Reserved room would be lost to all others as long as its
//! caller, or one of its clones, does not call. If others fill the mailbox between `poll_ready` and `call`,
//! the call waits for room as that of a stub does. A caller whose turn has come is ready when it asks
//! the next time, whatever has happened since: it does not wait twice.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use wawo_protocol::time::after;

use crate::{
    backstop::Timer,
    call_depth, clock,
    connection::handle::ConnectionHandle,
    context,
    status::{Result, Status},
};

/// The wait of one caller for room, if it waits. Its clones, and dropping it, leave nothing behind.
#[derive(Debug, Default)]
pub(crate) struct Readiness(Option<Box<RoomWait>>);

impl Readiness {
    /// Resolves when there is room for a call, and no later than a call could wait that sets no timeout:
    /// the connection may be stuck, and those who wait for it must not be.
    ///
    /// Calls of handlers have lines of their own. The call is not known here, but its depth is, in the task
    /// of a handler and in the scope of [`call_depth`].
    ///
    /// # Errors
    ///
    /// If the connection is over.
    pub(crate) fn poll(
        &mut self,
        connection: &Arc<ConnectionHandle>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        let handler = context::Context::current();
        let call_depth = handler.map_or(0, |handler| handler.call_depth());
        let call_depth = call_depth.max(call_depth::awaited());
        // Asked for a call that waits in other lines, as it is when the depth becomes known.
        if self
            .0
            .as_ref()
            .is_some_and(|wait| wait.call_depth != call_depth)
        {
            self.0 = None;
        }
        if self.0.is_none() {
            let has_room = connection.mailbox().has_room(call_depth);
            if has_room.map_err(|error| Status::from_closed(&error))? {
                return Poll::Ready(Ok(()));
            }
            let wait = RoomWait::begin(connection.clone(), call_depth, cx.waker());
            self.0 = Some(Box::new(wait));
        }
        let polled = self.0.as_mut().map(|wait| wait.poll(cx));
        let polled = polled.unwrap_or(Poll::Ready(Ok(())));
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl Clone for Readiness {
    /// A clone does not wait.
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// A place in the line for room. Dropping it leaves the line.
#[derive(Debug)]
struct RoomWait {
    connection: Arc<ConnectionHandle>,
    /// The depth of the call, which tells the lines.
    call_depth: u32,
    /// The number of the place.
    number: u64,
    /// Ends the wait if there is no room in time.
    timer: Timer,
}

impl RoomWait {
    fn begin(connection: Arc<ConnectionHandle>, call_depth: u32, waker: &Waker) -> Self {
        let timer = Timer::surely(after(clock::now(), longest_wait(&connection)));
        let number = connection.mailbox().line_up_for_room(call_depth, waker);
        Self {
            connection,
            call_depth,
            number,
            timer,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mailbox = self.connection.mailbox();
        if mailbox.waits_for_room(self.number, cx.waker()) {
            return Pin::new(&mut self.timer).poll(cx).map(Ok);
        }
        Poll::Ready(match mailbox.closed() {
            Some(error) => Err(Status::from_closed(&error)),
            None => Ok(()),
        })
    }
}

impl Drop for RoomWait {
    fn drop(&mut self) {
        self.connection.mailbox().leave_room_line(self.number);
    }
}

/// A call that sets no timeout would wait for this long, and so do callers that have not called yet.
fn longest_wait(connection: &ConnectionHandle) -> Duration {
    let (default, _) = connection.default_timeouts().of(false);
    let stall = connection.stall_timeout();
    default.map_or(stall, |default| default.min(stall))
}
