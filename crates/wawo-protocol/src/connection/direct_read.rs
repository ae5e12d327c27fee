//! Large messages are read to where they stay: a chunk that continues one is read right to the end of
//! the chunks before it, and so is not copied.
//!
//! ```text
//!  input:     | header |                      the next packet continues a message
//!                  └───► direct_read()        its buffer is lent, with room for what is missing
//!  message:   | chunks so far | payload ..| header |
//!                                  └──────────┴─► the chunk is received, the next header is input
//! ```

use bytes::{BufMut, Bytes, BytesMut, buf::Limit};

use crate::{
    buffer_pool::BufferPool,
    call::AssemblyBuffer,
    connection::Connection,
    packet::{self, Chunk, ChunkHeader, HEADER_BYTES, Packet},
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
const MIN_DIRECT_READ_BYTES: usize = 8 * 1024;

impl<T> Connection<T> {
    /// The buffer for the next bytes of the transport, if they belong to a chunk of a large message; else
    /// they go to the end of `input`. Call [`poll_event`](Self::poll_event) after reading, as for any
    /// other bytes. Chunks of a driver that does not call this are copied.
    pub fn direct_read(&mut self, input: &mut BytesMut) -> Option<Limit<&mut BytesMut>> {
        if self.direct_read.is_none() && self.is_open() {
            self.direct_read = self.begin_direct_read(input).map(Box::new);
        }
        let buffer_pool = self.buffer_pool.at(self.now);
        self.direct_read
            .as_mut()
            .map(|direct_read| direct_read.room(buffer_pool))
    }

    /// An empty buffer with room for `room` bytes, and its size: a message came in it that is no longer
    /// used. `None` if there is none.
    pub fn reuse_buffer(&mut self, room: usize) -> Option<(BytesMut, usize)> {
        self.buffer_pool.at(self.now).reuse(room)
    }

    /// Keeps a buffer of `size` bytes, which messages may share, to be [used again](Self::reuse_buffer)
    /// when none does any more. Buffers that are not used for a second are given back.
    pub fn keep_buffer(&mut self, buffer: BytesMut, size: usize) {
        self.buffer_pool.at(self.now).keep(buffer, size);
    }

    fn begin_direct_read(&mut self, input: &mut BytesMut) -> Option<DirectRead> {
        let header = packet::partial_chunk(input, self.config.limits())?;
        if header.length < MIN_DIRECT_READ_BYTES {
            return None;
        }
        let mut buffer = self.calls.recv_half(header.call)?.lend(header.length)?;
        let until = buffer.bytes.len() + header.length;
        buffer.append(&input[HEADER_BYTES..], self.buffer_pool.at(self.now));
        input.clear();
        self.input.set_left(0);
        let seen_bytes = buffer.bytes.len();
        Some(DirectRead {
            header,
            buffer,
            until,
            seen_bytes,
        })
    }

    /// The chunk that was read directly, if it is whole.
    pub(crate) fn finish_direct_read(&mut self, input: &mut BytesMut) -> Option<Packet> {
        let direct_read = self
            .direct_read
            .take_if(|direct_read| direct_read.is_whole())?;
        let DirectRead {
            header, mut buffer, ..
        } = *direct_read;
        input.extend_from_slice(&buffer.bytes[direct_read.until..]);
        buffer.bytes.truncate(direct_read.until);
        // If the call is over, the chunk is dropped.
        if let Some(recv_half) = self.calls.recv_half(header.call) {
            recv_half.take_back(buffer, header.length);
        }
        Some(Packet::Message {
            call: header.call,
            chunk: Chunk {
                bytes: Bytes::new(),
                total: None,
                more: header.more,
                end: header.end,
            },
            continues: true,
        })
    }
}

impl DirectRead {
    /// For the rest of the chunk, and the header behind it.
    fn room(&mut self, buffer_pool: &mut BufferPool) -> Limit<&mut BytesMut> {
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

    fn is_whole(&self) -> bool {
        self.buffer.bytes.len() >= self.until
    }

    /// Whether anything has come since the last look.
    pub(crate) fn has_grown(&mut self) -> bool {
        let length = self.buffer.bytes.len();
        std::mem::replace(&mut self.seen_bytes, length) < length
    }
}
