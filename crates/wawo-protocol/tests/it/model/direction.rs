//! One direction of a call: chunks, credit, and the end.

use wawo_protocol::{MAX_LIMIT, packet::Chunk};

use crate::model::shared_credit::stated;

#[derive(Debug, Clone)]
pub(crate) struct Direction {
    /// The credit that its sender has left.
    credit: u64,
    granted: u64,
    received: u64,
    consumed: u64,
    /// The stated length of an incomplete message, and the number of its bytes that have come.
    partial: Option<(usize, usize)>,
    pub(crate) ended: bool,
}

/// The result of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Partly,
    Message(usize),
    /// The message that begins exceeds the limit.
    TooLarge,
}

/// A violation of a rule.
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

    /// Takes message bytes. The caller checks that the packet may carry them.
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

    /// The user consumes message bytes, at most those of whole messages.
    pub(crate) fn consume(&mut self, bytes: usize) {
        let partly = self.partial.map_or(0, |(_, there)| there as u64);
        let consumed = self.consumed + bytes as u64;
        self.consumed = consumed.min(self.received - partly);
    }

    /// The user consumes all whole messages.
    pub(crate) fn consume_all(&mut self) {
        self.consume(self.received as usize);
    }

    /// The credit that was granted and not consumed: the bytes that the machine may have to hold.
    pub(crate) fn unconsumed(&self) -> u64 {
        self.granted - self.consumed
    }
}
