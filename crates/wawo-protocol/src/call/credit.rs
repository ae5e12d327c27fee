//! The credit that all calls of one role share: one for requests, one for replies. One-way messages take
//! it, and the messages of streams after the first. The first message of a call and of its reply takes
//! none, so that they can always begin; else calls that wait for each other could wait for ever.
//!
//! A message pays its whole cost when it begins, and may begin while any credit is left; so one
//! that has begun never waits for another, and no set of half-sent messages can block all of
//! them. Messages hold at most the initial credit and one message.

use crate::{error::PeerMisbehaved, limits::MAX_LIMIT};

/// The send side: the credit, in bytes, that is left for our messages. It is negative when the last
/// message cost more than was left.
#[derive(Debug)]
pub(crate) struct SendCredit(i64);

impl SendCredit {
    pub(crate) fn new(initial_credit: u32) -> Self {
        Self(initial_credit.into())
    }

    /// The credit that is left. A message may begin while it is above zero.
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

/// The receive side: the credit that is left for their messages, and the bytes that were freed and can
/// be granted again.
#[derive(Debug)]
pub(crate) struct RecvCredit {
    initial_credit: u32,
    available: i64,
    /// Bytes that were freed, and are not yet granted again.
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

    /// Takes the whole cost of a message of theirs that begins; `false` if it may not begin.
    pub(crate) fn pay(&mut self, cost: u64) -> bool {
        let may_begin = self.available > 0;
        if may_begin {
            // A length has 32 bits, so a sum of a few is far below the 2^63 that fit.
            self.available -= cost as i64;
        }
        may_begin
    }

    /// The credit that is left. A message may begin while it is above zero.
    pub(crate) fn available(&self) -> i64 {
        self.available
    }

    /// Counts the cost of a message, or a part of it, as no longer held.
    pub(crate) fn free(&mut self, cost: u64) {
        self.freed += cost;
    }

    /// Takes the credit to grant now; `None` if that is less than half of the initial credit, which is
    /// not worth a packet.
    pub(crate) fn grant(&mut self) -> Option<u32> {
        if self.freed < u64::from(self.initial_credit / 2) {
            return None;
        }
        let bytes = self.freed.min(MAX_LIMIT.into());
        self.freed -= bytes;
        self.available += bytes as i64;
        Some(bytes as u32)
    }

    /// The cost that is paid and not freed.
    pub(crate) fn held(&self) -> u64 {
        let paid = i64::from(self.initial_credit) - self.available;
        paid as u64 - self.freed
    }
}

#[cfg(test)]
mod tests {
    use super::{RecvCredit, SendCredit};
    use crate::message::cost;

    #[test]
    fn a_message_may_begin_while_anything_is_left_and_pays_all_of_it() {
        let (mut recv_credit, mut send_credit) = (RecvCredit::new(100), SendCredit::new(100));
        for may_begin in [true, true, false] {
            assert_eq!(send_credit.available() > 0, may_begin);
            send_credit.spend(cost(0));
            assert_eq!(recv_credit.pay(cost(0)), may_begin);
        }
    }

    #[test]
    fn freed_credit_is_granted_again_when_it_is_half_of_the_initial_credit() {
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
