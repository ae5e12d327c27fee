//! Limits the memory of a stream's messages that are decoded before they are read.

use std::sync::Arc;

use wawo_protocol::packet::Batch;

use crate::{
    codec::Codec,
    decoding::{
        DEFAULT_MAX_BYTES, Direction, check,
        reservation::{DecodedBytes, Reservation},
    },
    descriptor::MethodDescriptor,
    layout::Layout,
    status::{Result, Status},
};

/// How many bytes the decoded messages of a batch take together, at most. A larger message is a batch of
/// its own, and is counted.
const BATCH_BYTES: usize = 64 * 1024;

/// The memory of the messages of one stream, from their decoding until the next batch.
#[derive(Debug)]
pub(crate) struct StreamMemory {
    method: MethodDescriptor,
    direction: Direction,
    layout: Option<&'static Layout>,
    measure: fn(&[u8], Option<&'static Layout>) -> usize,
    max_message: usize,
    /// The counter of the connection, for requests. Replies are not counted, because the caller holds
    /// them.
    limits: Option<Arc<DecodedBytes>>,
    reserved: Option<Reservation>,
    /// How many bytes the messages of the batch take so far.
    batch: usize,
}

impl StreamMemory {
    pub(crate) fn requests<C: Codec<Q>, Q>(
        method: &MethodDescriptor,
        limits: Option<&Arc<DecodedBytes>>,
    ) -> Self {
        let max = limits.map_or(DEFAULT_MAX_BYTES, |limits| limits.max_message());
        Self {
            layout: method.request_layout(),
            limits: limits.cloned(),
            ..Self::new::<C, Q>(method, Direction::Request, max)
        }
    }

    pub(crate) fn replies<C: Codec<R>, R>(method: &MethodDescriptor, max_message: usize) -> Self {
        Self {
            layout: method.reply_layout(),
            ..Self::new::<C, R>(method, Direction::Reply, max_message)
        }
    }

    fn new<C: Codec<T>, T>(
        method: &MethodDescriptor,
        direction: Direction,
        max_message: usize,
    ) -> Self {
        Self {
            method: method.clone(),
            direction,
            layout: None,
            measure: |bytes, layout| C::default().decoded_bytes(bytes, layout),
            max_message,
            limits: None,
            reserved: None,
            batch: 0,
        }
    }

    /// Releases the memory of the last batch, whose messages have all been read.
    pub(crate) fn begin_batch(&mut self) {
        self.batch = 0;
        self.reserved = None;
    }

    /// Whether the next batch, of at most `messages` messages and little more than `bytes` bytes, surely
    /// takes little.
    pub(crate) fn takes_little(&self, taken: &Batch, messages: usize, bytes: usize) -> bool {
        let bytes = taken.message_bytes().min(bytes + taken.largest());
        let messages = taken.len().min(messages);
        self.layout.is_some_and(|layout| {
            let most = BATCH_BYTES.min(self.max_message);
            layout.many_take_at_most(most as u64, messages, bytes)
        })
    }

    /// Counts a message into the batch, before it is decoded. Returns `false` if it has to go into the
    /// next batch.
    ///
    /// # Errors
    ///
    /// If it takes too much, alone or together with others.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<bool> {
        let taken = (self.measure)(bytes, self.layout);
        if self.batch > 0 && self.batch + taken > BATCH_BYTES {
            return Ok(false);
        }
        check(&self.method, self.direction, taken, self.max_message)?;
        if taken > BATCH_BYTES {
            self.reserve(taken)?;
        }
        // A message that takes no memory counts as one byte, so that the batch is not empty.
        self.batch += taken.max(1);
        Ok(true)
    }

    /// Counts a message that is a batch by itself.
    ///
    /// # Errors
    ///
    /// See [`take`](Self::take).
    pub(crate) fn take_one(&mut self, bytes: &[u8]) -> Result<()> {
        let most = BATCH_BYTES.min(self.max_message) as u64;
        let is_little = |layout: &Layout| layout.takes_at_most(most, bytes.len());
        match self.layout.is_some_and(is_little) {
            true => Ok(()),
            false => self.take(bytes).map(drop),
        }
    }

    #[cold]
    fn reserve(&mut self, bytes: usize) -> Result<(), Status> {
        if let Some(limits) = &self.limits {
            self.reserved = Some(limits.reserve(bytes)?);
        }
        Ok(())
    }
}
