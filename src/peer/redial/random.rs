//! Random numbers for waits.

use std::hash::{BuildHasher, RandomState};

/// A random number. It need not be secret, only differ from those of other processes: the standard library
/// takes the keys of its hash maps from the operating system, and a hash with such keys is random enough.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::random;

    #[test]
    fn random_numbers_are_spread_over_their_range() {
        let mut quarters = [0; 4];
        for _ in 0..4_000 {
            quarters[(random() >> 62) as usize] += 1;
        }
        // Each is within ten standard deviations of 1,000.
        assert!(
            quarters.iter().all(|count| (725..=1_275).contains(count)),
            "{quarters:?}"
        );
    }
}
