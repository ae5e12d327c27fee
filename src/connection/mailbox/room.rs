//! Waiting for room in a mailbox.
//!
//! A request keeps a place in a line, and becomes a command when it is first and has room. A caller that
//! only asks whether there is room waits without a request, and is woken.

use std::{mem, sync::Arc, task::Waker};

use crate::{
    connection::mailbox::{
        Mailbox,
        line::{Line, LineEntry, MIN_ROOM_BYTES, WaitingRequest},
    },
    request::Request,
    response_future::ResponseSlot,
    status::{Result, Status},
};

impl Mailbox {
    /// Takes the request if there is room; otherwise puts it at the end of its line. If the connection
    /// ends before there is room, the slot gets the error.
    pub(crate) fn line_up(
        &self,
        request: Request,
        bytes: usize,
        slot: Arc<ResponseSlot>,
    ) -> LinePlace<'_> {
        let mut state = self.lock();
        let line = Line::of(&request);
        let mut wakers = Vec::new();
        let (number, driver) = match &state.closed {
            Some(error) => {
                wakers.extend(slot.complete(Err(Status::from_closed(error))));
                (0, None)
            }
            None => {
                let waiting = WaitingRequest {
                    request,
                    bytes,
                    slot,
                };
                let number = state.lines.push(line, waiting);
                (number, state.admit(&mut wakers))
            }
        };
        let is_watched = mem::replace(&mut state.watch.is_asked, true);
        drop(state);
        wakers.into_iter().chain(driver).for_each(Waker::wake);
        if !is_watched {
            self.ask_backstop();
        }
        LinePlace {
            mailbox: self,
            line,
            number,
            late: None,
        }
    }

    /// Whether a call that comes now finds room. The call is made by a handler at this call depth; at 0,
    /// by no handler.
    ///
    /// # Errors
    ///
    /// If the connection is over, or the other side drains.
    pub(crate) fn has_room(&self, call_depth: u32) -> Result<bool> {
        let state = self.lock();
        if let Some(refusal) = state.refusal() {
            return Err(refusal);
        }
        let mut lines = Line::of_depth(call_depth).iter();
        Ok(lines.any(|line| state.takes(*line, MIN_ROOM_BYTES)))
    }

    /// Why no call can be made any more, if none can: the connection is over, or the other side drains.
    pub(crate) fn refusal(&self) -> Option<Status> {
        self.lock().refusal()
    }

    /// Whether the connection is not over, and the other side does not drain.
    pub(crate) fn takes_calls(&self) -> bool {
        let state = self.lock();
        state.closed.is_none() && !state.is_draining_there
    }

    /// The other side drains: callers do not wait for room any more. Requests stay in their lines; each
    /// is refused when the driver takes it.
    pub(crate) fn drain_there(&self) {
        let mut state = self.lock();
        state.is_draining_there = true;
        let mut wakers = state.lines.take_callers();
        // The requests behind them may have room.
        let driver = state.admit(&mut wakers);
        drop(state);
        wakers.into_iter().chain(driver).for_each(Waker::wake);
    }

    /// Lines up for room for such a call. The waker is woken when there is room, when no call can be
    /// made any more, or at once if there is room now. Returns the number of the place, which has to be
    /// [left](Self::leave_room_line).
    pub(crate) fn line_up_for_room(&self, call_depth: u32, waker: &Waker) -> u64 {
        let mut state = self.lock();
        let mut wakers = Vec::new();
        let number = match state.closed.is_some() || state.is_draining_there {
            true => {
                wakers.push(waker.clone());
                0
            }
            false => state.lines.push_caller(Line::of_depth(call_depth), waker),
        };
        let driver = state.admit(&mut wakers);
        drop(state);
        wakers.into_iter().chain(driver).for_each(Waker::wake);
        number
    }

    /// Whether a caller still waits at its place; then it will wake this waker. If not, the caller was
    /// admitted, or no call can be made any more.
    pub(crate) fn waits_for_room(&self, number: u64, waker: &Waker) -> bool {
        let mut state = self.lock();
        let waits = state.lines.has_caller(number);
        let before = state.lines.replace_waker(number, waker);
        drop(state);
        drop(before);
        waits
    }

    /// Removes a caller from the line, unless it was admitted.
    pub(crate) fn leave_room_line(&self, number: u64) {
        let mut state = self.lock();
        let left = state.lines.remove_caller(number);
        let mut wakers = Vec::new();
        // The entries behind it may need less room, so they may fit now.
        let driver = state.admit(&mut wakers);
        drop(state);
        drop(left);
        wakers.into_iter().chain(driver).for_each(Waker::wake);
    }
}

/// A place in the line of those who wait for room. Dropping it leaves the line.
#[derive(Debug)]
#[must_use = "dropping it leaves the line"]
pub(crate) struct LinePlace<'a> {
    mailbox: &'a Mailbox,
    line: Line,
    number: u64,
    /// The status for the slot, if there was no room in time.
    late: Option<Status>,
}

impl LinePlace<'_> {
    /// Leaves the line because it took too long. If the request was not admitted, the slot gets this
    /// status.
    pub(crate) fn leave(mut self, late: Status) {
        self.late = Some(late);
    }

    #[cfg(test)]
    pub(super) fn set_deadline(&self, deadline: std::time::Instant) {
        let mut state = self.mailbox.lock();
        let request = state.lines.request_mut(self.line, self.number);
        request.set_deadline(Some(deadline));
    }
}

impl Drop for LinePlace<'_> {
    fn drop(&mut self) {
        let mut state = self.mailbox.lock();
        let removed = state.lines.remove(self.line, self.number);
        let Some(LineEntry::Request(waiting)) = removed else {
            return;
        };
        // The entries behind it may need less room, so they may fit now.
        let mut wakers = Vec::new();
        let driver = state.admit(&mut wakers);
        drop(state);
        // Otherwise nobody waits for the reply any more.
        let late = self.late.take();
        wakers.extend(late.and_then(|late| waiting.slot.complete(Err(late))));
        wakers.into_iter().chain(driver).for_each(Waker::wake);
    }
}
