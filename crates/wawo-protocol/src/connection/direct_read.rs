//! Reads large messages into the buffer in which they stay: the bytes of a chunk that continues a
//! message are read directly behind the chunks before it, and so are not copied.
//!
//! ```text
//!  input:     | header |                      the next packet continues a message
//!                  └───► direct_read()        its buffer is lent, with room for what is missing
//!  message:   | chunks so far | payload ..| header |
//!                                  └──────────┴─► the chunk is received, the next header is input
//! ```

use bytes::{BufMut, BytesMut, buf::Limit};

use crate::{
    buffer_pool::BufferPool,
    call::AssemblyBuffer,
    packet::{ChunkHeader, HEADER_BYTES},
};

/// A chunk that is read into the buffer in which its message is assembled.
#[derive(Debug)]
pub(crate) struct DirectRead {
    header: ChunkHeader,
    buffer: AssemblyBuffer,
    /// The length that `buffer` has when the whole chunk has been read.
    until: usize,
    /// The length of `buffer` when it was last looked at.
    seen_bytes: usize,
}

/// The shortest chunk, in bytes, that is read directly. Shorter ones are copied out of the input,
/// since one read into the input brings many of them.
pub(crate) const MIN_DIRECT_READ_BYTES: usize = 8 * 1024;

impl DirectRead {
    /// Begins to read a chunk to the end of `buffer`; `start` is the part of the chunk that has
    /// come already.
    pub(crate) fn new(
        header: ChunkHeader,
        mut buffer: AssemblyBuffer,
        start: &[u8],
        buffer_pool: &mut BufferPool,
    ) -> Self {
        let until = buffer.bytes.len() + header.length;
        buffer.append(start, buffer_pool);
        let seen_bytes = buffer.bytes.len();
        Self {
            header,
            buffer,
            until,
            seen_bytes,
        }
    }

    /// Returns the buffer with the chunk at its end. Moves bytes that were read behind the chunk to
    /// `input`.
    pub(crate) fn finish(mut self, input: &mut BytesMut) -> (ChunkHeader, AssemblyBuffer) {
        input.extend_from_slice(&self.buffer.bytes[self.until..]);
        self.buffer.bytes.truncate(self.until);
        (self.header, self.buffer)
    }

    /// The room to read into: for the rest of the chunk, and for the header of the next packet.
    pub(crate) fn room(&mut self, buffer_pool: &mut BufferPool) -> Limit<&mut BytesMut> {
        let bytes = &self.buffer.bytes;
        let (here, spare) = (bytes.len(), bytes.capacity() - bytes.len());
        let wanted = self.until + HEADER_BYTES - here;
        if spare < wanted && (spare == 0 || self.buffer.is_worth_growing(here)) {
            self.buffer.grow(here, buffer_pool);
        }
        let bytes = &mut self.buffer.bytes;
        let spare = bytes.capacity() - bytes.len();
        bytes.limit(wanted.min(spare))
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.buffer.bytes.len() >= self.until
    }

    /// Whether bytes have come since the last call of this function.
    pub(crate) fn has_grown(&mut self) -> bool {
        let length = self.buffer.bytes.len();
        std::mem::replace(&mut self.seen_bytes, length) < length
    }
}
