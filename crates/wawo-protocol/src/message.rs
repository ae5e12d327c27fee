//! The bytes of a message that is to be sent.

use std::{collections::VecDeque, mem};

use bytes::{Bytes, BytesMut};

/// The bytes of shared credit that a message costs in addition to its length: an allowance for the
/// memory that manages it, without which many empty messages would cost nothing (docs/protocol.md,
/// "Credit").
pub const MESSAGE_COST_BYTES: u64 = 64;

/// The cost of a message of this length. The length of a one-way message includes its metadata.
pub(crate) fn cost(length: usize) -> u64 {
    MESSAGE_COST_BYTES + length as u64
}

/// The first of the messages that come whole, each in its packet, as many as have at most `credit` bytes
/// together, and may each begin with the `shared_credit` that those before it leave: their number, and
/// the length of their packets. `length_at` returns the length of the message whose packet begins there,
/// if there is one that fits otherwise; the packet has `head` bytes before it.
#[inline]
pub(crate) fn first_within(
    mut credit: u64,
    mut shared_credit: i64,
    head: usize,
    mut length_at: impl FnMut(usize) -> Option<usize>,
) -> (usize, usize) {
    let (mut messages, mut end) = (0, 0);
    while shared_credit > 0
        && let Some(length) = length_at(end)
        && length as u64 <= credit
    {
        credit -= length as u64;
        shared_credit -= cost(length) as i64;
        end += head + length;
        messages += 1;
    }
    (messages, end)
}

/// The bytes of a message: in one segment, as nearly always, or in several, where joining them
/// would cost a copy.
#[derive(Debug, Clone)]
pub struct MessageBytes(Segments);

#[derive(Debug, Clone)]
enum Segments {
    One(Bytes),
    // In a box, so that a `MessageBytes` is no larger than its common case of one segment.
    Many(Box<Many>),
}

#[derive(Debug, Clone, Default)]
struct Many {
    segments: VecDeque<Bytes>,
    length: usize,
}

impl MessageBytes {
    /// The length of all segments together.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Segments::One(bytes) => bytes.len(),
            Segments::Many(many) => many.length,
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes in one segment; copies them if they are in several.
    #[inline]
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Segments::One(bytes) => bytes,
            Segments::Many(many) => many.join(),
        }
    }

    /// Takes off the first `length` bytes; the message has at least as many.
    pub(crate) fn split_to(&mut self, length: usize) -> Self {
        match &mut self.0 {
            Segments::One(bytes) => bytes.split_to(length).into(),
            Segments::Many(many) => many.split_to(length).collect(),
        }
    }

    /// Returns the only segment; if there are several, they are the error, in order.
    #[inline]
    pub(crate) fn into_segments(self) -> Result<Bytes, VecDeque<Bytes>> {
        match self.0 {
            Segments::One(bytes) => Ok(bytes),
            Segments::Many(many) => Err(many.segments),
        }
    }
}

impl Many {
    fn join(self) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.length);
        for segment in self.segments {
            whole.extend_from_slice(&segment);
        }
        whole.freeze()
    }

    fn split_to(&mut self, mut length: usize) -> impl Iterator<Item = Bytes> {
        self.length -= length;
        std::iter::from_fn(move || {
            let first = self.segments.front_mut().filter(|_| length > 0)?;
            if length < first.len() {
                return Some(first.split_to(mem::take(&mut length)));
            }
            length -= first.len();
            self.segments.pop_front()
        })
    }
}

impl Default for MessageBytes {
    /// A message without bytes.
    fn default() -> Self {
        Bytes::new().into()
    }
}

impl From<Bytes> for MessageBytes {
    #[inline]
    fn from(bytes: Bytes) -> Self {
        Self(Segments::One(bytes))
    }
}

impl FromIterator<Bytes> for MessageBytes {
    /// Joins the segments in order, without a copy.
    fn from_iter<I: IntoIterator<Item = Bytes>>(segments: I) -> Self {
        let mut segments: VecDeque<Bytes> = segments.into_iter().collect();
        if segments.len() <= 1 {
            return segments.pop_front().unwrap_or_default().into();
        }
        let length = segments.iter().map(Bytes::len).sum();
        Self(Segments::Many(Box::new(Many { segments, length })))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::MessageBytes;

    const TEXTS: [&str; 4] = ["one", "", "three", "x"];

    fn message() -> MessageBytes {
        TEXTS.map(Bytes::from).into_iter().collect()
    }

    #[test]
    fn segments_stay_where_they_are_until_one_is_asked_for() {
        let message = message();
        assert_eq!(message.len(), 9);
        let segments = message.clone().into_segments().unwrap_err();
        assert_eq!(segments, TEXTS);
        assert!(
            segments
                .iter()
                .zip(TEXTS)
                .all(|(a, b)| a.as_ptr() == b.as_ptr())
        );
        assert_eq!(message.into_bytes(), "onethreex");
        assert_eq!(size_of::<MessageBytes>(), size_of::<Bytes>());
    }

    #[test]
    fn any_split_gives_the_same_bytes() {
        for length in 0..=9 {
            let mut rest = message();
            let first = rest.split_to(length);
            assert_eq!((first.len(), rest.len()), (length, 9 - length));
            assert_eq!(
                [first.into_bytes(), rest.into_bytes()].concat(),
                b"onethreex"
            );
        }
    }

    #[test]
    fn a_single_segment_is_kept_as_it_is() {
        for segments in [vec![], vec![Bytes::from("one")]] {
            let message: MessageBytes = segments.clone().into_iter().collect();
            assert_eq!(message.into_segments(), Ok(Bytes::from(segments.concat())));
        }
        assert!(MessageBytes::default().is_empty());
    }
}
