//! What is still to be sent in one direction of a call: messages wait for credit, and leave in
//! chunks.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    config::MAX_LIMIT,
    error::PeerMisbehaved,
    packet::{BodyFlags, End},
};

/// The sending half of a direction.
#[derive(Debug)]
pub(crate) struct Sending {
    credit: u32,
    queue: VecDeque<Unsent>,
    end: Option<End>,
    /// Whether the call stands in the connection's line of those that have something to send.
    pub(crate) in_line: bool,
}

/// A message, or what is left of one.
#[derive(Debug)]
struct Unsent {
    bytes: Bytes,
    begun: bool,
    /// Whether the direction ends with it.
    end: bool,
}

/// What leaves next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Message bytes, and whether the direction has ended with them.
    Chunk(Bytes, BodyFlags),
    /// The end, after all messages.
    End(End),
    /// Nothing until credit comes.
    Blocked,
    /// Nothing until the application sends.
    Idle,
}

impl Sending {
    pub(crate) fn new(credit: u32) -> Self {
        Self {
            credit,
            queue: VecDeque::new(),
            end: None,
            in_line: false,
        }
    }

    /// Begins a direction with its first message: what goes into the packet that opens it, and
    /// what is left to do, which is `None` if the direction has ended with that packet.
    pub(crate) fn open(
        message: Option<Bytes>,
        end: bool,
        credit: u32,
        room: usize,
    ) -> (Option<(Bytes, BodyFlags)>, Option<Box<Self>>) {
        let Some(bytes) = message else {
            return (None, Some(Box::new(Self::new(credit))));
        };
        // The common case by far: one message that fits, and no other.
        if end && bytes.len() <= room.min(credit as usize) {
            return (Some((bytes, BodyFlags::whole(true))), None);
        }
        let mut sending = Self::new(credit);
        sending.push(bytes, end);
        let first = match sending.next(room) {
            Next::Chunk(bytes, flags) => Some((bytes, flags)),
            _ => None,
        };
        let ended = first.as_ref().is_some_and(|(_, flags)| flags.end);
        (first, (!ended).then(|| Box::new(sending)))
    }

    /// More may be sent.
    pub(crate) fn grant(&mut self, bytes: u32) -> Result<(), PeerMisbehaved> {
        let sum = self.credit.checked_add(bytes);
        let credit = sum.filter(|&sum| sum <= 2 * MAX_LIMIT);
        self.credit = credit.ok_or(PeerMisbehaved::CreditOverflow)?;
        Ok(())
    }

    /// Whether all messages have left and no end waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.end.is_none()
    }

    /// Takes a message that can leave at once out of the credit; `false` if it has to be queued.
    pub(crate) fn spend(&mut self, length: usize, room: usize) -> bool {
        let fits = self.is_idle() && length <= room.min(self.credit as usize);
        if fits {
            self.credit -= length as u32;
        }
        fits
    }

    pub(crate) fn push(&mut self, bytes: Bytes, end: bool) {
        self.queue.push_back(Unsent {
            bytes,
            begun: false,
            end,
        });
    }

    /// The end follows what is queued.
    pub(crate) fn finish(&mut self, end: End) {
        self.end = Some(end);
    }

    /// The next packet of this direction, with at most `room` message bytes.
    pub(crate) fn next(&mut self, room: usize) -> Next {
        let Some(unsent) = self.queue.front_mut() else {
            return self.end.take().map_or(Next::Idle, Next::End);
        };
        let length = unsent.bytes.len().min(room).min(self.credit as usize);
        if length == 0 && !unsent.bytes.is_empty() {
            return Next::Blocked;
        }
        let whole = unsent.bytes.len();
        let more = length < whole;
        let flags = BodyFlags {
            total: (more && !unsent.begun).then_some(whole as u32),
            more,
            end: unsent.end && !more,
            continues: unsent.begun,
        };
        self.credit -= length as u32;
        unsent.begun = true;
        let bytes = unsent.bytes.split_to(length);
        if !more {
            self.queue.pop_front();
        }
        Next::Chunk(bytes, flags)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Next, Sending};

    #[test]
    fn a_message_leaves_in_chunks_as_credit_allows() {
        let mut sending = Sending::new(10);
        sending.push(Bytes::from(vec![0; 25]), true);
        let mut seen = Vec::new();
        for grant in [0, 0, 0, 4, 100] {
            if grant > 0 {
                sending.grant(grant).unwrap();
            }
            match sending.next(8) {
                Next::Chunk(bytes, flags) => {
                    seen.push((
                        bytes.len(),
                        flags.total,
                        flags.more,
                        flags.end,
                        flags.continues,
                    ));
                }
                Next::Blocked => seen.push((0, None, false, false, false)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            seen,
            [
                (8, Some(25), true, false, false),
                (2, None, true, false, true),
                (0, None, false, false, false),
                (4, None, true, false, true),
                (8, None, true, false, true),
            ]
        );
        assert!(
            matches!(sending.next(8), Next::Chunk(bytes, flags) if bytes.len() == 3 && flags.end)
        );
        assert!(matches!(sending.next(8), Next::Idle));
    }

    #[test]
    fn an_empty_message_needs_no_credit() {
        let mut sending = Sending::new(0);
        sending.push(Bytes::new(), false);
        assert!(matches!(sending.next(8), Next::Chunk(bytes, _) if bytes.is_empty()));
    }

    #[test]
    fn credit_has_a_greatest_sum() {
        let mut sending = Sending::new(0);
        sending.grant(2 * crate::config::MAX_LIMIT).unwrap();
        assert!(sending.grant(1).is_err());
    }
}
