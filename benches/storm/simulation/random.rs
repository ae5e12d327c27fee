//! Random numbers that are the same in each run.

use std::time::Duration;

/// A generator of random numbers (SplitMix64).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of some numbers.
    pub(crate) fn pick(&mut self, of: &[u32]) -> Option<u32> {
        let index = (u128::from(self.next()) * of.len() as u128) >> 64;
        of.get(index as usize).copied()
    }

    /// A random part of a time.
    pub(crate) fn part(&mut self, of: Duration) -> Duration {
        let nanos = (of.as_nanos() * u128::from(self.next())) >> 64;
        Duration::from_nanos(nanos as u64)
    }
}
