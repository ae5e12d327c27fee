//! A message that comes in chunks, and the buffer that it is put together in.

use bytes::{Bytes, BytesMut};

use crate::{
    buffer_pool::BufferPool,
    config::Config,
    error::PeerMisbehaved,
    id::CallId,
    packet::{Chunk, HEADER_BYTES},
};

/// A chunk with less, that is not the last of its message, is a small one
/// (docs/protocol.md, "Chunks").
const SMALL_CHUNK_BYTES: usize = 1024;

/// A buffer for a message in chunks has room for at most 16 times the bytes that have come, whatever
/// the stated length of the message: memory grows with received bytes, never with a claim.
const MAX_ROOM: usize = 16;

/// The limits on one received message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageLimits {
    pub(crate) max_message_bytes: u32,
    pub(crate) max_small_chunks: u32,
}

impl From<&Config> for MessageLimits {
    fn from(config: &Config) -> Self {
        Self {
            max_message_bytes: config.limits().max_message_bytes,
            max_small_chunks: config.max_small_chunks(),
        }
    }
}

/// A message of which the first chunks are here.
#[derive(Debug)]
pub(crate) struct Assembler {
    /// The stated length of the message, in bytes.
    total: u32,
    /// Bytes in whole chunks.
    arrived: usize,
    buffer: AssemblyBuffer,
    /// The length of a chunk that was read to the end of `buffer`, and is received next.
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
        limits: MessageLimits,
        buffer_pool: &mut BufferPool,
    ) -> Result<(), PeerMisbehaved> {
        let length = std::mem::take(&mut self.direct_bytes) + chunk.bytes.len();
        let max = limits.max_small_chunks;
        self.small_chunks += u32::from(chunk.more && length < SMALL_CHUNK_BYTES);
        if self.small_chunks > max {
            return Err(PeerMisbehaved::SmallChunks { call, max });
        }
        let (arrived, total) = (self.arrived + length, self.total);
        // It ends when, and only when, the stated length is there.
        if arrived > total as usize || (arrived == total as usize) == chunk.more {
            return Err(PeerMisbehaved::ChunkTotal { call, total });
        }
        self.arrived = arrived;
        self.buffer.append(&chunk.bytes, buffer_pool);
        Ok(())
    }

    /// The message, which is whole.
    pub(crate) fn take(self, buffer_pool: &mut BufferPool) -> Bytes {
        let AssemblyBuffer {
            mut bytes, size, ..
        } = self.buffer;
        let message = bytes.split().freeze();
        buffer_pool.keep(bytes, size);
        message
    }

    /// Lends the buffer, if the next chunk may have `length` bytes. It comes back by
    /// [`take_back`](Self::take_back).
    pub(crate) fn lend(&mut self, length: usize) -> Option<AssemblyBuffer> {
        let fits = self.arrived + length <= self.total as usize;
        let none = AssemblyBuffer::new(0);
        fits.then(|| std::mem::replace(&mut self.buffer, none))
    }

    /// Takes the buffer back, with a chunk of `length` bytes at its end.
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

/// The chunks of a message, one after the other in the buffer that the message is to have.
#[derive(Debug)]
pub(crate) struct AssemblyBuffer {
    pub(crate) bytes: BytesMut,
    /// The size of the allocation that `bytes` is.
    size: usize,
    /// The most room that it may need: for the message, and for the header that is read behind it.
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

    /// The room that `arrived` bytes allow.
    fn room_for(&self, arrived: usize) -> usize {
        self.most.min(arrived.saturating_mul(MAX_ROOM))
    }

    /// Whether there would be enough more room to be worth a move of the bytes that are here. Bytes
    /// that come one by one must not each move all before them.
    pub(crate) fn is_worth_growing(&self, arrived: usize) -> bool {
        let room = self.room_for(arrived);
        room > self.size && (room == self.most || room >= 2 * self.size)
    }

    /// Makes room for all that may come, or for as much as `arrived` bytes allow.
    pub(crate) fn grow(&mut self, arrived: usize, buffer_pool: &mut BufferPool) {
        let (mut grown, size) = buffer_pool.reuse(self.most).unwrap_or_else(|| {
            let room = self.room_for(arrived);
            (BytesMut::with_capacity(room), room)
        });
        grown.extend_from_slice(&self.bytes);
        (self.bytes, self.size) = (grown, size);
    }
}
