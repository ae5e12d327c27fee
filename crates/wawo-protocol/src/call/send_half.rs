//! What is still to be sent in one direction of a call: messages wait for credit, and leave in
//! chunks.

use std::{collections::VecDeque, time::Instant};

use crate::{
    call::{SendCredit, cost},
    error::PeerMisbehaved,
    limits::MAX_LIMIT,
    message::MessageBytes,
    packet::{Batch, BodyFlags, End},
};

/// The send half of a direction.
#[derive(Debug)]
pub(crate) struct SendHalf {
    credit: u32,
    queue: VecDeque<SendItem>,
    end: Option<End>,
    /// Whether the call stands in a queue of the connection: of those that have something to
    /// send, or of those that wait for the credit of all calls.
    pub(crate) is_queued: bool,
    /// Since when it has had something to send, and no credit for it.
    pub(crate) stalled: Option<Instant>,
}

/// No chunk but the last of a message is smaller: the other side may refuse many that are.
const MIN_CHUNK_BYTES: usize = 1024;

/// What waits.
#[derive(Debug)]
enum SendItem {
    Message(OutgoingMessage),
    /// Messages that fit into a packet each, and cost what all do.
    Batch(Batch),
}

/// A message, or what is left of one.
#[derive(Debug)]
struct OutgoingMessage {
    bytes: MessageBytes,
    begun: bool,
    /// The first of its direction, which comes with the call or the reply, costs no credit of all
    /// calls together.
    first: bool,
    /// Whether the direction ends with it.
    end: bool,
}

/// What leaves next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Message bytes, and whether the direction has ended with them.
    Chunk(MessageBytes, BodyFlags),
    /// Whole messages in packets of their own, after which others may follow.
    Batch(Batch),
    /// The end, after all messages.
    End(End),
    /// Nothing until credit of the call comes.
    NeedsCallCredit,
    /// Nothing until credit of all calls together comes.
    NeedsSharedCredit,
    /// Nothing until the application sends.
    Idle,
}

impl SendHalf {
    pub(crate) fn new(credit: u32) -> Self {
        Self {
            credit,
            queue: VecDeque::new(),
            end: None,
            is_queued: false,
            stalled: None,
        }
    }

    /// Begins a direction with its first message: what goes into the packet that opens it, and
    /// what is left to do, which is `None` if the direction has ended with that packet.
    pub(crate) fn open(
        message: Option<MessageBytes>,
        end: bool,
        credit: u32,
        room: usize,
    ) -> (Option<(MessageBytes, BodyFlags)>, Option<Box<Self>>) {
        let Some(bytes) = message else {
            return (None, Some(Box::new(Self::new(credit))));
        };
        // The common case by far: one message that fits, and no other.
        if end && bytes.len() <= room.min(credit as usize) {
            return (Some((bytes, BodyFlags::whole(true))), None);
        }
        let mut send_half = Self::new(credit);
        send_half.push_first(bytes, end);
        let first = send_half.chunk(room);
        let ended = first.as_ref().is_some_and(|(_, flags)| flags.end);
        (first, (!ended).then(|| Box::new(send_half)))
    }

    /// More may be sent.
    pub(crate) fn grant(&mut self, bytes: u32) -> Result<(), PeerMisbehaved> {
        self.credit = add_credit(self.credit, bytes)?;
        Ok(())
    }

    /// Nothing can leave now; returns since when that is so.
    pub(crate) fn stall(&mut self, now: Instant) -> Instant {
        *self.stalled.get_or_insert(now)
    }

    /// Whether all messages have left and no end waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.end.is_none()
    }

    /// Pays for a message that can leave at once; `false` if it has to be queued.
    pub(crate) fn spend(
        &mut self,
        length: usize,
        room: usize,
        shared_credit: &mut SendCredit,
    ) -> bool {
        let fits = self.is_idle() && length <= room.min(self.credit as usize);
        if !fits || !shared_credit.has_over(0) {
            return false;
        }
        self.credit -= length as u32;
        shared_credit.spend(cost(length));
        true
    }

    /// Pays for messages that can all leave at once; `false` if they have to be sent one by one.
    pub(crate) fn spend_for_batch(
        &mut self,
        messages: &Batch,
        shared_credit: &mut SendCredit,
    ) -> bool {
        let bytes = messages.message_bytes();
        let cost = messages.cost();
        let in_credit = bytes <= self.credit as usize;
        let in_shared_credit = u32::try_from(cost).is_ok_and(|cost| shared_credit.has_over(cost));
        if !self.is_idle() || !in_credit || !in_shared_credit {
            return false;
        }
        self.credit -= bytes as u32;
        shared_credit.spend(cost);
        true
    }

    pub(crate) fn push(&mut self, bytes: MessageBytes, end: bool) {
        self.queue.push_back(SendItem::Message(OutgoingMessage {
            bytes,
            begun: false,
            first: false,
            end,
        }));
    }

    /// Messages of which each fits into a packet.
    pub(crate) fn push_batch(&mut self, messages: Batch) {
        self.queue.push_back(SendItem::Batch(messages));
    }

    /// The message that opens the direction.
    pub(crate) fn push_first(&mut self, bytes: MessageBytes, end: bool) {
        self.queue.push_back(SendItem::Message(OutgoingMessage {
            bytes,
            begun: false,
            first: true,
            end,
        }));
    }

    /// The end follows what is queued.
    pub(crate) fn finish(&mut self, end: End) {
        self.end = Some(end);
    }

    /// The next packet of this direction, with at most `room` message bytes, or the next ones. A
    /// message pays `shared_credit` for all of its bytes when it begins.
    pub(crate) fn next(&mut self, room: usize, shared_credit: &mut SendCredit) -> Next {
        let (pays, length) = match self.queue.front() {
            None => return self.end.take().map_or(Next::Idle, Next::End),
            Some(SendItem::Batch(_)) => (true, None),
            Some(SendItem::Message(message)) => {
                let pays = !message.begun && !message.first;
                (pays, Some(message.bytes.len()))
            }
        };
        if pays && !shared_credit.has_over(0) {
            return Next::NeedsSharedCredit;
        }
        let Some(length) = length else {
            return self.next_batch(room, shared_credit);
        };
        let Some((bytes, flags)) = self.chunk(room) else {
            return Next::NeedsCallCredit;
        };
        if pays {
            shared_credit.spend(cost(length));
        }
        Next::Chunk(bytes, flags)
    }

    /// As many of the first messages as there is credit for.
    fn next_batch(&mut self, room: usize, shared_credit: &mut SendCredit) -> Next {
        let Some(SendItem::Batch(messages)) = self.queue.front_mut() else {
            return Next::Idle;
        };
        let few = messages.take_within(self.credit as usize, shared_credit.available());
        let long = match few.len() {
            0 => messages.next(),
            _ => None,
        };
        if messages.len() == 0 {
            self.queue.pop_front();
        }
        if few.len() > 0 {
            self.credit -= few.message_bytes() as u32;
            self.stalled = None;
            shared_credit.spend(few.cost());
            return Next::Batch(few);
        }
        // The first has to leave in chunks, as credit comes.
        if let Some(bytes) = long {
            self.queue.push_front(SendItem::Message(OutgoingMessage {
                bytes: bytes.into(),
                begun: false,
                first: false,
                end: false,
            }));
        }
        self.next(room, shared_credit)
    }

    /// The next chunk of the first message, if the call has credit for it.
    fn chunk(&mut self, room: usize) -> Option<(MessageBytes, BodyFlags)> {
        let SendItem::Message(unsent) = self.queue.front_mut()? else {
            return None;
        };
        let whole = unsent.bytes.len();
        let length = whole.min(room).min(self.credit as usize);
        if length < whole.min(MIN_CHUNK_BYTES) {
            return None;
        }
        let more = length < whole;
        let flags = BodyFlags {
            total: (more && !unsent.begun).then_some(whole as u32),
            more,
            end: unsent.end && !more,
            continues: unsent.begun,
        };
        self.credit -= length as u32;
        self.stalled = None;
        unsent.begun = true;
        let bytes = unsent.bytes.split_to(length);
        if !more {
            self.queue.pop_front();
        }
        Some((bytes, flags))
    }

    /// Lets a bad end take the place of all that is still to be sent, unless one is there
    /// already.
    pub(crate) fn end_now(&mut self, end: End) {
        self.stalled = None;
        // The end of a call that has failed already stays.
        if !self.queue.is_empty() || self.end.is_none() {
            self.queue.clear();
            self.end = Some(end);
        }
    }
}

/// Credit with what was granted on top.
pub(crate) fn add_credit(credit: u32, bytes: u32) -> Result<u32, PeerMisbehaved> {
    let sum = credit.checked_add(bytes);
    let credit = sum.filter(|&sum| sum <= 2 * MAX_LIMIT);
    credit.ok_or(PeerMisbehaved::CreditOverflow)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Next, SendHalf};
    use crate::{
        call::{MESSAGE_COST_BYTES, SendCredit},
        code::Code,
        id::{CallId, Side},
        message::MessageBytes,
        metadata::Metadata,
        packet::{BatchBuilder, End},
    };

    #[test]
    fn a_message_leaves_in_chunks_as_credit_allows() {
        let mut shared_credit = SendCredit::new(u32::MAX);
        let mut send_half = SendHalf::new(5_000);
        send_half.push(Bytes::from(vec![0; 10_000]).into(), true);
        let mut seen = Vec::new();
        // A chunk of less than 1 KiB is not worth a packet, unless it is the last.
        for grant in [0, 23, 1, 4_000, 100_000, 0] {
            if grant > 0 {
                send_half.grant(grant).unwrap();
            }
            match send_half.next(4_000, &mut shared_credit) {
                Next::Chunk(bytes, flags) => {
                    seen.push((
                        bytes.len(),
                        flags.total,
                        flags.more,
                        flags.end,
                        flags.continues,
                    ));
                }
                Next::NeedsCallCredit => seen.push((0, None, false, false, false)),
                Next::Idle => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            seen,
            [
                (4_000, Some(10_000), true, false, false),
                (0, None, false, false, false),
                (1_024, None, true, false, true),
                (4_000, None, true, false, true),
                (976, None, false, true, true),
            ]
        );
    }

    #[test]
    fn an_empty_message_needs_no_credit_of_its_call() {
        let mut send_half = SendHalf::new(0);
        send_half.push(MessageBytes::default(), false);
        let mut shared_credit = SendCredit::new(1);
        let next = send_half.next(8, &mut shared_credit);
        assert!(matches!(next, Next::Chunk(bytes, _) if bytes.is_empty()));
        send_half.push(MessageBytes::default(), false);
        assert!(matches!(
            send_half.next(8, &mut shared_credit),
            Next::NeedsSharedCredit
        ));
    }

    #[test]
    fn a_message_pays_for_all_of_its_bytes_when_it_begins() {
        let mut shared_credit = SendCredit::new(1);
        let mut send_half = SendHalf::new(u32::MAX);
        send_half.push(Bytes::from(vec![0; 3_000]).into(), false);
        send_half.push(Bytes::from(vec![0; 3_000]).into(), false);
        for _ in 0..2 {
            let next = send_half.next(1_500, &mut shared_credit);
            assert!(matches!(next, Next::Chunk(..)));
        }
        assert!(matches!(
            send_half.next(1_500, &mut shared_credit),
            Next::NeedsSharedCredit
        ));
        shared_credit.grant(3_063).unwrap();
        assert!(matches!(
            send_half.next(1_500, &mut shared_credit),
            Next::NeedsSharedCredit
        ));
        shared_credit.grant(1).unwrap();
        assert!(matches!(
            send_half.next(1_500, &mut shared_credit),
            Next::Chunk(..)
        ));
    }

    #[test]
    fn a_bad_end_takes_the_place_of_what_waits_and_stays() {
        let mut send_half = SendHalf::new(0);
        send_half.push(Bytes::from_static(b"unsent").into(), false);
        for code in [Code::Aborted, Code::Cancelled] {
            send_half.end_now(End {
                call: CallId::new(Side::Accepting, 0),
                code,
                refused: false,
                metadata: Metadata::new(),
                text: String::new(),
                details: Bytes::new(),
            });
        }
        let next = send_half.next(8, &mut SendCredit::new(1));
        assert!(matches!(next, Next::End(end) if end.code == Code::Aborted));
    }

    #[test]
    fn credit_has_a_greatest_sum() {
        let mut send_half = SendHalf::new(0);
        send_half.grant(2 * crate::limits::MAX_LIMIT).unwrap();
        assert!(send_half.grant(1).is_err());
    }

    #[test]
    fn messages_leave_together_as_far_as_credit_goes_and_a_long_one_in_chunks() {
        let mut builder = BatchBuilder::new(CallId::new(Side::Connecting, 0));
        for length in [3, 0, 3_000, 1] {
            builder.push(|buffer| buffer.extend_from_slice(&vec![7; length]));
        }
        let mut send_half = SendHalf::new(2_000);
        send_half.push_batch(builder.take());
        let mut shared_credit = SendCredit::new(0);
        let next = send_half.next(4_000, &mut shared_credit);
        assert!(matches!(next, Next::NeedsSharedCredit), "{next:?}");
        shared_credit.grant(1_000).unwrap();
        let next = send_half.next(4_000, &mut shared_credit);
        assert!(matches!(next, Next::Batch(two) if two.len() == 2));
        assert_eq!(
            shared_credit.available(),
            1_000 - 2 * MESSAGE_COST_BYTES as i64 - 3
        );
        let next = send_half.next(4_000, &mut shared_credit);
        assert!(matches!(next, Next::Chunk(first, _) if first.len() == 1_997));
        assert!(matches!(
            send_half.next(4_000, &mut shared_credit),
            Next::NeedsCallCredit
        ));
        send_half.grant(2_000).unwrap();
        let next = send_half.next(4_000, &mut shared_credit);
        assert!(matches!(next, Next::Chunk(rest, flags) if rest.len() == 1_003 && !flags.more));
        // The long one has cost more than was left, and the last one may not begin.
        assert!(matches!(
            send_half.next(4_000, &mut shared_credit),
            Next::NeedsSharedCredit
        ));
        shared_credit.grant(5_000).unwrap();
        let next = send_half.next(4_000, &mut shared_credit);
        assert!(matches!(next, Next::Batch(last) if last.len() == 1));
        assert!(matches!(
            send_half.next(4_000, &mut shared_credit),
            Next::Idle
        ));
        assert!(send_half.is_idle());
    }
}
