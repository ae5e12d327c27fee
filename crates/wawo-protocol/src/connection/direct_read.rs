//! Large messages are read to where they stay: a chunk that continues one is read right to the end of
//! the chunks before it, and so is not copied.
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

/// A chunk that is read to where its message is assembled.
#[derive(Debug)]
pub(crate) struct DirectRead {
    header: ChunkHeader,
    buffer: AssemblyBuffer,
    /// The length of `buffer` with all of the chunk.
    until: usize,
    /// The length of `buffer` when it was last looked at.
    seen_bytes: usize,
}

/// Shorter chunks are copied out of the input, which one read fills with many of them.
pub(crate) const MIN_DIRECT_READ_BYTES: usize = 8 * 1024;

impl DirectRead {
    /// Reads a chunk to the end of `buffer`; `start` is the part of it that is here.
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

    /// Gives back the buffer with the chunk at its end. Bytes behind the chunk go to `input`.
    pub(crate) fn finish(mut self, input: &mut BytesMut) -> (ChunkHeader, AssemblyBuffer) {
        input.extend_from_slice(&self.buffer.bytes[self.until..]);
        self.buffer.bytes.truncate(self.until);
        (self.header, self.buffer)
    }

    /// Room for the rest of the chunk, and the header behind it.
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

    /// Whether anything has come since the last look.
    pub(crate) fn has_grown(&mut self) -> bool {
        let length = self.buffer.bytes.len();
        std::mem::replace(&mut self.seen_bytes, length) < length
    }
}
