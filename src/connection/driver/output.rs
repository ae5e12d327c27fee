//! Writes the output of a driver, and sets how much the mailbox takes meanwhile.

use std::{
    io,
    task::{Context, Poll},
};

use wawo_protocol::ConnectionError;

use crate::{
    clock,
    connection::{
        driver::Driver,
        loss::lost,
        mailbox::Capacity,
        owner::ConnectionEvent,
        writer::{self, WriteProgress},
    },
};

/// While more than this many bytes wait to be written, the driver takes no more calls and messages of
/// this side.
const FULL_OUTPUT_BYTES: usize = 512 * 1024;

impl Driver {
    /// Writes and flushes, until all output has left or the transport takes no more.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> Result<WriteProgress, ConnectionError> {
        if let Some(error) = self.failed.take() {
            return Err(*error);
        }
        loop {
            self.connection.fill_output();
            if self.connection.output().is_empty() {
                self.update_capacity();
                return self.flush(cx);
            }
            let output = self.connection.output();
            let written = match writer::poll_write(&mut self.transport.0, output, cx) {
                Poll::Pending => {
                    let is_full = self.connection.output().len() > FULL_OUTPUT_BYTES;
                    match is_full {
                        true => self.set_capacity(Capacity::NONE),
                        false => self.update_capacity(),
                    }
                    self.connection.output_blocked(clock::now());
                    return Ok(WriteProgress::Blocked);
                }
                Poll::Ready(Ok(0)) => return Err(lost(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(error)) => return Err(lost(error)),
            };
            self.connection.output().advance(written);
            self.needs_flush = true;
            if let Some(observation) = &self.observation {
                observation.add_written(written);
            }
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<WriteProgress, ConnectionError> {
        let (transport, connection) = (&mut self.transport.0, &mut self.connection);
        writer::flush(transport, connection, &mut self.needs_flush, cx)
    }

    /// Sets how much the mailbox takes, by how many calls wait for the other side's limits.
    pub(super) fn update_capacity(&mut self) {
        let nothing_waits = self.connection.calls_waiting() == 0;
        if nothing_waits && self.has_full_capacity {
            return;
        }
        self.set_capacity(self.free_capacity());
        self.has_full_capacity = nothing_waits;
    }

    fn free_capacity(&self) -> Capacity {
        Capacity {
            outer: self.connection.call_capacity(),
            nested: self.connection.nested_call_capacity(),
            nested_messages: self.connection.nested_message_capacity(),
            // Calls of this kind never wait in the connection.
            deep: usize::MAX,
        }
    }

    fn set_capacity(&mut self, capacity: Capacity) {
        self.has_full_capacity = false;
        let before = std::mem::replace(&mut self.capacity, capacity);
        if before == capacity {
            return;
        }
        self.handle
            .mailbox()
            .set_capacity(capacity, &mut self.wakers);
        self.wake_all();
        match (before.outer, capacity.outer) {
            (0, 0) => {}
            (_, 0) => self
                .handle
                .owner()
                .connection_changed(ConnectionEvent::Blocked),
            (0, _) => self
                .handle
                .owner()
                .connection_changed(ConnectionEvent::Writable),
            _ => {}
        }
    }

    /// Writes the first replies while much input is left to handle, so that the other side can work on
    /// them meanwhile. `left` is the length of the input the last time.
    pub(super) fn write_early(&mut self, cx: &mut Context<'_>, left: &mut usize) {
        let before = std::mem::replace(left, self.input.bytes.len());
        let done = before.saturating_sub(*left);
        if done > 0 && *left >= 2 * done {
            self.failed = self.write(cx).err().map(Box::new);
        }
    }

    /// Whether all output has left the transport.
    pub(super) fn is_written(&mut self) -> bool {
        self.connection.output().is_empty() && !self.needs_flush
    }

    /// Writes the rest of the output, after the connection has ended.
    pub(super) async fn close(&mut self) {
        writer::close(&mut self.transport.0, self.connection.output()).await;
    }
}
