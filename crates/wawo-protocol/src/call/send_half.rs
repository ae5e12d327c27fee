//! The sent direction of a call: messages wait for credit, and leave in chunks.

use std::{collections::VecDeque, time::Instant};

use crate::{
    call::SendCredit,
    error::PeerMisbehaved,
    limits::MAX_LIMIT,
    message::{MessageBytes, cost},
    metadata::Metadata,
    packet::{Batch, BodyFlags, End},
};

/// The send half of a direction.
#[derive(Debug, Default)]
pub(crate) struct SendHalf {
    credit: u32,
    /// Metadata of a reply that has not begun.
    opening: Option<Box<Metadata>>,
    /// The message that leaves in chunks, before all that is queued.
    chunked: Option<OutgoingMessage>,
    queue: VecDeque<Batch>,
    end: Option<End>,
    /// Whether the call stands in a queue of the connection: in that of the calls that have something to
    /// send, or in that of the calls that wait for shared credit.
    pub(crate) is_queued: bool,
    /// Since when the half has had something to send and no credit for it.
    pub(crate) stalled: Option<Instant>,
}

/// The least size of a chunk that is not the last of its message, in bytes: the other side refuses a
/// message with many smaller ones (docs/protocol.md, "Chunks").
const MIN_CHUNK_BYTES: usize = 1024;

/// A message, or the part of it that has not left.
#[derive(Debug)]
struct OutgoingMessage {
    bytes: MessageBytes,
    begun: bool,
    /// Whether it is the first message of its direction: it travels with the call or the reply, and takes
    /// no shared credit.
    first: bool,
    /// Whether the direction ends with it.
    end: bool,
}

/// The packets that leave next, or the reason why none can.
#[derive(Debug)]
pub(crate) enum Next {
    /// Message bytes, and whether the direction has ended with them; with the metadata of the reply, if
    /// it begins with them.
    Chunk(MessageBytes, BodyFlags, Option<Box<Metadata>>),
    /// Whole messages, each in its own packet; others may follow them.
    Batch(Batch),
    /// The end, after all messages.
    End(End),
    /// Nothing can leave until credit of the call comes.
    NeedsCallCredit,
    /// Nothing can leave until shared credit comes.
    NeedsSharedCredit,
    /// Nothing waits: the application has to send first.
    Idle,
}

impl SendHalf {
    pub(crate) fn new(credit: u32) -> Self {
        Self {
            credit,
            ..Self::default()
        }
    }

    /// Begins a direction with its first message. Returns the part that goes into the packet that opens the
    /// direction, and the send half, which is `None` if the direction has ended with that packet.
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

    /// A reply of which nothing has left: it waits for its turn as a whole.
    pub(crate) fn unopened(
        metadata: Metadata,
        message: MessageBytes,
        end: bool,
        credit: u32,
    ) -> Box<Self> {
        let mut send_half = Self::new(credit);
        send_half.opening = Some(Box::new(metadata));
        send_half.push_first(message, end);
        Box::new(send_half)
    }

    /// Adds credit that the other side grants.
    pub(crate) fn grant(&mut self, bytes: u32) -> Result<(), PeerMisbehaved> {
        self.credit = add_credit(self.credit, bytes)?;
        Ok(())
    }

    /// Records that nothing can leave at `now` for want of credit. Returns since when that has been so.
    pub(crate) fn stall(&mut self, now: Instant) -> Instant {
        *self.stalled.get_or_insert(now)
    }

    /// Whether no message and no end waits to be sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.chunked.is_none() && self.queue.is_empty() && self.end.is_none()
    }

    /// Puts the message that opens the direction before all others.
    fn push_first(&mut self, bytes: MessageBytes, end: bool) {
        self.chunked = Some(OutgoingMessage {
            bytes,
            begun: false,
            first: true,
            end,
        });
    }

    pub(crate) fn push_batch(&mut self, messages: Batch) {
        self.queue.push_back(messages);
    }

    /// Queues the end, which leaves after all queued messages.
    pub(crate) fn finish(&mut self, end: End) {
        self.end = Some(end);
    }

    /// Takes what leaves next: one packet with at most `room` bytes of a message and of metadata, or a batch of
    /// whole packets. A message pays its whole cost from `shared_credit` when it begins.
    pub(crate) fn next(&mut self, room: usize, shared_credit: &mut SendCredit) -> Next {
        let pays = match &self.chunked {
            Some(message) => !message.begun && !message.first,
            None if self.queue.is_empty() => return self.end.take().map_or(Next::Idle, Next::End),
            None => true,
        };
        if pays && shared_credit.available() <= 0 {
            return Next::NeedsSharedCredit;
        }
        if self.chunked.is_none()
            && let Some(mut messages) = self.queue.pop_front()
        {
            let few = self.take_first(&mut messages, room, shared_credit);
            if few.len() == 0 {
                // The first message is longer than the credit or than a packet, so it leaves in chunks.
                self.chunked = messages.next().map(|bytes| OutgoingMessage {
                    bytes: bytes.into(),
                    begun: false,
                    first: false,
                    end: false,
                });
            }
            if messages.len() > 0 {
                self.queue.push_front(messages);
            }
            if few.len() > 0 {
                return Next::Batch(few);
            }
        }
        let length = self
            .chunked
            .as_ref()
            .map_or(0, |message| message.bytes.len());
        let metadata = self.opening.as_deref().map_or(0, Metadata::block_bytes);
        let Some((bytes, flags)) = self.chunk(room.saturating_sub(metadata)) else {
            return Next::NeedsCallCredit;
        };
        if pays {
            shared_credit.spend(cost(length));
        }
        Next::Chunk(bytes, flags, self.opening.take())
    }

    /// Takes off the first messages of a batch, as many as there is credit for and fit into packets with
    /// `room` for them, and pays for them.
    pub(crate) fn take_first(
        &mut self,
        messages: &mut Batch,
        room: usize,
        shared_credit: &mut SendCredit,
    ) -> Batch {
        let few = messages.take_within(room, self.credit.into(), shared_credit.available());
        if few.len() > 0 {
            self.credit -= few.message_bytes() as u32;
            self.stalled = None;
            shared_credit.spend(few.cost());
        }
        few
    }

    /// Takes the next chunk of the first message, if the call has credit for it.
    fn chunk(&mut self, room: usize) -> Option<(MessageBytes, BodyFlags)> {
        let unsent = self.chunked.as_mut()?;
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
            self.chunked = None;
        }
        Some((bytes, flags))
    }

    /// Puts an end in the place of all that is still to be sent. An end that waits alone stays.
    pub(crate) fn end_now(&mut self, end: End) {
        self.stalled = None;
        // An end without messages before it is that of a call that has failed already: the first failure
        // counts.
        if self.chunked.take().is_some() || !self.queue.is_empty() || self.end.is_none() {
            self.queue.clear();
            self.end = Some(end);
        }
    }
}

/// Adds granted bytes to a credit; an error if the sum is more than the other side may grant.
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
        call::SendCredit,
        code::Code,
        id::{CallId, Side},
        message::MESSAGE_COST_BYTES,
        metadata::Metadata,
        packet::{Batch, BatchBuilder, End},
    };

    /// Names what leaves next in a few words.
    fn next(half: &mut SendHalf, room: usize, shared_credit: &mut SendCredit) -> String {
        match half.next(room, shared_credit) {
            Next::Chunk(bytes, flags, _) => {
                let continues = if flags.continues { ".." } else { "" };
                let total = flags
                    .total
                    .map_or_else(String::new, |total| format!(" of {total}"));
                let more = if flags.more { " more" } else { "" };
                let end = if flags.end { " end" } else { "" };
                format!("{continues}{}{total}{more}{end}", bytes.len())
            }
            Next::Batch(batch) => format!("batch of {}", batch.len()),
            Next::End(end) => format!("{:?}", end.code),
            other => format!("{other:?}"),
        }
    }

    fn push(half: &mut SendHalf, length: usize) {
        half.push_batch(batch(&[length]));
    }

    #[test]
    fn a_message_leaves_in_chunks_as_credit_allows() {
        let (mut shared_credit, mut half) = (SendCredit::new(u32::MAX), SendHalf::new(5_000));
        half.push_first(Bytes::from(vec![0; 10_000]).into(), true);
        // A chunk of less than 1 KiB is not worth a packet, unless it is the last.
        for (grant, expected) in [
            (0, "4000 of 10000 more"),
            (23, "NeedsCallCredit"),
            (1, "..1024 more"),
            (4_000, "..4000 more"),
            (100_000, "..976 end"),
            (0, "Idle"),
        ] {
            half.grant(grant).unwrap();
            assert_eq!(next(&mut half, 4_000, &mut shared_credit), expected);
        }
    }

    #[test]
    fn an_empty_message_needs_no_credit_of_its_call() {
        let (mut shared_credit, mut half) = (SendCredit::new(1), SendHalf::new(0));
        for expected in ["batch of 1", "NeedsSharedCredit"] {
            push(&mut half, 0);
            assert_eq!(next(&mut half, 8, &mut shared_credit), expected);
        }
    }

    #[test]
    fn a_message_pays_for_all_of_its_bytes_when_it_begins() {
        let (mut shared_credit, mut half) = (SendCredit::new(1), SendHalf::new(u32::MAX));
        push(&mut half, 3_000);
        push(&mut half, 3_000);
        for (grant, expected) in [
            (0, "1500 of 3000 more"),
            (0, "..1500"),
            (0, "NeedsSharedCredit"),
            (3_063, "NeedsSharedCredit"),
            (1, "1500 of 3000 more"),
        ] {
            shared_credit.grant(grant).unwrap();
            assert_eq!(next(&mut half, 1_500, &mut shared_credit), expected);
        }
    }

    #[test]
    fn a_bad_end_takes_the_place_of_waiting_messages_and_stays() {
        let mut half = SendHalf::new(0);
        push(&mut half, 1);
        for code in [Code::Aborted, Code::Cancelled] {
            half.end_now(End {
                call: CallId::new(Side::Accepting, 0),
                code,
                refused: false,
                metadata: Metadata::new(),
                text: String::new(),
                details: Bytes::new(),
            });
        }
        assert_eq!(next(&mut half, 8, &mut SendCredit::new(1)), "Aborted");
    }

    #[test]
    fn credit_has_a_greatest_sum() {
        let mut half = SendHalf::new(0);
        half.grant(2 * crate::limits::MAX_LIMIT).unwrap();
        assert!(half.grant(1).is_err());
    }

    fn batch(lengths: &[usize]) -> Batch {
        let mut builder = BatchBuilder::new(CallId::new(Side::Connecting, 0));
        for &length in lengths {
            builder.push(|buffer| buffer.extend_from_slice(&vec![7; length]));
        }
        builder.take()
    }

    #[test]
    fn a_batch_leaves_at_once_as_far_as_credit_and_packets_go() {
        let (mut shared_credit, mut half) = (SendCredit::new(1_000), SendHalf::new(4));
        let mut messages = batch(&[3, 0, 5]);
        let first = half.take_first(&mut messages, 8, &mut shared_credit);
        assert_eq!((first.len(), messages.len()), (2, 1));
        half.grant(100).unwrap();
        let first = half.take_first(&mut messages, 4, &mut shared_credit);
        assert_eq!((first.len(), messages.len()), (0, 1));
        half.push_batch(messages);
        assert!(!half.is_idle());
    }

    #[test]
    fn messages_leave_together_as_far_as_credit_goes_and_a_long_one_in_chunks() {
        let (mut shared_credit, mut half) = (SendCredit::new(0), SendHalf::new(2_000));
        half.push_batch(batch(&[3, 0, 3_000, 1]));
        for (grant, shared_grant, expected) in [
            (0, 0, "NeedsSharedCredit"),
            (0, 1_000, "batch of 2"),
            (0, 0, "1997 of 3000 more"),
            (0, 0, "NeedsCallCredit"),
            (2_000, 0, "..1003"),
            // The long message has cost more than was left, so the last one may not begin.
            (0, 0, "NeedsSharedCredit"),
            (0, 5_000, "batch of 1"),
            (0, 0, "Idle"),
        ] {
            half.grant(grant).unwrap();
            shared_credit.grant(shared_grant).unwrap();
            assert_eq!(next(&mut half, 4_000, &mut shared_credit), expected);
        }
        let cost = 4 * MESSAGE_COST_BYTES as i64 + 3_004;
        assert_eq!(shared_credit.available(), 6_000 - cost);
    }
}
