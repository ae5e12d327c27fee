//! The wait of a caller until a connection has room for its call, as tower asks for.
//!
//! A stub makes its call at once, and the call waits for room within its deadline. A caller that follows
//! tower's rules asks first: `poll_ready` is pending while the mailbox is full, so that `load_shed`
//! refuses calls, and a balancer chooses another connection.
//!
//! Readiness is a hint and reserves nothing. Reserved room would be lost to all others while its caller,
//! or one of its clones, does not call. If others fill the mailbox between `poll_ready` and `call`, the
//! call waits for room like the call of a stub. A caller that was woken is ready when it asks the next
//! time, even if the mailbox is full again: it does not wait twice.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use wawo_protocol::time::after;

use crate::{
    backstop::Timer, call_depth, clock, connection::handle::ConnectionHandle, context,
    status::Result,
};

/// The wait of one caller for room, if it waits. A clone of it does not wait; dropping it leaves the
/// line.
#[derive(Debug, Default)]
pub(crate) struct Readiness(Option<Box<RoomWait>>);

impl Readiness {
    /// Resolves when there is room for a call. It also resolves after the longest time that a call
    /// without a timeout could wait: a connection may be stuck, and its callers must not be.
    ///
    /// Calls of handlers have their own lines. The call is not known here, but its depth is: from the
    /// task of a handler, or from the scope of [`call_depth`].
    ///
    /// # Errors
    ///
    /// If the connection is over, or the other side takes no more calls because it drains.
    pub(crate) fn poll(
        &mut self,
        connection: &Arc<ConnectionHandle>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        let handler = context::Context::current();
        let call_depth = handler.map_or(0, |handler| handler.call_depth());
        let call_depth = call_depth.max(call_depth::awaited());
        // The place is in the lines of another depth, if the depth has become known only now, or of another
        // connection, if the peer has got a new one.
        let is_elsewhere = |wait: &RoomWait| {
            wait.call_depth != call_depth || !Arc::ptr_eq(&wait.connection, connection)
        };
        if self.0.as_deref().is_some_and(is_elsewhere) {
            self.0 = None;
        }
        if self.0.is_none() {
            if connection.mailbox().has_room(call_depth)? {
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

/// A place in the lines of callers that wait for room. Dropping it leaves the lines.
#[derive(Debug)]
struct RoomWait {
    connection: Arc<ConnectionHandle>,
    /// The depth of the call, which decides the lines.
    call_depth: u32,
    /// The number of the place.
    number: u64,
    /// Ends the wait if there is no room in time.
    timer: Timer,
}

impl RoomWait {
    fn begin(connection: Arc<ConnectionHandle>, call_depth: u32, waker: &Waker) -> Self {
        let timer = Timer::independent(after(clock::now(), longest_wait(&connection)));
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
        Poll::Ready(mailbox.refusal().map_or(Ok(()), Err))
    }
}

impl Drop for RoomWait {
    fn drop(&mut self) {
        self.connection.mailbox().leave_room_line(self.number);
    }
}

/// How long a call without a timeout would wait for room. A caller that has not called yet waits as long.
fn longest_wait(connection: &ConnectionHandle) -> Duration {
    let (default, _) = connection.default_timeouts().of(false);
    let stall = connection.stall_timeout();
    default.map_or(stall, |default| default.min(stall))
}
