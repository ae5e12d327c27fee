//! Acts on the events of the protocol.

use std::{task::Context, time::Instant};

use wawo_protocol::{ConnectionError, Event};

use crate::{
    clock,
    codec::buffer_pool,
    connection::{
        driver::Driver,
        outgoing::{self, OutgoingCall},
    },
};

/// After this many events, the driver looks at the clock again.
const EVENTS_A_LOOK: usize = 32;

/// After this many events, and whenever there are twice as many, the driver writes what they have led
/// to, if twice as much as was handled since the last time is left.
const EVENTS_A_WRITE: usize = 16;

impl Driver {
    pub(super) fn handle_events(
        &mut self,
        cx: &mut Context<'_>,
        mut now: Instant,
    ) -> Result<(), ConnectionError> {
        let (mut handled, mut left) = (0, self.input.bytes.len());
        let result = loop {
            // Most of what comes is one of the first two.
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
            if handled % EVENTS_A_LOOK == 0 {
                // A handler that takes long takes it from itself, not from the calls behind it.
                now = clock::now();
            }
            if handled >= EVENTS_A_WRITE && usize::is_power_of_two(handled) {
                self.write_early(cx, &mut left);
            }
        };
        // Calls end also by acts of this side.
        if self.activity.is_due(now, handled > 0) {
            self.record_activity(now);
        }
        self.wake_all();
        result
    }

    /// Acts on the timeouts that have come. Calls whose timeout came end before the connection does.
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
            Event::Refused(call, reason) => call.refuse(&reason, &mut self.wakers),
            Event::Started(call) => self.started(call),
            Event::Replied {
                call,
                metadata,
                message,
            } => self.replied(call, metadata, message),
            Event::Message { call, message } => self.received(call, message),
            Event::Finished(call) => self.requests_finished(call),
            Event::Cancelled(call) | Event::Expired(call) => self.stop_handler(call),
            Event::Writable(call) => self.writable(call),
            Event::Opened(hello) => {
                self.handle.open(*hello, self.is_draining);
                self.handle.compare_schemas();
            }
            Event::Draining => self.handle.announce_drain(),
            // Events of later versions of the protocol crate.
            _ => {}
        }
    }
}
