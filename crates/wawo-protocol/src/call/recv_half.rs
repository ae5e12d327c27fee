//! What has come of one direction of a call: chunks are assembled, and credit is kept.

use bytes::{Bytes, BytesMut};

use crate::{
    call::BufferPool,
    config::Config,
    error::PeerMisbehaved,
    id::CallId,
    packet::{Chunk, HEADER_BYTES},
};

/// The receive half of a direction.
///
/// Credit works by three sums over the life of the call: bytes *received*, bytes *consumed* by
/// the application, and bytes *granted* to the sender. The sender may send `granted - received`.
/// We grant up to `consumed + initial_credit`, and while nothing waits to be consumed, as much more as
/// the message that is coming in needs to become whole. So what we hold is never more than one
/// message and the initial credit, and a message larger than that still arrives.
#[derive(Debug)]
pub(crate) struct RecvHalf {
    initial_credit: u64,
    received: u64,
    consumed: u64,
    granted: u64,
    assembler: Option<Assembler>,
}

/// A chunk with less, that is not the last of its message, is a small one
/// (docs/protocol.md, "Chunks").
const SMALL_CHUNK_BYTES: usize = 1024;

/// What a packet made of a direction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RecvOutcome {
    /// The message is not whole yet.
    Partly,
    /// A message is whole.
    Message {
        message: Bytes,
        /// Whether it was the last one.
        end: bool,
    },
    /// The message that begins is over the limit; nothing of it is kept.
    TooLarge { total: usize },
}

#[derive(Debug)]
struct Assembler {
    total: u32,
    /// Bytes in whole chunks.
    arrived: usize,
    buffer: AssemblyBuffer,
    /// The length of a chunk that is in `buffer` already.
    direct_bytes: usize,
    small_chunks: u32,
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

/// A buffer for a message in chunks has room for at most so many times what has come, whatever
/// its stated length: memory grows with what has come, never with what is claimed.
const MAX_ROOM: usize = 16;

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

    /// How much room `arrived` bytes allow.
    fn room_for(&self, arrived: usize) -> usize {
        self.most.min(arrived.saturating_mul(MAX_ROOM))
    }

    /// Whether there would be so much more room that it is worth a move of what is here. Bytes that
    /// come one by one must not each move all before them.
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

    /// The message, which is whole.
    fn take(mut self, buffer_pool: &mut BufferPool) -> Bytes {
        let message = self.bytes.split().freeze();
        buffer_pool.keep(self.bytes, self.size);
        message
    }
}

/// What a receiver takes of one message.
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

impl RecvHalf {
    pub(crate) fn new(initial_credit: u32) -> Self {
        Self {
            initial_credit: initial_credit.into(),
            received: 0,
            consumed: 0,
            granted: initial_credit.into(),
            assembler: None,
        }
    }

    /// Takes the message bytes of a packet.
    pub(crate) fn receive(
        &mut self,
        call: CallId,
        chunk: Chunk,
        continues: bool,
        limits: MessageLimits,
        buffer_pool: &mut BufferPool,
    ) -> Result<RecvOutcome, PeerMisbehaved> {
        let credit = self.credit();
        let direct_bytes = self
            .assembler
            .as_ref()
            .map_or(0, |assembler| assembler.direct_bytes);
        let length = direct_bytes + chunk.bytes.len();
        if length as u64 > credit {
            return Err(PeerMisbehaved::OverCredit {
                call,
                length,
                credit: u32::try_from(credit).unwrap_or(u32::MAX),
            });
        }
        self.received += length as u64;
        if continues != self.assembler.is_some() {
            let state = match continues {
                true => "which has no message to continue",
                false => "whose message before is not complete",
            };
            return Err(PeerMisbehaved::CallState {
                kind: "message",
                call,
                state,
            });
        }
        match self.assembler.as_mut() {
            Some(assembler) => {
                assembler.join(call, &chunk, limits, buffer_pool)?;
                Ok(self.whole(chunk, buffer_pool))
            }
            None => self.begin(call, chunk, limits, buffer_pool),
        }
    }

    fn begin(
        &mut self,
        call: CallId,
        chunk: Chunk,
        limits: MessageLimits,
        buffer_pool: &mut BufferPool,
    ) -> Result<RecvOutcome, PeerMisbehaved> {
        let total = chunk
            .total
            .map_or(chunk.bytes.len(), |total| total as usize);
        if total > limits.max_message_bytes as usize {
            return Ok(RecvOutcome::TooLarge { total });
        }
        let Some(total) = chunk.total else {
            return Ok(self.whole(chunk, buffer_pool));
        };
        let mut assembler = Assembler {
            total,
            arrived: 0,
            buffer: AssemblyBuffer::new(total),
            direct_bytes: 0,
            small_chunks: 0,
        };
        assembler.join(call, &chunk, limits, buffer_pool)?;
        self.assembler = Some(assembler);
        Ok(RecvOutcome::Partly)
    }

    fn whole(&mut self, chunk: Chunk, buffer_pool: &mut BufferPool) -> RecvOutcome {
        if chunk.more {
            return RecvOutcome::Partly;
        }
        let message = match self.assembler.take() {
            Some(assembler) => assembler.buffer.take(buffer_pool),
            None => chunk.bytes,
        };
        RecvOutcome::Message {
            message,
            end: chunk.end,
        }
    }

    /// Lends the buffer that chunks are assembled in, if the next one may have `length` bytes: then
    /// they are read to its end, and it comes back by [`take_back`](Self::take_back).
    pub(crate) fn lend(&mut self, length: usize) -> Option<AssemblyBuffer> {
        let credit = self.credit();
        let assembler = self.assembler.as_mut()?;
        let fits =
            length as u64 <= credit && assembler.arrived + length <= assembler.total as usize;
        let none = AssemblyBuffer::new(0);
        fits.then(|| std::mem::replace(&mut assembler.buffer, none))
    }

    /// Takes the buffer back, with a chunk of `length` bytes at its end, which is received next.
    pub(crate) fn take_back(&mut self, buffer: AssemblyBuffer, length: usize) {
        if let Some(assembler) = self.assembler.as_mut() {
            assembler.buffer = buffer;
            assembler.direct_bytes = length;
        }
    }

    /// What the sender may still send.
    pub(crate) fn credit(&self) -> u64 {
        self.granted - self.received
    }

    /// Whole messages have come, within the credit.
    pub(crate) fn add_received(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// Whether the beginning of a message is here and its end is not.
    pub(crate) fn is_partly_received(&self) -> bool {
        self.assembler.is_some()
    }

    /// The application has taken `bytes` of messages; of what is whole, that is.
    pub(crate) fn consume(&mut self, bytes: usize) {
        let assembler = self.assembler.as_ref();
        let assembler = assembler.map_or(0, |assembler| assembler.arrived as u64);
        let consumed = self.consumed.saturating_add(bytes as u64);
        self.consumed = consumed.min(self.received - assembler);
    }

    /// What to grant the sender now, if it is worth a packet.
    pub(crate) fn grant(&mut self) -> Option<u32> {
        let mut target = self.consumed + self.initial_credit;
        let mut least = self.initial_credit / 2;
        if let Some(assembler) = &self.assembler {
            let arrived = assembler.arrived as u64;
            if self.received - self.consumed == arrived {
                target += u64::from(assembler.total);
                least = 1;
            }
        }
        let missing = target.saturating_sub(self.granted);
        if missing < least.max(1) {
            return None;
        }
        self.granted += missing;
        // Both the initial credit and a message have at most 2^30 bytes.
        Some(missing as u32)
    }
}

impl Assembler {
    fn join(
        &mut self,
        call: CallId,
        chunk: &Chunk,
        limits: MessageLimits,
        buffer_pool: &mut BufferPool,
    ) -> Result<(), PeerMisbehaved> {
        let length = std::mem::take(&mut self.direct_bytes) + chunk.bytes.len();
        if chunk.more && length < SMALL_CHUNK_BYTES {
            self.small_chunks += 1;
            if self.small_chunks > limits.max_small_chunks {
                return Err(PeerMisbehaved::SmallChunks {
                    call,
                    max: limits.max_small_chunks,
                });
            }
        }
        let arrived = self.arrived + length;
        let total = self.total as usize;
        // It ends when, and only when, the stated length is there.
        if arrived > total || (arrived == total) == chunk.more {
            return Err(PeerMisbehaved::ChunkTotal {
                call,
                total: self.total,
            });
        }
        self.arrived = arrived;
        self.buffer.append(&chunk.bytes, buffer_pool);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{MessageLimits, RecvHalf, RecvOutcome};
    use crate::{
        call::BufferPool,
        error::PeerMisbehaved,
        id::{CallId, Side},
        packet::Chunk,
    };

    const INITIAL_CREDIT: u32 = 100;

    const LIMITS: MessageLimits = MessageLimits {
        max_message_bytes: 1000,
        max_small_chunks: 3,
    };

    fn call() -> CallId {
        CallId::new(Side::Connecting, 0)
    }

    fn chunk(length: usize, total: Option<u32>, more: bool) -> Chunk {
        Chunk {
            bytes: Bytes::from(vec![1; length]),
            total,
            more,
            end: false,
        }
    }

    fn whole(length: usize) -> Chunk {
        chunk(length, None, false)
    }

    #[test]
    fn a_sender_may_use_its_credit_to_the_last_byte_and_no_more() {
        let mut recv_half = RecvHalf::new(INITIAL_CREDIT);
        let result = recv_half.receive(
            call(),
            whole(100),
            false,
            LIMITS,
            &mut BufferPool::default(),
        );
        assert!(matches!(result, Ok(RecvOutcome::Message { .. })));
        assert_eq!(
            recv_half.receive(call(), whole(1), false, LIMITS, &mut BufferPool::default()),
            Err(PeerMisbehaved::OverCredit {
                call: call(),
                length: 1,
                credit: 0
            })
        );
    }

    #[test]
    fn credit_comes_back_as_the_application_consumes() {
        let mut recv_half = RecvHalf::new(INITIAL_CREDIT);
        recv_half
            .receive(call(), whole(80), false, LIMITS, &mut BufferPool::default())
            .unwrap();
        assert_eq!(recv_half.grant(), None);
        recv_half.consume(49);
        assert_eq!(recv_half.grant(), None, "not worth a packet");
        recv_half.consume(1);
        assert_eq!(recv_half.grant(), Some(50));
        assert_eq!(recv_half.grant(), None);
    }

    #[test]
    fn a_message_larger_than_the_window_is_granted_whole_when_nothing_else_waits() {
        let mut recv_half = RecvHalf::new(INITIAL_CREDIT);
        let first = recv_half.receive(
            call(),
            chunk(100, Some(300), true),
            false,
            LIMITS,
            &mut BufferPool::default(),
        );
        assert_eq!(first, Ok(RecvOutcome::Partly));
        assert_eq!(recv_half.grant(), Some(300));
        let last = recv_half.receive(
            call(),
            chunk(200, None, false),
            true,
            LIMITS,
            &mut BufferPool::default(),
        );
        assert!(matches!(last, Ok(RecvOutcome::Message { message, .. }) if message.len() == 300));
        // The next one gets no more until this one is consumed.
        let next = recv_half.receive(
            call(),
            chunk(100, Some(300), true),
            false,
            LIMITS,
            &mut BufferPool::default(),
        );
        assert_eq!(next, Ok(RecvOutcome::Partly));
        assert_eq!(recv_half.grant(), None);
        recv_half.consume(300);
        assert_eq!(recv_half.grant(), Some(300));
    }

    #[test]
    fn chunks_must_add_up_to_the_stated_length() {
        let wrong = Err(PeerMisbehaved::ChunkTotal {
            call: call(),
            total: 20,
        });
        for (first, second) in [((20, true), None), ((10, true), Some((9, false)))]
            .into_iter()
            .chain([
                ((10, true), Some((11, false))),
                ((10, true), Some((10, true))),
            ])
        {
            let mut recv_half = RecvHalf::new(INITIAL_CREDIT);
            let mut result = recv_half.receive(
                call(),
                chunk(first.0, Some(20), first.1),
                false,
                LIMITS,
                &mut BufferPool::default(),
            );
            if let Some((length, more)) = second {
                assert_eq!(result, Ok(RecvOutcome::Partly));
                result = recv_half.receive(
                    call(),
                    chunk(length, None, more),
                    true,
                    LIMITS,
                    &mut BufferPool::default(),
                );
            }
            assert_eq!(result, wrong, "{first:?} {second:?}");
        }
    }

    #[test]
    fn a_message_over_the_limit_is_told_from_its_first_chunk() {
        let mut recv_half = RecvHalf::new(INITIAL_CREDIT);
        let result = recv_half.receive(
            call(),
            chunk(10, Some(1001), true),
            false,
            LIMITS,
            &mut BufferPool::default(),
        );
        assert_eq!(result, Ok(RecvOutcome::TooLarge { total: 1001 }));
        let mut recv_half = RecvHalf::new(INITIAL_CREDIT);
        let result = recv_half.receive(
            call(),
            chunk(10, Some(1000), true),
            false,
            LIMITS,
            &mut BufferPool::default(),
        );
        assert_eq!(result, Ok(RecvOutcome::Partly));
    }

    #[test]
    fn a_continuation_needs_a_beginning_and_the_reverse() {
        let mut recv_half = RecvHalf::new(INITIAL_CREDIT);
        let result = recv_half.receive(call(), whole(1), true, LIMITS, &mut BufferPool::default());
        assert!(matches!(result, Err(PeerMisbehaved::CallState { .. })));
        recv_half
            .receive(
                call(),
                chunk(1, Some(9), true),
                false,
                LIMITS,
                &mut BufferPool::default(),
            )
            .unwrap();
        let result = recv_half.receive(call(), whole(1), false, LIMITS, &mut BufferPool::default());
        assert!(matches!(result, Err(PeerMisbehaved::CallState { .. })));
    }

    #[test]
    fn a_message_has_so_many_small_chunks_and_no_more() {
        let mut recv_half = RecvHalf::new(INITIAL_CREDIT);
        let mut result = recv_half.receive(
            call(),
            chunk(1, Some(9), true),
            false,
            LIMITS,
            &mut BufferPool::default(),
        );
        for _ in 0..2 {
            assert_eq!(result, Ok(RecvOutcome::Partly));
            result = recv_half.receive(
                call(),
                chunk(1, None, true),
                true,
                LIMITS,
                &mut BufferPool::default(),
            );
        }
        assert_eq!(result, Ok(RecvOutcome::Partly));
        let result = recv_half.receive(
            call(),
            chunk(1, None, true),
            true,
            LIMITS,
            &mut BufferPool::default(),
        );
        assert_eq!(
            result,
            Err(PeerMisbehaved::SmallChunks {
                call: call(),
                max: 3
            })
        );
    }
}
