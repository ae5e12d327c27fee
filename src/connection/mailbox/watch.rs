//! The deadlines of calls in a mailbox, and of those that the driver has taken from it, for the backstop.

use std::{
    mem,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use wawo_protocol::CallId;

use crate::{
    backstop::SLACK,
    connection::{
        inbox::Inbox,
        mailbox::{Mailbox, State, command::Command, line::no_room},
    },
    request::{DefaultTimeouts, Request},
    response_future::ResponseSlot,
};

impl Mailbox {
    /// Records that the reply to a call is a stream, whose reader receives the end of the call.
    pub(crate) fn watch_replies(
        &self,
        call: CallId,
        slot: &Arc<ResponseSlot>,
        replies: &Arc<Inbox>,
    ) {
        self.lock().watch.replied(call, slot, replies);
    }

    /// Ends the calls that the driver should have ended, for the backstop; see
    /// [`WatchTarget::look`](backstop::WatchTarget::look). `now` is `None` where the clock is paused or
    /// simulated; then nothing ends.
    pub(crate) fn look(
        &self,
        now: Option<Instant>,
        defaults: &DefaultTimeouts,
        wakers: &mut Vec<Waker>,
    ) -> Option<Instant> {
        let mut state = self.lock();
        state.watch.is_asked = false;
        let now = now?;
        let earliest = state.look(now, SLACK, defaults, wakers);
        state.watch.look(now, earliest, wakers)
    }
}

impl State {
    /// Ends the calls whose deadline passed by `slack` or more before the driver took them; returns the
    /// earliest deadline of the others.
    pub(super) fn look(
        &mut self,
        now: Instant,
        slack: Duration,
        defaults: &DefaultTimeouts,
        wakers: &mut Vec<Waker>,
    ) -> Option<Instant> {
        let commands = self.commands.iter_mut();
        let calls = commands.filter_map(|command| call_of(command, now, defaults));
        let lines = self.lines.requests();
        let lines = lines.map(|waiting| (&waiting.request, &waiting.slot));
        let mut earliest = None;
        for (request, slot) in calls.chain(lines) {
            let Some(deadline) = request.deadline() else {
                continue;
            };
            let late = now.checked_duration_since(deadline);
            match late.is_some_and(|late| late >= slack) {
                true => {
                    let setting = defaults.describe(request.head().deadline_source);
                    wakers.extend(slot.complete(Err(no_room(&setting))));
                }
                false => {
                    earliest = Some(earliest.map_or(deadline, |at: Instant| at.min(deadline)));
                }
            }
        }
        earliest
    }
}

/// The deadline and the slot of a call among the commands. A call without a timeout gets the default from
/// now on: the driver has not given it one yet, and the time in the mailbox counts.
fn call_of<'a>(
    command: &'a mut Command,
    now: Instant,
    defaults: &DefaultTimeouts,
) -> Option<(&'a Request, &'a Arc<ResponseSlot>)> {
    if let Command::PlainCall(call, _) = command
        && defaults.of(call.is_stream).0.is_some()
        && let Command::PlainCall(call, slot) = mem::replace(command, Command::OneWayHandled(0))
    {
        *command = Command::Call(call.into(), slot);
    }
    let Command::Call(request, slot) = command else {
        return None;
    };
    request.head_mut().take_default(now, defaults);
    Some((request, slot))
}
