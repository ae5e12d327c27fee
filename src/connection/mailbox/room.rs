//! Waiting for room in a mailbox.
//!
//! A request waits with its place in a line, and becomes a command when its turn comes. A caller that asks
//! whether there is room waits without a request, and is woken.

use std::{mem, sync::Arc, task::Waker};

use wawo_protocol::ConnectionError;

use crate::{
    connection::mailbox::{
        Mailbox,
        line::{Line, LineEntry, MIN_ROOM_BYTES, WaitingRequest},
    },
    request::Request,
    response_future::ResponseSlot,
    status::Status,
};

impl Mailbox {
    /// Puts a request at the end of the line of those that wait for room, or takes it if there is
    /// room now. The slot hears of it when the connection ends before.
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

    /// Whether a call that comes now finds room, if a handler at this call depth makes it, or none
    /// does.
    ///
    /// # Errors
    ///
    /// If the connection is over.
    pub(crate) fn has_room(&self, call_depth: u32) -> Result<bool, ConnectionError> {
        let state = self.lock();
        match &state.closed {
            Some(error) => Err(error.clone()),
            None => {
                let mut lines = Line::of_depth(call_depth).iter();
                Ok(lines.any(|line| state.takes(*line, MIN_ROOM_BYTES)))
            }
        }
    }

    /// Lines up for such a call. The waker is woken when its turn comes, or the connection ends;
    /// at once if there is room. Returns the number of the place, which has to be
    /// [left](Self::leave_room_line).
    pub(crate) fn line_up_for_room(&self, call_depth: u32, waker: &Waker) -> u64 {
        let mut state = self.lock();
        let mut wakers = Vec::new();
        let number = match state.closed {
            Some(_) => {
                wakers.push(waker.clone());
                0
            }
            None => state.lines.push_caller(Line::of_depth(call_depth), waker),
        };
        let driver = state.admit(&mut wakers);
        drop(state);
        wakers.into_iter().chain(driver).for_each(Waker::wake);
        number
    }

    /// Whether a caller still waits at its place; then this waker is woken. If not, its turn has come,
    /// or the connection is over.
    pub(crate) fn waits_for_room(&self, number: u64, waker: &Waker) -> bool {
        let mut state = self.lock();
        let waits = state.lines.has_caller(number);
        let before = state.lines.replace_waker(number, waker);
        drop(state);
        drop(before);
        waits
    }

    /// A caller leaves its place, unless its turn has come.
    pub(crate) fn leave_room_line(&self, number: u64) {
        let mut state = self.lock();
        let left = state.lines.remove_caller(number);
        let mut wakers = Vec::new();
        // Those behind it may need less room.
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
    /// For the slot, if there was no room in time.
    late: Option<Status>,
}

impl LinePlace<'_> {
    /// It has waited too long. If there was no room until now, the slot hears of it.
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
        // What stood behind it may be smaller.
        let mut wakers = Vec::new();
        let driver = state.admit(&mut wakers);
        drop(state);
        // Else nobody waits for the answer any more.
        let late = self.late.take();
        wakers.extend(late.and_then(|late| waiting.slot.complete(Err(late))));
        wakers.into_iter().chain(driver).for_each(Waker::wake);
    }
}
