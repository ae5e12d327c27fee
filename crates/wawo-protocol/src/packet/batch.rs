//! Many messages of one stream, kept as the packets that carry them, one behind the other. So they are
//! sent, and read, all at once.

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    id::CallId,
    message::{MESSAGE_COST_BYTES, first_within},
    packet::{
        HEADER_BYTES,
        encode::put_header,
        header::{Kind, first_payload},
    },
};

/// The greatest ratio of a batch's buffer to its length. A batch may wait long to be sent, so one in a
/// larger buffer is copied into one of its own length.
const MAX_CAPACITY_RATIO: usize = 2;

/// Puts messages of a stream into packets, each in its own packet.
#[derive(Debug)]
pub struct BatchBuilder {
    call: CallId,
    packets: BytesMut,
    /// The length of the whole packets in `packets`.
    whole: usize,
    messages: usize,
    largest: usize,
    /// The length of the last batch that was taken, for which room is reserved: the next is likely to
    /// be as long.
    last: usize,
}

impl BatchBuilder {
    /// A builder without messages, for this call.
    pub fn new(call: CallId) -> Self {
        Self {
            call,
            packets: BytesMut::new(),
            whole: 0,
            messages: 0,
            largest: 0,
            last: 0,
        }
    }

    /// Adds the message that `write` appends to the buffer.
    pub fn push(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let header = self.whole;
        // A `write` that panicked has left bytes behind the whole packets.
        self.packets.truncate(header);
        if header == 0 {
            self.packets.reserve(self.last);
        }
        put_header(&mut self.packets, 0, Kind::Message, 0, 0, Some(self.call));
        write(&mut self.packets);
        // Longer ones do not fit into memory, and are refused by every peer.
        let length = self.packets.len() - header - HEADER_BYTES;
        self.packets[header..header + 4].copy_from_slice(&(length as u32).to_be_bytes());
        self.whole = self.packets.len();
        self.messages += 1;
        self.largest = self.largest.max(length);
    }

    /// The number of messages.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// The length of all messages together, without the headers of their packets.
    pub fn message_bytes(&self) -> usize {
        self.whole - self.messages * HEADER_BYTES
    }

    /// The length of all packets.
    pub fn packet_bytes(&self) -> usize {
        self.packets.len()
    }

    /// Takes out all messages, to be sent.
    pub fn take(&mut self) -> Batch {
        // The next batch allocates its own buffer: a stream that stays quiet must not hold the one of
        // its last batch.
        let mut packets = std::mem::take(&mut self.packets);
        packets.truncate(self.whole);
        self.last = std::mem::take(&mut self.whole);
        Batch {
            packets: match packets.len() < packets.capacity() / MAX_CAPACITY_RATIO {
                true => Bytes::copy_from_slice(&packets),
                false => packets.freeze(),
            },
            messages: std::mem::take(&mut self.messages),
            largest: std::mem::take(&mut self.largest),
        }
    }
}

/// Messages of one stream, in order. All share one buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Whole packets, each with one message and nothing else.
    packets: Bytes,
    messages: usize,
    /// A length that no message exceeds.
    largest: usize,
}

impl Batch {
    pub(crate) fn from_packets(packets: Bytes, messages: usize, largest: usize) -> Self {
        Self {
            packets,
            messages,
            largest,
        }
    }

    /// The length of all messages together.
    pub fn message_bytes(&self) -> usize {
        self.packets.len() - self.messages * HEADER_BYTES
    }

    /// The length of the longest message that was ever in the batch.
    pub fn largest(&self) -> usize {
        self.largest
    }

    pub(crate) fn into_packets(self) -> Bytes {
        self.packets
    }

    /// The cost of all messages together in shared credit.
    pub(crate) fn cost(&self) -> u64 {
        self.message_bytes() as u64 + self.messages as u64 * MESSAGE_COST_BYTES
    }

    /// Takes off the first messages, as many as have at most `room` bytes each and `credit` bytes
    /// together, and may each begin with the `shared_credit` that those before it leave.
    pub(crate) fn take_within(&mut self, room: usize, credit: u64, shared_credit: i64) -> Self {
        let is_within = self.largest <= room && self.message_bytes() as u64 <= credit;
        if is_within && self.cost() as i64 <= shared_credit {
            return std::mem::take(self);
        }
        let (messages, end) = first_within(credit, shared_credit, HEADER_BYTES, |at| {
            let message = first_payload(&self.packets[at..])?;
            Some(message.len()).filter(|&length| length <= room)
        });
        self.messages -= messages;
        Self {
            packets: self.packets.split_to(end),
            messages,
            largest: self.largest,
        }
    }

    /// Drops all messages from the first one of more than `max` bytes on. Returns the length of that
    /// one.
    pub(crate) fn cut_off_above(&mut self, max: usize) -> Option<usize> {
        if self.largest <= max {
            return None;
        }
        let fitting = self.take_within(max, u64::MAX, i64::MAX);
        let rest = std::mem::replace(self, fitting);
        rest.peek().map(<[u8]>::len)
    }

    /// The next message, which stays in the batch.
    pub fn peek(&self) -> Option<&[u8]> {
        first_payload(&self.packets)
    }

    /// Takes off the next message, and passes it to `read` in place, without a copy, with the buffer
    /// that it is a part of. `None` if there is no message.
    pub fn read_next<R>(&mut self, read: impl FnOnce(&[u8], &Bytes) -> R) -> Option<R> {
        let message = first_payload(&self.packets)?;
        let end = HEADER_BYTES + message.len();
        let result = read(message, &self.packets);
        self.packets.advance(end);
        self.messages -= 1;
        Some(result)
    }

    /// Copies the batch into its own buffer if its packets have fewer than `length` bytes: a short
    /// batch that waits must not keep a large buffer of the input alive.
    pub fn unshared_below(mut self, length: usize) -> Self {
        if self.packets.len() < length {
            self.packets = Bytes::copy_from_slice(&self.packets);
        }
        self
    }
}

impl Iterator for Batch {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.read_next(|message, packets| packets.slice_ref(message))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.messages, Some(self.messages))
    }
}

impl ExactSizeIterator for Batch {}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;
    use crate::id::Side;

    #[test]
    fn the_first_messages_are_as_many_as_there_is_credit_for() {
        for (credit, shared_credit, first) in [
            (2, 1000, 0),
            (3, 1000, 2),
            (7, 1000, 2),
            (8, 1000, 3),
            (8, 0, 0),
            (8, 1, 1),
            (8, 67, 1),
            (8, 68, 2),
            (8, 131, 2),
            (8, 132, 3),
            (8, 199, 3),
            (8, 200, 3),
        ] {
            let mut builder = BatchBuilder::new(CallId::new(Side::Accepting, 3));
            for text in ["one", "", "three"] {
                builder.push(|buffer| buffer.put_slice(text.as_bytes()));
            }
            let mut rest = builder.take();
            let few = rest.take_within(5, credit, shared_credit);
            assert_eq!((few.len(), rest.len()), (first, 3 - first));
            let all: Vec<_> = few.chain(rest).collect();
            assert_eq!(all, ["one", "", "three"]);
        }
        assert_eq!(Batch::default().take_within(9, 9, 9).len(), 0);
    }

    #[test]
    fn a_short_batch_after_a_long_one_holds_no_more_than_it_needs() {
        let mut builder = BatchBuilder::new(CallId::new(Side::Accepting, 0));
        builder.push(|buffer| buffer.put_slice(&[7; 100_000]));
        drop(builder.take());
        builder.push(|buffer| buffer.put_slice(b"short"));
        let short = builder.take().into_packets();
        assert!(short.try_into_mut().unwrap().capacity() < 100);
    }

    #[test]
    fn a_batch_that_was_taken_holds_no_buffer() {
        let mut builder = BatchBuilder::new(CallId::new(Side::Accepting, 0));
        builder.push(|buffer| buffer.put_slice(&[7; 100_000]));
        drop(builder.take());
        assert!(!builder.packets.try_reclaim(100_000));
    }
}
