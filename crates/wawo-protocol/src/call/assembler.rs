//! Puts a message together that comes in chunks.

use bytes::{Bytes, BytesMut};

use crate::{
    buffer_pool::BufferPool,
    config::Config,
    error::PeerMisbehaved,
    id::CallId,
    packet::{Chunk, HEADER_BYTES},
};

/// A chunk with fewer bytes counts as small, unless it is the last of its message (docs/protocol.md,
/// "Chunks").
const SMALL_CHUNK_BYTES: usize = 1024;

/// A buffer for a message in chunks has room for at most 16 times the bytes that have come, whatever
/// the stated length of the message: memory grows with received bytes, never with a claim.
const MAX_ROOM: usize = 16;

/// A message whose first chunks have come.
#[derive(Debug)]
pub(crate) struct Assembler {
    /// The stated length of the message, in bytes.
    total: u32,
    /// Bytes of the chunks that have come whole.
    arrived: usize,
    buffer: AssemblyBuffer,
    /// The length of a chunk whose bytes were read directly to the end of `buffer` and that
    /// [`join`](Self::join) counts next; else 0.
    direct_bytes: usize,
    small_chunks: u32,
}

impl Assembler {
    pub(crate) fn new(total: u32) -> Self {
        Self {
            total,
            arrived: 0,
            buffer: AssemblyBuffer::new(total),
            direct_bytes: 0,
            small_chunks: 0,
        }
    }

    /// Adds a chunk.
    pub(crate) fn join(
        &mut self,
        call: CallId,
        chunk: &Chunk,
        config: &Config,
        buffer_pool: &mut BufferPool,
    ) -> Result<(), PeerMisbehaved> {
        let length = std::mem::take(&mut self.direct_bytes) + chunk.bytes.len();
        let max = config.max_small_chunks();
        self.small_chunks += u32::from(chunk.more && length < SMALL_CHUNK_BYTES);
        if self.small_chunks > max {
            return Err(PeerMisbehaved::SmallChunks { call, max });
        }
        let (arrived, total) = (self.arrived + length, self.total);
        // The last chunk must complete the stated length, and no other chunk may.
        if arrived > total as usize || (arrived == total as usize) == chunk.more {
            return Err(PeerMisbehaved::ChunkTotal { call, total });
        }
        self.arrived = arrived;
        self.buffer.append(&chunk.bytes, buffer_pool);
        Ok(())
    }

    /// Returns the message, which must be whole.
    pub(crate) fn take(self, buffer_pool: &mut BufferPool) -> Bytes {
        let AssemblyBuffer {
            mut bytes, size, ..
        } = self.buffer;
        let message = bytes.split().freeze();
        buffer_pool.keep(bytes, size);
        message
    }

    /// Lends the buffer for a direct read, if the rules allow a next chunk of `length` bytes. The
    /// reader returns it by [`take_back`](Self::take_back).
    pub(crate) fn lend(&mut self, length: usize) -> Option<AssemblyBuffer> {
        let fits = self.arrived + length <= self.total as usize;
        let none = AssemblyBuffer::new(0);
        fits.then(|| std::mem::replace(&mut self.buffer, none))
    }

    /// Takes the lent buffer back; the reader has put a chunk of `length` bytes at its end.
    pub(crate) fn take_back(&mut self, buffer: AssemblyBuffer, length: usize) {
        self.buffer = buffer;
        self.direct_bytes = length;
    }

    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    pub(crate) fn arrived(&self) -> usize {
        self.arrived
    }

    pub(crate) fn direct_bytes(&self) -> usize {
        self.direct_bytes
    }
}

/// The buffer in which the chunks of a message are put one after the other, and which becomes the
/// message.
#[derive(Debug)]
pub(crate) struct AssemblyBuffer {
    pub(crate) bytes: BytesMut,
    /// The size of the allocation of `bytes`.
    size: usize,
    /// The most room that it may need: for the message, and for the header of the next packet, which
    /// a direct read puts behind it.
    most: usize,
}

impl AssemblyBuffer {
    fn new(total: u32) -> Self {
        Self {
            bytes: BytesMut::new(),
            size: 0,
            most: total as usize + HEADER_BYTES,
        }
    }

    pub(crate) fn append(&mut self, bytes: &[u8], buffer_pool: &mut BufferPool) {
        let whole = self.bytes.len() + bytes.len();
        if whole > self.bytes.capacity() {
            self.grow(whole, buffer_pool);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The room that the buffer may have when `arrived` bytes have come.
    fn room_for(&self, arrived: usize) -> usize {
        self.most.min(arrived.saturating_mul(MAX_ROOM))
    }

    /// Whether growing gains enough room to be worth copying the bytes that have come. Without this,
    /// each of many small chunks would copy all chunks before it.
    pub(crate) fn is_worth_growing(&self, arrived: usize) -> bool {
        let room = self.room_for(arrived);
        room > self.size && (room == self.most || room >= 2 * self.size)
    }

    /// Makes room for the whole message with a pooled buffer, or for as much as `arrived` bytes
    /// allow.
    pub(crate) fn grow(&mut self, arrived: usize, buffer_pool: &mut BufferPool) {
        let (mut grown, size) = buffer_pool.reuse(self.most).unwrap_or_else(|| {
            let room = self.room_for(arrived);
            (BytesMut::with_capacity(room), room)
        });
        grown.extend_from_slice(&self.bytes);
        (self.bytes, self.size) = (grown, size);
    }
}
