//! What a driver writes, and how much it takes from this side meanwhile.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncWrite, AsyncWriteExt};
use wawo_protocol::ConnectionError;

use crate::{
    clock,
    peer::{
        PeerEvent,
        driver::{Driver, lost},
        mailbox::Wanted,
    },
};

/// With more waiting to be written, no more calls and messages are taken from this side.
const FULL_OUTPUT_BYTES: usize = 512 * 1024;

/// How many pieces one write may have.
const MAX_SLICES: usize = 32;

pub(super) enum Wrote {
    All,
    Blocked,
}

impl Driver {
    /// Writes and flushes until all has left or the transport takes no more.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> Result<Wrote, ConnectionError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            self.connection.fill_output();
            if self.connection.output().is_empty() {
                self.update_wanted();
                return self.flush(cx);
            }
            let written = match self.poll_write(cx) {
                Poll::Pending => {
                    let is_full = self.connection.output().len() > FULL_OUTPUT_BYTES;
                    match is_full {
                        true => self.set_wanted(Wanted::NONE),
                        false => self.update_wanted(),
                    }
                    self.connection.output_blocked(clock::now());
                    return Ok(Wrote::Blocked);
                }
                Poll::Ready(Ok(0)) => return Err(lost(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(error)) => return Err(self.lost_early(error)),
            };
            self.connection.output().advance(written);
            self.needs_flush = true;
        }
    }

    /// Lets the transport pass on what it took: TLS, say, keeps the tail of a write until then.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<Wrote, ConnectionError> {
        if !self.needs_flush {
            return Ok(Wrote::All);
        }
        match Pin::new(&mut self.transport.0).poll_flush(cx) {
            Poll::Pending => {
                self.connection.output_blocked(clock::now());
                Ok(Wrote::Blocked)
            }
            Poll::Ready(Ok(())) => {
                self.needs_flush = false;
                self.connection.output_flushed();
                Ok(Wrote::All)
            }
            Poll::Ready(Err(error)) => Err(lost(error)),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let transport = Pin::new(&mut self.transport.0);
        let output = self.connection.output();
        if output.is_contiguous() || !transport.is_write_vectored() {
            return transport.poll_write(cx, output.first());
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let filled = output.slices(&mut slices);
        transport.poll_write_vectored(cx, &slices[..filled])
    }

    /// Tells the mailbox how much to take, by what waits for the limits of the other side.
    pub(super) fn update_wanted(&mut self) {
        let nothing_waits = self.connection.calls_waiting() == 0;
        if nothing_waits && self.wants_any {
            return;
        }
        self.set_wanted(self.wanted_calls());
        self.wants_any = nothing_waits;
    }

    fn wanted_calls(&self) -> Wanted {
        Wanted {
            outer: self.connection.call_capacity(),
            nested: self.connection.nested_call_capacity(),
            nested_messages: self.connection.nested_message_capacity(),
            // These do not wait in the connection.
            deep: usize::MAX,
        }
    }

    fn set_wanted(&mut self, wanted: Wanted) {
        self.wants_any = false;
        let before = std::mem::replace(&mut self.wanted, wanted);
        if before == wanted {
            return;
        }
        self.shared.mailbox.want(wanted, &mut self.wakers);
        self.wake_all();
        match (before.outer, wanted.outer) {
            (0, 0) => {}
            (_, 0) => self.tell(PeerEvent::Blocked),
            (0, _) => self.tell(PeerEvent::Writable),
            _ => {}
        }
    }

    /// Lets the other side work on the first replies while this one makes many more. `left` is how
    /// much there was to handle the last time.
    pub(super) fn write_early(&mut self, cx: &mut Context<'_>, left: &mut usize) {
        let before = std::mem::replace(left, self.input.bytes.len());
        let done = before.saturating_sub(*left);
        if done > 0 && *left >= 2 * done {
            self.failed = self.write(cx).err();
        }
    }

    /// Whether all that was to be written has left the transport.
    pub(crate) fn is_written(&mut self) -> bool {
        self.connection.output().is_empty() && !self.needs_flush
    }

    /// Writes what is left, and ends the transport, which flushes it.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        while !self.connection.output().is_empty() {
            let written = poll_fn(|cx| self.poll_write(cx)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.connection.output().advance(written);
        }
        self.transport.0.shutdown().await
    }
}
