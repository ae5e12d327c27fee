//! What has come of one direction of a call: chunks are joined, and credit is kept.

use bytes::{Bytes, BytesMut};

use crate::{config::Config, error::PeerMisbehaved, id::CallId, packet::Chunk};

/// The receiving half of a direction.
///
/// Credit works by three sums over the life of the call: bytes *received*, bytes *consumed* by
/// the application, and bytes *granted* to the sender. The sender may send `granted - received`.
/// We grant up to `consumed + window`, and while nothing waits to be consumed, as much more as
/// the message that is coming in needs to become whole. So what we hold is never more than one
/// message and one window, and a message larger than the window still arrives.
#[derive(Debug)]
pub(crate) struct Receiving {
    window: u64,
    received: u64,
    consumed: u64,
    granted: u64,
    partial: Option<Partial>,
}

/// A chunk with less, that is not the last of its message, is a small one
/// (docs/protocol.md, "Chunks").
const SMALL_CHUNK_BYTES: usize = 1024;

/// What a packet made of a direction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
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
struct Partial {
    total: u32,
    bytes: BytesMut,
    small_chunks: u32,
}

/// The first allocation for a message in chunks is at most so many times its first chunk,
/// whatever its stated length: memory grows with what has come, never with what is claimed.
const FIRST_CHUNKS: usize = 4;

/// What a receiver takes of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageLimits {
    pub(crate) max_message_bytes: u32,
    pub(crate) max_small_chunks: u32,
}

impl From<&Config> for MessageLimits {
    fn from(config: &Config) -> Self {
        Self {
            max_message_bytes: config.limits.max_message_bytes,
            max_small_chunks: config.max_small_chunks,
        }
    }
}

impl Receiving {
    pub(crate) fn new(window: u32) -> Self {
        Self {
            window: window.into(),
            received: 0,
            consumed: 0,
            granted: window.into(),
            partial: None,
        }
    }

    /// Takes the message bytes of a packet.
    pub(crate) fn receive(
        &mut self,
        call: CallId,
        chunk: Chunk,
        continues: bool,
        limits: MessageLimits,
    ) -> Result<Received, PeerMisbehaved> {
        let credit = self.credit();
        if chunk.bytes.len() as u64 > credit {
            return Err(PeerMisbehaved::OverCredit {
                call,
                length: chunk.bytes.len(),
                credit: u32::try_from(credit).unwrap_or(u32::MAX),
            });
        }
        self.received += chunk.bytes.len() as u64;
        if continues != self.partial.is_some() {
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
        match self.partial.as_mut() {
            Some(partial) => {
                partial.join(call, &chunk, limits)?;
                Ok(self.whole(chunk))
            }
            None => self.begin(call, chunk, limits),
        }
    }

    fn begin(
        &mut self,
        call: CallId,
        chunk: Chunk,
        limits: MessageLimits,
    ) -> Result<Received, PeerMisbehaved> {
        let total = chunk
            .total
            .map_or(chunk.bytes.len(), |total| total as usize);
        if total > limits.max_message_bytes as usize {
            return Ok(Received::TooLarge { total });
        }
        let Some(total) = chunk.total else {
            return Ok(self.whole(chunk));
        };
        let room = FIRST_CHUNKS * chunk.bytes.len();
        let mut partial = Partial {
            total,
            bytes: BytesMut::with_capacity(room.min(total as usize)),
            small_chunks: 0,
        };
        partial.join(call, &chunk, limits)?;
        self.partial = Some(partial);
        Ok(Received::Partly)
    }

    fn whole(&mut self, chunk: Chunk) -> Received {
        if chunk.more {
            return Received::Partly;
        }
        let message = match self.partial.take() {
            Some(partial) => partial.bytes.freeze(),
            None => chunk.bytes,
        };
        Received::Message {
            message,
            end: chunk.end,
        }
    }

    /// What the sender may still send.
    pub(crate) fn credit(&self) -> u64 {
        self.granted - self.received
    }

    /// Whole messages have come, within the credit.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// Whether the beginning of a message is here and its end is not.
    pub(crate) fn is_partly_received(&self) -> bool {
        self.partial.is_some()
    }

    /// The application has taken `bytes` of messages; of what is whole, that is.
    pub(crate) fn consume(&mut self, bytes: usize) {
        let partial = self.partial.as_ref();
        let partial = partial.map_or(0, |partial| partial.bytes.len() as u64);
        let consumed = self.consumed.saturating_add(bytes as u64);
        self.consumed = consumed.min(self.received - partial);
    }

    /// What to grant the sender now, if it is worth a packet.
    pub(crate) fn grant(&mut self) -> Option<u32> {
        let mut target = self.consumed + self.window;
        let mut least = self.window / 2;
        if let Some(partial) = &self.partial {
            let arrived = partial.bytes.len() as u64;
            if self.received - self.consumed == arrived {
                target += u64::from(partial.total);
                least = 1;
            }
        }
        let missing = target.saturating_sub(self.granted);
        if missing < least.max(1) {
            return None;
        }
        self.granted += missing;
        // Both a window and a message have at most 2^30 bytes.
        Some(missing as u32)
    }
}

impl Partial {
    fn join(
        &mut self,
        call: CallId,
        chunk: &Chunk,
        limits: MessageLimits,
    ) -> Result<(), PeerMisbehaved> {
        if chunk.more && chunk.bytes.len() < SMALL_CHUNK_BYTES {
            self.small_chunks += 1;
            if self.small_chunks > limits.max_small_chunks {
                return Err(PeerMisbehaved::SmallChunks {
                    call,
                    max: limits.max_small_chunks,
                });
            }
        }
        let length = self.bytes.len() + chunk.bytes.len();
        let total = self.total as usize;
        // It ends when, and only when, the stated length is there.
        if length > total || (length == total) == chunk.more {
            return Err(PeerMisbehaved::ChunkTotal {
                call,
                total: self.total,
            });
        }
        self.bytes.extend_from_slice(&chunk.bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{MessageLimits, Received, Receiving};
    use crate::{
        error::PeerMisbehaved,
        id::{CallId, Side},
        packet::Chunk,
    };

    const WINDOW: u32 = 100;

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
        let mut receiving = Receiving::new(WINDOW);
        let result = receiving.receive(call(), whole(100), false, LIMITS);
        assert!(matches!(result, Ok(Received::Message { .. })));
        assert_eq!(
            receiving.receive(call(), whole(1), false, LIMITS),
            Err(PeerMisbehaved::OverCredit {
                call: call(),
                length: 1,
                credit: 0
            })
        );
    }

    #[test]
    fn credit_comes_back_as_the_application_consumes() {
        let mut receiving = Receiving::new(WINDOW);
        receiving.receive(call(), whole(80), false, LIMITS).unwrap();
        assert_eq!(receiving.grant(), None);
        receiving.consume(49);
        assert_eq!(receiving.grant(), None, "not worth a packet");
        receiving.consume(1);
        assert_eq!(receiving.grant(), Some(50));
        assert_eq!(receiving.grant(), None);
    }

    #[test]
    fn a_message_larger_than_the_window_is_granted_whole_when_nothing_else_waits() {
        let mut receiving = Receiving::new(WINDOW);
        let first = receiving.receive(call(), chunk(100, Some(300), true), false, LIMITS);
        assert_eq!(first, Ok(Received::Partly));
        assert_eq!(receiving.grant(), Some(300));
        let last = receiving.receive(call(), chunk(200, None, false), true, LIMITS);
        assert!(matches!(last, Ok(Received::Message { message, .. }) if message.len() == 300));
        // The next one gets no more until this one is consumed.
        let next = receiving.receive(call(), chunk(100, Some(300), true), false, LIMITS);
        assert_eq!(next, Ok(Received::Partly));
        assert_eq!(receiving.grant(), None);
        receiving.consume(300);
        assert_eq!(receiving.grant(), Some(300));
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
            let mut receiving = Receiving::new(WINDOW);
            let mut result =
                receiving.receive(call(), chunk(first.0, Some(20), first.1), false, LIMITS);
            if let Some((length, more)) = second {
                assert_eq!(result, Ok(Received::Partly));
                result = receiving.receive(call(), chunk(length, None, more), true, LIMITS);
            }
            assert_eq!(result, wrong, "{first:?} {second:?}");
        }
    }

    #[test]
    fn a_message_over_the_limit_is_told_from_its_first_chunk() {
        let mut receiving = Receiving::new(WINDOW);
        let result = receiving.receive(call(), chunk(10, Some(1001), true), false, LIMITS);
        assert_eq!(result, Ok(Received::TooLarge { total: 1001 }));
        let mut receiving = Receiving::new(WINDOW);
        let result = receiving.receive(call(), chunk(10, Some(1000), true), false, LIMITS);
        assert_eq!(result, Ok(Received::Partly));
    }

    #[test]
    fn a_continuation_needs_a_beginning_and_the_reverse() {
        let mut receiving = Receiving::new(WINDOW);
        let result = receiving.receive(call(), whole(1), true, LIMITS);
        assert!(matches!(result, Err(PeerMisbehaved::CallState { .. })));
        receiving
            .receive(call(), chunk(1, Some(9), true), false, LIMITS)
            .unwrap();
        let result = receiving.receive(call(), whole(1), false, LIMITS);
        assert!(matches!(result, Err(PeerMisbehaved::CallState { .. })));
    }

    #[test]
    fn a_message_has_so_many_small_chunks_and_no_more() {
        let mut receiving = Receiving::new(WINDOW);
        let mut result = receiving.receive(call(), chunk(1, Some(9), true), false, LIMITS);
        for _ in 0..2 {
            assert_eq!(result, Ok(Received::Partly));
            result = receiving.receive(call(), chunk(1, None, true), true, LIMITS);
        }
        assert_eq!(result, Ok(Received::Partly));
        let result = receiving.receive(call(), chunk(1, None, true), true, LIMITS);
        assert_eq!(
            result,
            Err(PeerMisbehaved::SmallChunks {
                call: call(),
                max: 3
            })
        );
    }
}
