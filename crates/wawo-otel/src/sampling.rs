//! The share of new traces that are recorded.

use std::{
    cell::Cell,
    hash::{BuildHasher as _, RandomState},
};

/// The share of new traces that are recorded, as a bound for random numbers below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SampleRatio(u64);

impl SampleRatio {
    /// All traces.
    pub(crate) const ALL: Self = Self(u64::MAX);

    /// A share from 0 to 1. Numbers beyond are taken for the nearest of these, and NaN for 0.
    pub(crate) fn new(ratio: f64) -> Self {
        // A conversion to an integer takes NaN for 0, and all above the largest one for that.
        Self((ratio * 2_f64.powi(64)) as u64)
    }

    /// Whether no trace is left out.
    pub(crate) fn is_all(self) -> bool {
        self == Self::ALL
    }

    /// Whether a new trace is recorded; `random` is any number.
    pub(crate) fn includes(self, random: u64) -> bool {
        self.is_all() || random < self.0
    }
}

/// A random number of this thread.
pub(crate) fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
    }
    STATE.with(|state| {
        let (number, next) = split_mix(state.get());
        state.set(next);
        number
    })
}

/// The number of a state, and the next state, of the generator SplitMix64 (Steele, Lea, Flood: "Fast Splittable
/// Pseudorandom Number Generators", 2014).
fn split_mix(state: u64) -> (u64, u64) {
    let next = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31), next)
}

#[cfg(test)]
mod tests {
    use super::{SampleRatio, random, split_mix};

    #[test]
    fn a_ratio_includes_the_numbers_below_it() {
        let quarter = SampleRatio::new(0.25);
        assert!(quarter.includes(0) && quarter.includes((1 << 62) - 1));
        assert!(!quarter.includes(1 << 62) && !quarter.includes(u64::MAX));
        for all in [SampleRatio::new(1.0), SampleRatio::new(7.0)] {
            assert!(all.is_all() && all.includes(u64::MAX));
        }
        for none in [0.0, -1.0, f64::NAN] {
            assert!(!SampleRatio::new(none).includes(0), "{none}");
        }
    }

    #[test]
    fn one_call_in_a_hundred_is_included_and_numbers_differ() {
        let (ratio, mut state) = (SampleRatio::new(0.01), 7);
        let included = (0..100_000).filter(|_| {
            let (number, next) = split_mix(state);
            state = next;
            ratio.includes(number)
        });
        let included = included.count();
        assert!((900..1100).contains(&included), "{included}");
        assert_ne!(random(), random());
    }
}
