//! Credit for the messages of all calls, in one role: requests or replies.

use wawo_protocol::{MAX_LIMIT, MESSAGE_COST_BYTES, Metadata, packet::Chunk};

use crate::model::direction::Fault;

#[derive(Debug, Clone)]
pub(crate) struct SharedCredit {
    available: i64,
}

impl SharedCredit {
    pub(crate) fn new(credit: u32) -> Self {
        Self {
            available: credit.into(),
        }
    }

    pub(crate) fn available(&self) -> i64 {
        self.available
    }

    /// Takes the cost of a message that begins.
    pub(crate) fn pay(&mut self, cost: u64) -> Result<(), Fault> {
        let may_begin = self.available > 0;
        self.available -= cost as i64;
        may_begin.then_some(()).ok_or(Fault)
    }

    pub(crate) fn grant(&mut self, bytes: u32) -> Result<(), Fault> {
        self.available += i64::from(bytes);
        (self.available <= 2 * i64::from(MAX_LIMIT))
            .then_some(())
            .ok_or(Fault)
    }
}

/// The cost of a message that begins with this chunk.
pub(crate) fn cost(chunk: &Chunk) -> u64 {
    MESSAGE_COST_BYTES + stated(chunk) as u64
}

/// The additional cost of the first message of a call or reply.
pub(crate) fn metadata_cost(metadata: &Metadata) -> u64 {
    match metadata.is_empty() {
        true => 0,
        false => metadata.encoded_len() as u64,
    }
}

/// The length of a message that begins with this chunk.
pub(crate) fn stated(chunk: &Chunk) -> usize {
    chunk
        .total
        .map_or(chunk.bytes.len(), |total| total as usize)
}
