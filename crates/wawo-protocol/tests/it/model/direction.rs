//! One direction of a call: chunks, credit, and the end.

use wawo_protocol::{MAX_LIMIT, packet::Chunk};

use crate::model::shared_credit::stated;

#[derive(Debug, Clone)]
pub(crate) struct Direction {
    /// What its sender may still send.
    credit: u64,
    granted: u64,
    received: u64,
    consumed: u64,
    /// The stated length of a message that is not whole, and what there is of it.
    partial: Option<(usize, usize)>,
    pub(crate) ended: bool,
}

/// What a chunk made of a direction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Partly,
    Message(usize),
    /// The message that begins is over the limit.
    TooLarge,
}

/// A rule is broken.
#[derive(Debug)]
pub(crate) struct Fault;

impl Direction {
    pub(crate) fn new(credit: u32) -> Self {
        Self {
            credit: credit.into(),
            granted: credit.into(),
            received: 0,
            consumed: 0,
            partial: None,
            ended: false,
        }
    }

    /// Takes message bytes. Which packets may carry them is up to the caller.
    pub(crate) fn take(
        &mut self,
        chunk: &Chunk,
        continues: bool,
        max: u32,
    ) -> Result<Taken, Fault> {
        let length = chunk.bytes.len();
        self.credit = self.credit.checked_sub(length as u64).ok_or(Fault)?;
        self.received += length as u64;
        if self.ended || continues != self.partial.is_some() {
            return Err(Fault);
        }
        self.ended = chunk.end;
        let (total, before) = self.partial.take().unwrap_or_else(|| (stated(chunk), 0));
        if total > max as usize {
            return Ok(Taken::TooLarge);
        }
        let there = before + length;
        if there > total || (there < total) != chunk.more {
            return Err(Fault);
        }
        if chunk.more {
            self.partial = Some((total, there));
            return Ok(Taken::Partly);
        }
        Ok(Taken::Message(total))
    }

    pub(crate) fn is_in_a_message(&self) -> bool {
        self.partial.is_some()
    }

    pub(crate) fn missing(&self) -> Option<usize> {
        self.partial.map(|(total, there)| total - there)
    }

    pub(crate) fn grant(&mut self, bytes: u32) -> Result<(), Fault> {
        self.credit += u64::from(bytes);
        self.granted += u64::from(bytes);
        (self.credit <= 2 * u64::from(MAX_LIMIT))
            .then_some(())
            .ok_or(Fault)
    }

    /// The user takes message bytes, of whole messages at most.
    pub(crate) fn consume(&mut self, bytes: usize) {
        let partly = self.partial.map_or(0, |(_, there)| there as u64);
        let consumed = self.consumed + bytes as u64;
        self.consumed = consumed.min(self.received - partly);
    }

    /// All whole messages are taken.
    pub(crate) fn consume_all(&mut self) {
        self.consume(self.received as usize);
    }

    /// What was granted and not consumed, and so may have to be held.
    pub(crate) fn unconsumed(&self) -> u64 {
        self.granted - self.consumed
    }
}
