//! Takes commands from the mailbox.

use std::{task::Context, time::Instant};

use wawo_protocol::ConnectionError;

use crate::{
    clock,
    connection::{
        driver::Driver,
        mailbox::{Capacity, Command},
    },
};

impl Driver {
    /// Takes all commands and handles the events that follow. The mailbox bounds the number of commands.
    /// Returns whether a timeout is due.
    // Out of line: inlined into the loop of the driver, it costs each call some 80 instructions more.
    #[inline(never)]
    pub(super) fn take_commands(&mut self, cx: &mut Context<'_>) -> Result<bool, ConnectionError> {
        self.has_gathered = false;
        let mut commands = std::mem::take(&mut self.commands);
        self.handle.mailbox().take(&mut commands);
        let now = clock::now();
        for command in commands.drain(..) {
            self.handle_command(now, command);
        }
        self.commands = commands;
        // While the output is full, the capacity is set after the next write.
        if self.has_full_capacity || self.capacity != Capacity::NONE {
            self.update_capacity();
        }
        // Callers in line get the room that the taken commands left.
        let (mailbox, capacity) = (self.handle.mailbox(), self.capacity);
        mailbox.set_capacity_and_watch(capacity, &mut self.calls_to_watch, &mut self.wakers);
        self.wake_all();
        if self.connection.is_closed() {
            return Err(ConnectionError::ClosedHere);
        }
        // The commands may have caused events: calls of the lines were admitted, or calls have ended.
        self.handle_events(cx, now)?;
        Ok(self.connection.poll_timeout().is_some_and(|at| at <= now))
    }

    fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Call(request, slot) => self.start_call(now, request, slot),
            Command::PlainCall(call, slot) => self.start_plain_call(now, call, slot),
            command @ (Command::OneWay(_) | Command::OneWayBatch(_))
                if self.connection.is_draining_there() =>
            {
                self.keep_one_way(now, command);
            }
            Command::OneWay(request) => self.send_one_way(now, request),
            Command::OneWayBatch(messages) => self.send_one_way_batch(now, messages),
            Command::Cancel(slot) => self.cancel(&slot),
            Command::HandlerEnd(id, result) => self.handler_ended(id, result),
            Command::OneWayHandled(cost) => self.one_way_handled(cost),
            Command::Messages(outbox, messages) => self.send_messages(&outbox, messages),
            Command::Finish(outbox, result) => self.finish_stream(&outbox, result),
            Command::Consumed(inbox, read) => self.consumed(&inbox, read),
            Command::StopReading(inbox) => self.stop_reading(&inbox),
            Command::Move(relocation) => self.connection.move_peer(&relocation),
            Command::Drain => self.drain(),
            Command::Snapshot(sender) => {
                // The send fails if the caller has stopped waiting, which is no error.
                let _ = sender.send(self.snapshot());
            }
            Command::Close(code, reason) => self.connection.close(code, &reason),
        }
    }
}
