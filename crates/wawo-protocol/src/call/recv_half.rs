//! The received direction of a call: it puts messages together, and grants credit for more.

use bytes::Bytes;

use crate::{
    buffer_pool::BufferPool,
    call::assembler::{Assembler, AssemblyBuffer},
    config::Config,
    error::PeerMisbehaved,
    id::CallId,
    packet::Chunk,
};

/// The receive half of a direction.
///
/// Credit works by three sums over the life of the call: bytes *received*, bytes *consumed* by the
/// application, and bytes *granted* to the sender. The sender may send `granted - received`. We grant
/// up to `consumed + initial_credit`; while no whole message waits to be consumed, we grant the length
/// of the message that is coming in on top. So we never hold more than one message and the initial
/// credit, and a message larger than the initial credit still arrives.
#[derive(Debug)]
pub(crate) struct RecvHalf {
    initial_credit: u64,
    received: u64,
    consumed: u64,
    granted: u64,
    assembler: Option<Assembler>,
}

/// The result of receiving the message bytes of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RecvOutcome {
    /// The message is not whole yet.
    Partly,
    /// A message is whole.
    Message {
        message: Bytes,
        /// Whether it is the last message of the direction.
        end: bool,
    },
    /// A message begins that is over the limit; none of its bytes are kept.
    TooLarge { total: usize },
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
        config: &Config,
        buffer_pool: &mut BufferPool,
    ) -> Result<RecvOutcome, PeerMisbehaved> {
        let credit = self.credit();
        let direct_bytes = self.assembler.as_ref().map_or(0, Assembler::direct_bytes);
        let length = direct_bytes + chunk.bytes.len();
        if length as u64 > credit {
            let credit = u32::try_from(credit).unwrap_or(u32::MAX);
            return Err(PeerMisbehaved::OverCredit {
                call,
                length,
                credit,
            });
        }
        self.received += length as u64;
        let state = match (continues, &mut self.assembler) {
            (true, Some(assembler)) => {
                assembler.join(call, &chunk, config, buffer_pool)?;
                return Ok(self.whole(chunk, buffer_pool));
            }
            (false, None) => return self.begin(call, chunk, config, buffer_pool),
            (true, None) => "which has no message to continue",
            (false, Some(_)) => "whose message before is not complete",
        };
        let kind = "message";
        Err(PeerMisbehaved::call_state(kind, call, state))
    }

    fn begin(
        &mut self,
        call: CallId,
        chunk: Chunk,
        config: &Config,
        buffer_pool: &mut BufferPool,
    ) -> Result<RecvOutcome, PeerMisbehaved> {
        let total = chunk.message_len();
        if total > config.limits().max_message_bytes as usize {
            return Ok(RecvOutcome::TooLarge { total });
        }
        let Some(total) = chunk.total else {
            return Ok(self.whole(chunk, buffer_pool));
        };
        let assembler = self.assembler.insert(Assembler::new(total));
        assembler.join(call, &chunk, config, buffer_pool)?;
        Ok(RecvOutcome::Partly)
    }

    fn whole(&mut self, chunk: Chunk, buffer_pool: &mut BufferPool) -> RecvOutcome {
        if chunk.more {
            return RecvOutcome::Partly;
        }
        let message = match self.assembler.take() {
            Some(assembler) => assembler.take(buffer_pool),
            None => chunk.bytes,
        };
        let end = chunk.end;
        RecvOutcome::Message { message, end }
    }

    /// Lends the buffer that chunks are assembled in, if the next chunk may have `length` bytes. The
    /// reader puts them at its end, and returns it by [`take_back`](Self::take_back).
    pub(crate) fn lend(&mut self, length: usize) -> Option<AssemblyBuffer> {
        let has_credit = length as u64 <= self.credit();
        self.assembler.as_mut().filter(|_| has_credit)?.lend(length)
    }

    /// Takes the lent buffer back. The reader has put a chunk of `length` bytes at its end, which
    /// [`receive`](Self::receive) counts next.
    pub(crate) fn take_back(&mut self, buffer: AssemblyBuffer, length: usize) {
        if let Some(assembler) = self.assembler.as_mut() {
            assembler.take_back(buffer, length);
        }
    }

    /// Bytes that the sender may still send.
    pub(crate) fn credit(&self) -> u64 {
        self.granted - self.received
    }

    /// Counts `bytes` of whole messages that have come within the credit.
    pub(crate) fn add_received(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// Whether a message has begun to come and is not whole.
    pub(crate) fn is_partly_received(&self) -> bool {
        self.assembler.is_some()
    }

    /// Bytes that have come of the message that is not whole.
    fn arrived(&self) -> u64 {
        let assembler = self.assembler.as_ref();
        assembler.map_or(0, |assembler| assembler.arrived() as u64)
    }

    /// Counts `bytes` of whole messages as consumed by the application.
    pub(crate) fn consume(&mut self, bytes: usize) {
        let consumed = self.consumed.saturating_add(bytes as u64);
        self.consumed = consumed.min(self.received - self.arrived());
    }

    /// Returns the bytes to grant the sender now, if they are worth a packet: half of the initial
    /// credit, or any number that the message that is coming in needs.
    pub(crate) fn grant(&mut self) -> Option<u32> {
        let mut target = self.consumed + self.initial_credit;
        let mut least = self.initial_credit / 2;
        if let Some(assembler) = &self.assembler
            && self.received - self.consumed == assembler.arrived() as u64
        {
            target += u64::from(assembler.total());
            least = 1;
        }
        let missing = target.saturating_sub(self.granted);
        if missing < least.max(1) {
            return None;
        }
        self.granted += missing;
        // The initial credit and a message have at most 2^30 bytes each, so the sum fits.
        Some(missing as u32)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{RecvHalf, RecvOutcome};
    use crate::{
        buffer_pool::BufferPool,
        config::Config,
        error::PeerMisbehaved,
        id::{CallId, Side},
        limits::MIN_MESSAGE_BYTES,
        packet::Chunk,
    };

    const INITIAL_CREDIT: u32 = 100;

    /// The least values of the limits on messages.
    fn config() -> Config {
        let builder = Config::builder().max_message_bytes(MIN_MESSAGE_BYTES);
        builder.max_small_chunks(100).build().unwrap()
    }

    type Result = std::result::Result<RecvOutcome, PeerMisbehaved>;

    fn call() -> CallId {
        CallId::new(Side::Connecting, 0)
    }

    /// Receives a chunk of this length, which begins a message of `total` bytes.
    fn begin(half: &mut RecvHalf, length: usize, total: u32) -> Result {
        receive(half, length, Some(total), true, false)
    }

    /// Receives a chunk of this length, which continues a message.
    fn go_on(half: &mut RecvHalf, length: usize, more: bool) -> Result {
        receive(half, length, None, more, true)
    }

    /// Receives a message of this length, in one chunk.
    fn whole(half: &mut RecvHalf, length: usize) -> Result {
        receive(half, length, None, false, false)
    }

    fn receive(
        half: &mut RecvHalf,
        length: usize,
        total: Option<u32>,
        more: bool,
        continues: bool,
    ) -> Result {
        let chunk = Chunk {
            bytes: Bytes::from(vec![1; length]),
            total,
            more,
            end: false,
        };
        let pool = &mut BufferPool::default();
        half.receive(call(), chunk, continues, &config(), pool)
    }

    #[test]
    fn a_sender_may_use_its_credit_to_the_last_byte_and_no_more() {
        let mut half = RecvHalf::new(INITIAL_CREDIT);
        let result = whole(&mut half, 100);
        assert!(matches!(result, Ok(RecvOutcome::Message { .. })));
        let over = PeerMisbehaved::OverCredit {
            call: call(),
            length: 1,
            credit: 0,
        };
        assert_eq!(whole(&mut half, 1), Err(over));
    }

    #[test]
    fn credit_comes_back_as_the_application_consumes() {
        let mut half = RecvHalf::new(INITIAL_CREDIT);
        whole(&mut half, 80).unwrap();
        assert_eq!(half.grant(), None);
        half.consume(49);
        assert_eq!(half.grant(), None, "not worth a packet");
        half.consume(1);
        assert_eq!(half.grant(), Some(50));
        assert_eq!(half.grant(), None);
    }

    #[test]
    fn a_message_larger_than_the_initial_credit_is_granted_whole_when_nothing_else_waits() {
        let mut half = RecvHalf::new(INITIAL_CREDIT);
        assert_eq!(begin(&mut half, 100, 300), Ok(RecvOutcome::Partly));
        assert_eq!(half.grant(), Some(300));
        let last = go_on(&mut half, 200, false);
        assert!(matches!(last, Ok(RecvOutcome::Message { message, .. }) if message.len() == 300));
        // The next message is granted no more until this one is consumed.
        assert_eq!(begin(&mut half, 100, 300), Ok(RecvOutcome::Partly));
        assert_eq!(half.grant(), None);
        half.consume(300);
        assert_eq!(half.grant(), Some(300));
    }

    #[test]
    fn chunks_must_add_up_to_the_stated_length() {
        let (call, total) = (call(), 20);
        let wrong = Err(PeerMisbehaved::ChunkTotal { call, total });
        let mut half = RecvHalf::new(INITIAL_CREDIT);
        assert_eq!(begin(&mut half, 20, total), wrong);
        for (length, more) in [(9, false), (11, false), (10, true)] {
            let mut half = RecvHalf::new(INITIAL_CREDIT);
            assert_eq!(begin(&mut half, 10, total), Ok(RecvOutcome::Partly));
            assert_eq!(go_on(&mut half, length, more), wrong, "{length} {more}");
        }
    }

    #[test]
    fn a_message_over_the_limit_is_told_from_its_first_chunk() {
        for (total, outcome) in [
            (65_537, RecvOutcome::TooLarge { total: 65_537 }),
            (65_536, RecvOutcome::Partly),
        ] {
            let mut half = RecvHalf::new(INITIAL_CREDIT);
            assert_eq!(begin(&mut half, 10, total), Ok(outcome));
        }
    }

    #[test]
    fn a_continuation_needs_a_beginning_and_the_reverse() {
        let mut half = RecvHalf::new(INITIAL_CREDIT);
        let result = go_on(&mut half, 1, false);
        assert!(matches!(result, Err(PeerMisbehaved::CallState { .. })));
        begin(&mut half, 1, 9).unwrap();
        let result = whole(&mut half, 1);
        assert!(matches!(result, Err(PeerMisbehaved::CallState { .. })));
    }

    #[test]
    fn a_message_has_at_most_max_small_chunks() {
        let mut half = RecvHalf::new(200);
        assert_eq!(begin(&mut half, 1, 200), Ok(RecvOutcome::Partly));
        for _ in 1..100 {
            assert_eq!(go_on(&mut half, 1, true), Ok(RecvOutcome::Partly));
        }
        let (call, max) = (call(), 100);
        let many = Err(PeerMisbehaved::SmallChunks { call, max });
        assert_eq!(go_on(&mut half, 1, true), many);
    }
}
