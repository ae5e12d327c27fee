//! Credit for what all calls together keep, in one role: requests or replies. It is for one-way
//! messages, and for the messages of streams after the first; a call and its reply may always
//! begin, or calls that wait for each other could wait for ever.
//!
//! A message pays its whole cost when it begins, and may begin while any credit is left; so one
//! that has begun never waits for another, and no set of half-sent messages can block all of
//! them. What is held is at most the initial credit and one message.

use crate::{error::PeerMisbehaved, limits::MAX_LIMIT};

/// What a message costs of a connection's credit besides its bytes: what it takes to keep it
/// (docs/protocol.md, "Credit").
pub const MESSAGE_COST_BYTES: u64 = 64;

/// What a message of this length costs; a one-way message brings its metadata along.
pub(crate) fn cost(length: usize) -> u64 {
    MESSAGE_COST_BYTES + length as u64
}

/// The send side: what may still be sent.
#[derive(Debug)]
pub(crate) struct SendCredit(i64);

impl SendCredit {
    pub(crate) fn new(initial_credit: u32) -> Self {
        Self(initial_credit.into())
    }

    /// Whether more than so much is left. A message may begin while more than nothing is.
    pub(crate) fn has_over(&self, bytes: u32) -> bool {
        self.0 > i64::from(bytes)
    }

    /// What is left; a message may begin while it is above zero.
    pub(crate) fn available(&self) -> i64 {
        self.0
    }

    pub(crate) fn spend(&mut self, cost: u64) {
        self.0 -= cost as i64;
    }

    pub(crate) fn grant(&mut self, bytes: u32) -> Result<(), PeerMisbehaved> {
        self.0 += i64::from(bytes);
        match self.0 <= 2 * i64::from(MAX_LIMIT) {
            true => Ok(()),
            false => Err(PeerMisbehaved::CreditOverflow),
        }
    }
}

/// The receive side: what the other side may still send, and what was freed since.
#[derive(Debug)]
pub(crate) struct RecvCredit {
    initial_credit: u32,
    available: i64,
    /// Freed, and not yet granted again.
    freed: u64,
}

impl RecvCredit {
    pub(crate) fn new(initial_credit: u32) -> Self {
        Self {
            initial_credit,
            available: initial_credit.into(),
            freed: 0,
        }
    }

    /// A message of theirs begins; `false` if it may not.
    pub(crate) fn pay(&mut self, cost: u64) -> bool {
        let may_begin = self.available > 0;
        // A length has 32 bits, so sums of them are far from 63.
        self.available -= cost as i64;
        may_begin
    }

    /// What may still be paid; a message may begin while it is above zero.
    pub(crate) fn available(&self) -> i64 {
        self.available
    }

    /// A message, or a part of its cost, is no longer held.
    pub(crate) fn free(&mut self, cost: u64) {
        self.freed += cost;
    }

    /// What to grant now, if it is worth a packet.
    pub(crate) fn grant(&mut self) -> Option<u32> {
        if self.freed < u64::from(self.initial_credit / 2) {
            return None;
        }
        let bytes = self.freed.min(MAX_LIMIT.into());
        self.freed -= bytes;
        self.available += bytes as i64;
        Some(bytes as u32)
    }

    /// What is held: paid and not freed.
    pub(crate) fn held(&self) -> u64 {
        let paid = i64::from(self.initial_credit) - self.available;
        paid as u64 - self.freed
    }
}

#[cfg(test)]
mod tests {
    use super::{RecvCredit, SendCredit, cost};

    #[test]
    fn a_message_may_begin_while_anything_is_left_and_pays_all_of_it() {
        let (mut recv_credit, mut send_credit) = (RecvCredit::new(100), SendCredit::new(100));
        for may_begin in [true, true, false] {
            assert_eq!(send_credit.has_over(0), may_begin);
            send_credit.spend(cost(0));
            assert_eq!(recv_credit.pay(cost(0)), may_begin);
        }
    }

    #[test]
    fn what_was_freed_is_granted_again_when_it_is_half_of_the_window() {
        let mut recv_credit = RecvCredit::new(256);
        assert!(recv_credit.pay(cost(1000)));
        recv_credit.free(127);
        assert_eq!(recv_credit.grant(), None);
        recv_credit.free(1);
        assert_eq!(recv_credit.grant(), Some(128));
        assert_eq!(recv_credit.held(), 1064 - 128);
        recv_credit.free(1064 - 128);
        assert_eq!((recv_credit.grant(), recv_credit.held()), (Some(936), 0));
        assert!(recv_credit.pay(1));
    }

    #[test]
    fn credit_has_a_greatest_sum() {
        let mut send_credit = SendCredit::new(0);
        send_credit.grant(2 * crate::limits::MAX_LIMIT).unwrap();
        assert!(send_credit.grant(1).is_err());
    }
}
