//! The bytes of a message on its way out.

use std::{collections::VecDeque, mem};

use bytes::{Bytes, BytesMut};

/// The bytes of a message: in one piece, as nearly always, or in several, where putting them
/// together would cost a copy.
#[derive(Debug, Clone)]
pub struct Payload(Pieces);

#[derive(Debug, Clone)]
enum Pieces {
    One(Bytes),
    // In a box, so that a payload is no larger than its one piece.
    Many(Box<Many>),
}

#[derive(Debug, Clone, Default)]
struct Many {
    pieces: VecDeque<Bytes>,
    length: usize,
}

impl Payload {
    /// The length of all pieces together.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Pieces::One(bytes) => bytes.len(),
            Pieces::Many(many) => many.length,
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if they are one piece.
    pub fn as_one(&self) -> Option<&Bytes> {
        match &self.0 {
            Pieces::One(bytes) => Some(bytes),
            Pieces::Many(_) => None,
        }
    }

    /// The bytes in one piece; copied if they were in several.
    #[inline]
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Pieces::One(bytes) => bytes,
            Pieces::Many(many) => many.join(),
        }
    }

    /// Takes off the first bytes, of which there are at least so many.
    pub(crate) fn split_to(&mut self, length: usize) -> Self {
        match &mut self.0 {
            Pieces::One(bytes) => bytes.split_to(length).into(),
            Pieces::Many(many) => many.split_to(length).collect(),
        }
    }

    /// The one piece, or else all pieces in order.
    #[inline]
    pub(crate) fn into_one(self) -> Result<Bytes, VecDeque<Bytes>> {
        match self.0 {
            Pieces::One(bytes) => Ok(bytes),
            Pieces::Many(many) => Err(many.pieces),
        }
    }
}

impl Many {
    fn join(self) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.length);
        for piece in self.pieces {
            whole.extend_from_slice(&piece);
        }
        whole.freeze()
    }

    fn split_to(&mut self, mut length: usize) -> impl Iterator<Item = Bytes> {
        self.length -= length;
        std::iter::from_fn(move || {
            let first = self.pieces.front_mut().filter(|_| length > 0)?;
            if length < first.len() {
                return Some(first.split_to(mem::take(&mut length)));
            }
            length -= first.len();
            self.pieces.pop_front()
        })
    }
}

impl Default for Payload {
    /// No bytes.
    fn default() -> Self {
        Bytes::new().into()
    }
}

impl From<Bytes> for Payload {
    #[inline]
    fn from(bytes: Bytes) -> Self {
        Self(Pieces::One(bytes))
    }
}

impl FromIterator<Bytes> for Payload {
    /// The pieces one after the other.
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut pieces: VecDeque<Bytes> = pieces.into_iter().collect();
        if pieces.len() <= 1 {
            return pieces.pop_front().unwrap_or_default().into();
        }
        let length = pieces.iter().map(Bytes::len).sum();
        Self(Pieces::Many(Box::new(Many { pieces, length })))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Payload;

    const TEXTS: [&str; 4] = ["one", "", "three", "x"];

    fn payload() -> Payload {
        TEXTS.map(Bytes::from).into_iter().collect()
    }

    #[test]
    fn pieces_stay_where_they_are_until_one_is_asked_for() {
        let payload = payload();
        assert_eq!((payload.len(), payload.as_one()), (9, None));
        let pieces = payload.clone().into_one().unwrap_err();
        assert_eq!(pieces, TEXTS);
        assert!(
            pieces
                .iter()
                .zip(TEXTS)
                .all(|(a, b)| a.as_ptr() == b.as_ptr())
        );
        assert_eq!(payload.into_bytes(), "onethreex");
        assert_eq!(size_of::<Payload>(), size_of::<Bytes>());
    }

    #[test]
    fn any_split_gives_the_same_bytes() {
        for length in 0..=9 {
            let mut rest = payload();
            let first = rest.split_to(length);
            assert_eq!((first.len(), rest.len()), (length, 9 - length));
            assert_eq!(
                [first.into_bytes(), rest.into_bytes()].concat(),
                b"onethreex"
            );
        }
    }

    #[test]
    fn a_single_piece_is_one() {
        for pieces in [vec![], vec![Bytes::from("one")]] {
            let payload: Payload = pieces.clone().into_iter().collect();
            assert_eq!(payload.as_one(), Some(&Bytes::from(pieces.concat())));
        }
        assert!(Payload::default().is_empty());
    }
}
