//! Many messages of one stream, one after the other as the packets that carry them: what a busy
//! stream is made of, sent and read in one piece.

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    id::CallId,
    packet::{HEAD_BYTES, encode::put_head, head::Kind},
};

/// Puts messages of a stream into packets, each into one of its own.
#[derive(Debug)]
pub struct Run {
    call: CallId,
    packets: BytesMut,
    messages: usize,
    largest: usize,
}

impl Run {
    /// No messages yet, for this call.
    pub fn new(call: CallId) -> Self {
        Self {
            call,
            packets: BytesMut::new(),
            messages: 0,
            largest: 0,
        }
    }

    /// Adds the message that `write` appends to the buffer.
    pub fn push(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let head = self.packets.len();
        put_head(&mut self.packets, 0, Kind::Message, 0, 0, Some(self.call));
        write(&mut self.packets);
        // Longer ones do not fit into memory, and are refused by every peer.
        let length = self.packets.len() - head - HEAD_BYTES;
        self.packets[head..head + 4].copy_from_slice(&(length as u32).to_be_bytes());
        self.messages += 1;
        self.largest = self.largest.max(length);
    }

    /// How many messages there are.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// The length of all packets.
    pub fn packet_bytes(&self) -> usize {
        self.packets.len()
    }

    /// Takes the messages out, to be sent.
    pub fn take(&mut self) -> Messages {
        Messages {
            packets: self.packets.split().freeze(),
            messages: std::mem::take(&mut self.messages),
            largest: std::mem::take(&mut self.largest),
        }
    }
}

/// Messages of one stream, in order. Each shares the buffer of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// Whole packets with nothing but a message each.
    packets: Bytes,
    messages: usize,
    largest: usize,
}

impl Messages {
    pub(crate) fn received(packets: Bytes, messages: usize, largest: usize) -> Self {
        Self {
            packets,
            messages,
            largest,
        }
    }

    /// The length of all messages together.
    pub fn message_bytes(&self) -> usize {
        self.packets.len() - self.messages * HEAD_BYTES
    }

    pub(crate) fn largest(&self) -> usize {
        self.largest
    }

    pub(crate) fn into_packets(self) -> Bytes {
        self.packets
    }

    /// The same in a buffer of their own, if they are shorter than that: what waits must not keep
    /// a buffer that it fills but a little of.
    pub fn unshared_below(mut self, length: usize) -> Self {
        if self.packets.len() < length {
            self.packets = Bytes::copy_from_slice(&self.packets);
        }
        self
    }
}

impl Iterator for Messages {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.messages == 0 {
            return None;
        }
        self.messages -= 1;
        let length = self.packets.first_chunk::<4>().copied()?;
        self.packets.advance(HEAD_BYTES);
        Some(self.packets.split_to(u32::from_be_bytes(length) as usize))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.messages, Some(self.messages))
    }
}

impl ExactSizeIterator for Messages {}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;
    use crate::id::Side;

    #[test]
    fn messages_come_back_as_they_were_put_in() {
        let mut run = Run::new(CallId::new(Side::Accepting, 3));
        for text in ["one", "", "three"] {
            run.push(|buffer| buffer.put_slice(text.as_bytes()));
        }
        assert_eq!((run.messages(), run.packet_bytes()), (3, 3 * 12 + 8));
        let messages = run.take();
        assert_eq!((messages.message_bytes(), messages.largest()), (8, 5));
        assert_eq!(run.messages(), 0);
        for length in [0, 1000] {
            let messages = messages.clone().unshared_below(length);
            assert_eq!(messages.len(), 3);
            let all: Vec<_> = messages.collect();
            assert_eq!(all, ["one", "", "three"]);
        }
    }
}
