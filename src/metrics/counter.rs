//! Counts with one writer, which any thread may read.
//!
//! A load and a store are cheaper than an atomic addition, which keeps other cores off the line of the
//! cache. With two writers they would lose counts, so each counter belongs to one
//! [`Writer`](super::writer::Writer).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A count that wraps around.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline]
    pub(super) fn add(&self, count: u64) {
        self.0
            .store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A sum of times in nanoseconds. It is a float, because 64 bits of nanoseconds are too few: a million
/// streams fill them in five hours.
#[derive(Debug, Default)]
pub(super) struct NanosSum(AtomicU64);

impl NanosSum {
    #[inline]
    pub(super) fn add(&self, nanos: f64) {
        self.0.store((self.value() + nanos).to_bits(), Relaxed);
    }

    #[inline]
    pub(super) fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }
}
