//! The bytes that a connection has written, until the transport takes them.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes, BytesMut};

use crate::message::MessageBytes;

/// The least length, in bytes, of a message that is linked into the output without a copy. Shorter ones
/// are copied, so that many packets leave as one segment. A copy of 8 KiB costs about as much as one
/// more segment.
const LINK_BYTES: usize = 8 * 1024;

/// The length, in bytes, at which gathered packets become a segment, and later ones go into a new
/// buffer. A single buffer would grow without end for a peer that does not read, and be copied each
/// time that it doubles.
const SEGMENT_BYTES: usize = 64 * 1024;

/// The most bytes of room that an empty buffer keeps. A larger one is freed, since only a burst needed
/// it.
const KEEP_BYTES: usize = 256 * 1024;

/// The bytes that a connection has written and the transport has not yet taken, in order.
///
/// Small packets gather in one buffer; large messages are linked without being copied. A driver gets
/// the bytes from [`slices`](Self::slices) or [`first`](Self::first), and says how many it has written
/// by [`advance`](Self::advance).
#[derive(Debug, Default)]
pub struct Output {
    /// Whole segments, before `tail`.
    segments: VecDeque<Bytes>,
    /// Small packets that are still gathered.
    tail: BytesMut,
    /// Bytes in `segments`.
    linked: usize,
    /// Bytes that the transport has taken since the connection began.
    written: u64,
    /// The part of `written` that the transport has passed on.
    flushed: u64,
}

impl Output {
    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.linked + self.tail.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first segment; empty if nothing waits.
    pub fn first(&self) -> &[u8] {
        self.segments.front().map_or(&self.tail, |segment| segment)
    }

    /// Whether all that waits is one segment.
    pub fn is_contiguous(&self) -> bool {
        self.segments.is_empty() || (self.segments.len() == 1 && self.tail.is_empty())
    }

    /// Fills `slices` with the segments in order; returns how many were filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = (!self.tail.is_empty()).then_some(&self.tail[..]);
        let segments = self.segments.iter().map(|segment| &segment[..]).chain(tail);
        let mut filled = 0;
        for (slice, segment) in slices.iter_mut().zip(segments) {
            *slice = IoSlice::new(segment);
            filled += 1;
        }
        filled
    }

    /// Takes `count` bytes off the front: the transport has them.
    ///
    /// # Panics
    ///
    /// If fewer bytes wait.
    pub fn advance(&mut self, mut count: usize) {
        self.written += count as u64;
        while let Some(segment) = self.segments.front_mut() {
            let part = count.min(segment.len());
            segment.advance(part);
            self.linked -= part;
            count -= part;
            if !segment.is_empty() {
                return;
            }
            self.segments.pop_front();
        }
        self.tail.advance(count);
        if self.tail.is_empty() && self.tail.capacity() > KEEP_BYTES {
            self.tail = BytesMut::new();
        }
    }

    /// Drops all that the transport has not taken.
    pub(crate) fn clear(&mut self) {
        self.segments.clear();
        self.linked = 0;
        self.tail = BytesMut::new();
    }

    /// The position of the next byte in all that this connection sends.
    pub(crate) fn position(&self) -> u64 {
        self.written + self.len() as u64
    }

    /// Bytes that the transport has taken since the connection began.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that the transport has taken, but may not have passed on yet.
    pub(crate) fn unflushed(&self) -> usize {
        (self.written - self.flushed) as usize
    }

    /// Records that the transport has passed on all that it took.
    pub(crate) fn flushed(&mut self) {
        self.flushed = self.written;
    }

    /// The buffer to which small packets are appended.
    pub(crate) fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Appends the bytes of a message.
    pub(crate) fn put_message(&mut self, message: MessageBytes) {
        match message.into_segments() {
            Ok(bytes) => self.link_or_copy(bytes),
            Err(segments) => segments
                .into_iter()
                .for_each(|segment| self.link_or_copy(segment)),
        }
    }

    /// Appends bytes: copied if they are few, linked if they are many.
    pub(crate) fn link_or_copy(&mut self, bytes: Bytes) {
        if bytes.len() < LINK_BYTES {
            self.tail.extend_from_slice(&bytes);
            if self.tail.len() >= SEGMENT_BYTES {
                self.link_tail();
            }
            return;
        }
        self.link_tail();
        self.link(bytes);
    }

    fn link_tail(&mut self) {
        if !self.tail.is_empty() {
            let gathered = self.tail.split().freeze();
            self.link(gathered);
        }
    }

    fn link(&mut self, bytes: Bytes) {
        self.linked += bytes.len();
        self.segments.push_back(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use bytes::{BufMut, Bytes};

    use super::{LINK_BYTES, Output, SEGMENT_BYTES};

    #[test]
    fn small_messages_gather_and_large_ones_are_linked_in_order() {
        let mut output = Output::default();
        output.tail().put_slice(b"one");
        output.link_or_copy(Bytes::from_static(b"two"));
        let large = Bytes::from(vec![7; LINK_BYTES]);
        output.link_or_copy(large.clone());
        output.tail().put_slice(b"three");
        assert_eq!(output.len(), 11 + LINK_BYTES);
        assert!(!output.is_contiguous());

        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(output.slices(&mut slices), 3);
        assert_eq!(&*slices[0], b"onetwo");
        assert_eq!(slices[1].as_ptr(), large.as_ptr());
        assert_eq!(&*slices[2], b"three");
    }

    #[test]
    fn many_small_messages_are_many_segments() {
        let mut output = Output::default();
        let small = Bytes::from(vec![7; 1_000]);
        for _ in 0..1_000 {
            output.link_or_copy(small.clone());
        }
        assert_eq!(output.len(), 1_000_000);
        let longest = output.segments.iter().map(Bytes::len).max();
        assert_eq!(longest, Some(66_000));
        assert!(output.tail.capacity() <= 2 * SEGMENT_BYTES);
    }

    #[test]
    fn any_split_of_writes_takes_the_same_bytes() {
        for step in [1, 2, 5, LINK_BYTES, 3 * LINK_BYTES] {
            let mut output = Output::default();
            let mut expected = Vec::new();
            for (index, length) in [3, LINK_BYTES, LINK_BYTES + 1, 0, 9]
                .into_iter()
                .enumerate()
            {
                let bytes = Bytes::from(vec![index as u8; length]);
                expected.extend_from_slice(&bytes);
                output.link_or_copy(bytes);
            }
            let mut taken = Vec::new();
            while !output.is_empty() {
                let part = output.first().len().min(step);
                taken.extend_from_slice(&output.first()[..part]);
                output.advance(part);
            }
            assert_eq!(taken, expected);
            assert_eq!(output.position(), expected.len() as u64);
        }
    }
}
