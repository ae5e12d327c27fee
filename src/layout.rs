//! The memory that messages of a schema take, as far as their types tell: generated code holds a
//! [`Layout`] for each message of a service.
//!
//! A message may take many times its encoded length: an empty element of a repeated field costs two
//! bytes on the wire, and the size of its type in memory. [`Layout::measure`] tells how much before
//! any of it is taken, by one pass over the encoded message that allocates nothing.

mod description;
mod growth;
mod measure;
mod worst;

use std::sync::atomic::Ordering;

use crate::layout::description::UNKNOWN;
pub use crate::layout::description::{Field, Layout};

impl Layout {
    /// How many bytes prost takes at most to decode these, also for a moment: of the heap, and of
    /// the message itself. Never less; more by as much as allocators need beside what is asked of
    /// them, and where a field that may stand once comes again.
    ///
    /// It reads the bytes once, and nothing of what it steps over.
    pub fn measure(&self, bytes: &[u8]) -> usize {
        measure::measure(self, bytes)
    }

    /// Whether any message of this length takes at most `bytes`: a multiplication.
    #[inline]
    pub(crate) fn takes_at_most(&self, bytes: u64, length: usize) -> bool {
        self.many_take_at_most(bytes, 1, length)
    }

    /// The same of some messages, of this length together.
    #[inline]
    pub(crate) fn many_take_at_most(&self, bytes: u64, messages: usize, length: usize) -> bool {
        let own = (messages * self.size) as u64;
        let most = |worst: u32| {
            (length as u64)
                .saturating_mul(worst.into())
                .saturating_add(own)
        };
        let worst = self.worst.load(Ordering::Relaxed);
        // An unknown factor is the greatest, and leads to a closer look.
        most(worst) <= bytes || (worst == UNKNOWN && most(self.find_worst()) <= bytes)
    }

    #[cold]
    fn find_worst(&self) -> u32 {
        let worst = worst::of(self).min(UNKNOWN - 1);
        self.worst.store(worst, Ordering::Relaxed);
        worst
    }
}
