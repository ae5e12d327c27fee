//! Layouts: how much memory the messages of a schema take, as far as their types tell. Generated code has
//! a [`Layout`] for each message of a service.
//!
//! A message may take many times its encoded length: an empty element of a repeated field costs two bytes
//! on the wire, and the size of its type in memory. [`Layout::measure`] computes the memory before it is
//! allocated, in one pass over the encoded message, and allocates nothing.

mod description;
mod growth;
mod measure;
mod worst;

use std::sync::atomic::Ordering;

use crate::layout::description::UNKNOWN;
pub use crate::layout::description::{Field, Layout};

impl Layout {
    /// How many bytes prost takes at most to decode these bytes, at any moment: on the heap, and for the
    /// message itself. The result is never too small. It is too large by the overhead that allocators
    /// add, and where a singular field comes more than once.
    ///
    /// It reads the bytes once, and skips the values of fields that take no memory of their own.
    pub fn measure(&self, bytes: &[u8]) -> usize {
        measure::measure(self, bytes)
    }

    /// Whether any message of this length takes at most `bytes`. It costs a multiplication.
    #[inline]
    pub(crate) fn takes_at_most(&self, bytes: u64, length: usize) -> bool {
        self.many_take_at_most(bytes, 1, length)
    }

    /// Whether any `messages` messages, of this length together, take at most `bytes`.
    #[inline]
    pub(crate) fn many_take_at_most(&self, bytes: u64, messages: usize, length: usize) -> bool {
        let own = (messages * self.size) as u64;
        let most = |worst: u32| {
            (length as u64)
                .saturating_mul(worst.into())
                .saturating_add(own)
        };
        let worst = self.worst.load(Ordering::Relaxed);
        // An unknown factor is the greatest number, so that it is computed here.
        most(worst) <= bytes || (worst == UNKNOWN && most(self.find_worst()) <= bytes)
    }

    #[cold]
    fn find_worst(&self) -> u32 {
        let worst = worst::of(self).min(UNKNOWN - 1);
        self.worst.store(worst, Ordering::Relaxed);
        worst
    }
}
