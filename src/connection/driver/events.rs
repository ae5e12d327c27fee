//! Acts on the events of the protocol.

use std::{task::Context, time::Instant};

use wawo_protocol::{ConnectionError, Event, MethodId, Overload, ServiceId};

use crate::{
    call_side::CallSide,
    clock,
    codec::buffer_pool,
    connection::{
        driver::Driver,
        outgoing::{self, OutgoingCall},
    },
    descriptor::MethodIds,
};

/// The driver looks at the clock again each time that it has handled this many events: a multiple of
/// [`EVENTS_A_WRITE`].
const EVENTS_A_LOOK: usize = 32;

/// From this number of events on, at each power of two, the driver writes early the packets that the
/// events have caused. It does so only if at least twice as much input is left as was handled since the
/// last time: with little left, one write at the end is cheaper.
const EVENTS_A_WRITE: usize = 16;

impl Driver {
    pub(super) fn handle_events(
        &mut self,
        cx: &mut Context<'_>,
        mut now: Instant,
    ) -> Result<(), ConnectionError> {
        let (mut handled, mut left) = (0, self.input.bytes.len());
        let result = loop {
            // Calls and replies are most of the input, so they are looked for before other events.
            let (bytes, copy) = self.input.with_copy();
            if let Some(called) = self.connection.poll_call(now, bytes, copy) {
                self.serve(cx, called);
            } else if let Some((call, reply)) =
                self.connection.poll_reply(now, &mut self.input.bytes)
            {
                call.complete(reply, &mut self.wakers);
            } else {
                match self.connection.poll_event(now, &mut self.input.bytes) {
                    Ok(Some(event)) => self.handle_event(cx, event),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            }
            handled += 1;
            // One branch for both, as neither is taken for most events.
            if handled % EVENTS_A_WRITE == 0 {
                if handled % EVENTS_A_LOOK == 0 {
                    // If a handler takes long, the timeouts of the calls behind it begin after it.
                    now = clock::now();
                }
                if usize::is_power_of_two(handled) {
                    self.write_early(cx, &mut left);
                }
            }
        };
        if self.observation.is_some() {
            self.observe_end_of_batch();
        }
        // This side may end calls too, without an event.
        if self.activity.is_due(now, handled > 0) {
            self.record_activity(now);
        }
        self.wake_all();
        result
    }

    /// Acts on timeouts that have come. Calls whose timeout came end before the connection does, so that
    /// each gets its own status.
    pub(super) fn handle_timeout(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        buffer_pool::release();
        self.record_started_calls(now);
        let result = self.connection.handle_timeout(now);
        self.handle_events(cx, now)?;
        result
    }

    fn handle_event(&mut self, cx: &mut Context<'_>, event: Event<OutgoingCall>) {
        match event {
            Event::Called(mut called) => {
                called.message = called.message.map(|message| self.input.kept(message));
                self.serve(cx, called);
            }
            Event::Ended(ended) => outgoing::ended(ended, &mut self.wakers),
            Event::Refused(call, refusal) => self.refused(call, &refusal),
            Event::Overloaded { method, overload } => self.overloaded(method, &overload),
            Event::Started(call) => self.started(call),
            Event::Replied {
                call,
                metadata,
                message,
            } => self.replied(call, metadata, message),
            Event::Message { call, message } => self.received(call, message),
            Event::Finished(call) => self.requests_finished(call),
            Event::Cancelled(call) => self.stop_handler(call, None),
            Event::Stopped(call, code) => self.stop_handler(call, Some(code)),
            Event::Writable(call) => self.writable(call),
            Event::Draining => self.handle.announce_their_drain(),
            Event::Move(relocation) => self.handle.announce_move(relocation),
            // A later version of the protocol crate may have events that this one does not know.
            _ => {}
        }
    }

    /// Reports a call of the other side that was refused, or ended, for a limit.
    #[cold]
    fn overloaded(&mut self, method: Option<(ServiceId, MethodId)>, overload: &Overload) {
        let ids = method.map(|(service, method)| MethodIds { service, method });
        let (side, limit) = (CallSide::Server, overload.reason());
        self.handle.report_limit(side, limit, ids, overload);
        self.observe_overload(ids, overload);
    }
}
