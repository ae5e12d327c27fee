//! Reads the transport of a driver, and chooses the buffers for it.

use std::{
    cell::Cell,
    io, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::ReadBuf;
use tokio_util::io::poll_read_buf;
use wawo_protocol::{
    Connection,
    packet::{self, HEADER_BYTES},
};

use crate::{connection::message_copier::MessageCopier, transport::Transport};

/// The bytes that have come and are not handled yet. After each round of the driver this is less than one
/// packet.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) bytes: BytesMut,
    /// The size of the allocation that `bytes` is a part of.
    buffer_bytes: usize,
    copier: MessageCopier,
    /// How many bytes the next read has room for.
    read_bytes: usize,
    /// The length of the last large packet, at most [`MAX_READ_BYTES`].
    packet_bytes: usize,
    /// Whether the last read was for one large packet only.
    is_large: bool,
}

/// The room of a first read, in bytes, if bytes of an earlier read are left. If none are left, the read
/// goes to the scratch buffer of the thread.
const MIN_READ_BYTES: usize = 4 * 1024;

/// A read that fills its room gets twice as much room the next time, at most this many bytes.
const MAX_READ_BYTES: usize = 128 * 1024;

/// The length in bytes of the buffer for first reads. Each thread has one, shared by its connections.
const SCRATCH_BYTES: usize = 16 * 1024;

/// An idle connection keeps a buffer of at most this length, in bytes.
const KEPT_BYTES: usize = 512;

/// An idle connection leaves a longer buffer to its thread, up to this length in bytes. It holds some
/// dozens of small packets. A longer buffer is freed: to allocate it again costs little beside what came
/// in it.
const SPARE_BYTES: usize = 4 * 1024;

/// A packet of this length in bytes or more is read into a buffer of its own. That read takes no bytes
/// behind it, except for the header of the next packet.
const LARGE_PACKET_BYTES: usize = 16 * 1024;

/// The buffer for a large packet is at most this many times as long as the part that has come, or as long
/// as a packet that came before. So a packet that only states a great length makes this side allocate
/// little.
const MAX_ROOM: usize = 8;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };

    /// The buffer that a connection of this thread has used last. The next connection uses it again if no
    /// message is left in it, because to allocate one takes longer than the read itself.
    static SPARE: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// The room of the next read, after a read that filled its room.
fn larger(read_bytes: usize) -> usize {
    (2 * read_bytes).min(MAX_READ_BYTES)
}

impl Default for Input {
    fn default() -> Self {
        Self {
            bytes: BytesMut::new(),
            buffer_bytes: 0,
            copier: MessageCopier::default(),
            read_bytes: MIN_READ_BYTES,
            packet_bytes: 0,
            is_large: false,
        }
    }
}

impl Input {
    /// An input that begins with bytes that were read before.
    pub(crate) fn beginning_with(bytes: BytesMut) -> Self {
        Self {
            buffer_bytes: bytes.capacity(),
            bytes,
            ..Self::default()
        }
    }

    /// Reads once, into the buffer of the message that is coming, or into this input.
    pub(crate) fn read<T>(
        &mut self,
        mut transport: Pin<&mut dyn Transport>,
        connection: &mut Connection<T>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.is_large = false;
        let polled = if let Some(mut room) = connection.direct_read(&mut self.bytes) {
            self.is_large = true;
            let polled = poll_read_buf(transport.as_mut(), cx, &mut room);
            if self.buffer_bytes >= LARGE_PACKET_BYTES {
                // A direct read takes few bytes behind its message, so it costs little to copy them to
                // another buffer.
                let before = mem::take(&mut self.bytes);
                connection.keep_buffer(before, mem::take(&mut self.buffer_bytes));
            }
            polled
        } else if let Some(missing) = self.missing_of_large() {
            self.is_large = true;
            self.make_room_for_large(missing, connection);
            self.read_rest(transport, missing, cx)
        } else {
            self.read_any(transport, cx)
        };
        if polled.is_pending() {
            self.rest();
        }
        polled
    }

    /// Whether the last read was for one large packet only.
    pub(crate) fn is_large(&self) -> bool {
        self.is_large
    }

    /// The bytes, and a function that copies a message out of them if a handler may hold it for long.
    pub(crate) fn with_copy(&mut self) -> (&mut BytesMut, impl FnOnce(&[u8]) -> Option<Bytes>) {
        let (copier, buffer_bytes) = (&mut self.copier, self.buffer_bytes);
        let copy = move |message: &[u8]| copier.copy(message, buffer_bytes);
        (&mut self.bytes, copy)
    }

    /// A message that may be held for long: a copy, if it is short compared with the buffer of the input.
    pub(crate) fn kept(&mut self, message: Bytes) -> Bytes {
        let copy = self.copier.copy(&message, self.buffer_bytes);
        copy.unwrap_or(message)
    }

    /// The number of missing bytes of a large packet, if the input begins with one.
    fn missing_of_large(&self) -> Option<usize> {
        let missing = packet::missing(&self.bytes)?;
        (self.bytes.len() + missing >= LARGE_PACKET_BYTES).then_some(missing)
    }

    /// Reads bytes of any packets.
    fn read_any(
        &mut self,
        transport: Pin<&mut dyn Transport>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.bytes.is_empty() && self.read_bytes == MIN_READ_BYTES {
            return self.read_to_scratch(transport, cx);
        }
        self.reserve(self.read_bytes);
        let room = self.bytes.capacity() - self.bytes.len();
        let polled = poll_read_buf(transport, cx, &mut self.bytes);
        if matches!(polled, Poll::Ready(Ok(read)) if read == room) {
            self.read_bytes = larger(self.read_bytes);
        }
        polled
    }

    /// Reads into the scratch buffer of the thread, and copies what has come. So a connection to which
    /// nothing comes needs no buffer of its own.
    fn read_to_scratch(
        &mut self,
        transport: Pin<&mut dyn Transport>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        // If the transport polls another driver meanwhile, that driver finds no scratch buffer and makes
        // its own.
        let mut scratch = SCRATCH.take();
        scratch.resize(SCRATCH_BYTES, 0);
        let mut buf = ReadBuf::new(&mut scratch);
        let polled = transport.poll_read(cx, &mut buf);
        let read = buf.filled();
        if !read.is_empty() {
            self.take_buffer(read.len());
            self.bytes.extend_from_slice(read);
        }
        if read.len() == SCRATCH_BYTES {
            self.read_bytes = larger(SCRATCH_BYTES);
        }
        let polled = polled.map_ok(|()| read.len());
        SCRATCH.set(scratch);
        polled
    }

    /// How many bytes may be read for a large packet of which `missing` bytes are missing.
    fn room_for_large(&self, missing: usize) -> usize {
        let most = (MAX_ROOM * self.bytes.len())
            .max(self.packet_bytes)
            .max(self.read_bytes);
        (missing + HEADER_BYTES).min(most)
    }

    fn make_room_for_large<T>(&mut self, missing: usize, connection: &mut Connection<T>) {
        let (here, room) = (self.bytes.len(), self.room_for_large(missing));
        let room_here = self.bytes.capacity() - here;
        // If bytes come one by one, not each of them may move all those before it.
        if (room_here > 0 && room < 2 * room_here) || self.bytes.try_reclaim(room) {
            return;
        }
        let whole = here + missing + HEADER_BYTES;
        let reused = connection.reuse_buffer(whole);
        let (mut own, size) =
            reused.unwrap_or_else(|| (BytesMut::with_capacity(here + room), here + room));
        own.extend_from_slice(&self.bytes);
        let before = mem::replace(&mut self.bytes, own);
        let size = mem::replace(&mut self.buffer_bytes, size);
        // A buffer that was too small for this packet would be too small for the next.
        if size >= whole {
            connection.keep_buffer(before, size);
        }
    }

    /// Reads the rest of a large packet, as far as the buffer may grow.
    fn read_rest(
        &mut self,
        transport: Pin<&mut dyn Transport>,
        missing: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let (here, room) = (self.bytes.len(), self.room_for_large(missing));
        let polled = poll_read_buf(transport, cx, &mut (&mut self.bytes).limit(room));
        if matches!(polled, Poll::Ready(Ok(read)) if read >= missing) {
            self.packet_bytes = (here + missing).min(MAX_READ_BYTES);
        }
        polled
    }

    /// Frees or shrinks buffers, as nothing comes for now.
    fn rest(&mut self) {
        self.read_bytes = MIN_READ_BYTES;
        self.copier.clear();
        if self.bytes.is_empty() && self.buffer_bytes > KEPT_BYTES {
            let buffer = mem::take(&mut self.bytes);
            if mem::take(&mut self.buffer_bytes) <= SPARE_BYTES {
                SPARE.set(buffer);
            }
        }
    }

    /// Makes room in an empty buffer: that of this input, that of the thread, or a new one.
    fn take_buffer(&mut self, bytes: usize) {
        if self.buffer_bytes == 0 {
            let mut room_here = SPARE.take();
            if room_here.try_reclaim(bytes) {
                self.buffer_bytes = room_here.capacity();
                self.bytes = room_here;
            }
        }
        self.reserve(bytes);
    }

    fn reserve(&mut self, bytes: usize) {
        let before = self.bytes.capacity();
        self.bytes.reserve(bytes);
        if self.bytes.capacity() > before {
            self.buffer_bytes = self.bytes.capacity();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter::successors;

    use bytes::{Buf, Bytes};

    use super::{Input, KEPT_BYTES, MAX_READ_BYTES, MIN_READ_BYTES, SPARE_BYTES, larger};

    /// The bytes of one read, in the buffer that a fresh connection has for it. Nothing comes after them.
    fn read_once(bytes: usize) -> Bytes {
        let mut input = Input::default();
        input.take_buffer(bytes);
        input.bytes.extend_from_slice(&vec![7; bytes]);
        let message = input.bytes.split_to(bytes).freeze();
        assert!(input.bytes.is_empty());
        input.rest();
        message
    }

    /// A connection uses the buffer that another connection has left to the thread.
    #[test]
    fn a_thread_uses_a_buffer_again_once_no_message_is_left_in_it() {
        let first = read_once(SPARE_BYTES);
        let begin = first.as_ptr();
        drop(first);
        let second = read_once(KEPT_BYTES + 1);
        assert_eq!(second.as_ptr(), begin);
        let third = read_once(KEPT_BYTES + 1);
        assert_ne!(third.as_ptr(), begin);
        assert_eq!(second, vec![7; KEPT_BYTES + 1]);
        drop((second, third));
    }

    #[test]
    fn a_thread_keeps_no_long_buffer() {
        let long = read_once(SPARE_BYTES + 1);
        drop(long);
        assert_eq!(super::SPARE.take().capacity(), 0);
        let mut short = read_once(SPARE_BYTES);
        short.advance(1);
        drop(short);
        let mut room_here = super::SPARE.take();
        assert!(room_here.try_reclaim(SPARE_BYTES));
    }

    #[test]
    fn reads_grow_to_the_largest() {
        let mut reads = successors(Some(MIN_READ_BYTES), |&bytes| Some(larger(bytes)));
        assert_eq!(reads.nth(1), Some(2 * MIN_READ_BYTES));
        assert_eq!(reads.nth(100), Some(MAX_READ_BYTES));
    }
}
