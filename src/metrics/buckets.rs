//! The buckets of a histogram: eight for each power of two, and cuts at the bounds that are published.
//!
//! ```text
//!   256 ns   288   320   ...   512   576   640   ...   up to 2^40 ns, which is 18 minutes
//!   ├────────┼─────┼── ─ ─ ────┼─────┼─────┼── ─ ─
//!     8 steps for an octave     a bound such as 100 µs cuts its step in two
//! ```
//!
//! By its bucket, a time is known with an error of at most 1/16, and the number of times at or below a published
//! bound is exact. Times out of the range count in the first bucket or the last one.

/// The published bounds, in nanoseconds: those that OpenTelemetry advises, from 5 ms on, and finer ones
/// below.
pub(super) const BOUNDS: [u64; 19] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// The number of buckets.
pub(super) const BUCKETS: usize = STEPS + BOUNDS.len();

/// The range in powers of two: from 256 ns, and below 2^40 ns.
const FIRST_OCTAVE: u32 = 8;
const OCTAVES: u32 = 32;

/// Eight steps for each octave.
const STEP_BITS: u32 = 3;
const STEPS: usize = (OCTAVES << STEP_BITS) as usize;

/// The steps of all numbers of 64 bits.
const ALL_STEPS: usize = 64 << STEP_BITS;

/// The buckets in the order of their times.
struct Layout {
    /// The longest time of each bucket, in nanoseconds.
    longest: [u64; BUCKETS],
    /// The first bucket of each step. A step has a second one if a bound cuts it.
    first: [u16; ALL_STEPS],
}

static LAYOUT: Layout = layout();

/// The bucket of a time of at most 2^63 ns, which is given as a float too. It is below [`BUCKETS`].
#[inline]
pub(super) fn bucket_of(nanos: u64, float: f64) -> usize {
    let first = usize::from(LAYOUT.first[step_of(float)]);
    let is_behind_cut = LAYOUT.longest.get(first).is_some_and(|end| nanos > *end);
    first + usize::from(is_behind_cut)
}

/// The step of a time, among all steps. The exponent of a float is its octave, and the first three bits
/// behind are the step in it. Zero has the exponent zero, which is another step below the range here.
#[inline]
fn step_of(nanos: f64) -> usize {
    const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    const ONE: u64 = 1.0_f64.to_bits() >> (MANTISSA_BITS - STEP_BITS);
    let step = (nanos.to_bits() >> (MANTISSA_BITS - STEP_BITS)).wrapping_sub(ONE);
    step as usize & (ALL_STEPS - 1)
}

/// The longest time of a bucket, in nanoseconds; the last one has no end, so `u64::MAX`.
pub(super) fn longest(bucket: usize) -> u64 {
    LAYOUT.longest.get(bucket).copied().unwrap_or(u64::MAX)
}

/// The time that stands for those of a bucket: its middle; of the first bucket its end, and of the last one
/// its start.
pub(super) fn middle(bucket: usize) -> u64 {
    let start = bucket.checked_sub(1).map_or(0, longest);
    match longest(bucket) {
        u64::MAX => start,
        end if start == 0 => end,
        end => start + (end - start).div_ceil(2),
    }
}

/// The last nanosecond of a step, among all steps.
const fn end_of_step(step: usize) -> u64 {
    let octave = step as u32 >> STEP_BITS;
    let within = (step & ((1 << STEP_BITS) - 1)) as u64;
    (1 << octave) + ((within + 1) << (octave - STEP_BITS)) - 1
}

const fn layout() -> Layout {
    let mut layout = Layout {
        longest: [u64::MAX; BUCKETS],
        first: [0; ALL_STEPS],
    };
    let (mut bucket, mut bound) = (0, 0);
    let mut step = (FIRST_OCTAVE << STEP_BITS) as usize;
    let behind = step + STEPS;
    while step < behind {
        layout.first[step] = bucket as u16;
        let end = end_of_step(step);
        if bound < BOUNDS.len() && BOUNDS[bound] < end {
            layout.longest[bucket] = BOUNDS[bound];
            bucket += 1;
            bound += 1;
        }
        layout.longest[bucket] = end;
        bucket += 1;
        step += 1;
    }
    // Each bound has cut one step, and no step was cut twice.
    assert!(bucket == BUCKETS);
    layout.longest[BUCKETS - 1] = u64::MAX;
    while step < ALL_STEPS {
        layout.first[step] = BUCKETS as u16 - 1;
        step += 1;
    }
    layout
}

#[cfg(test)]
mod tests {
    use super::{BOUNDS, BUCKETS, longest, middle};

    fn bucket_of(nanos: u64) -> usize {
        super::bucket_of(nanos, nanos as f64)
    }

    #[test]
    fn each_time_is_in_the_bucket_that_ends_at_it_or_first_behind_it() {
        for bucket in 0..BUCKETS - 1 {
            assert!(longest(bucket) < longest(bucket + 1), "{bucket}");
            assert_eq!(bucket_of(longest(bucket)), bucket);
            assert_eq!(bucket_of(longest(bucket) + 1), bucket + 1);
        }
    }

    #[test]
    fn a_time_out_of_the_range_is_in_the_first_bucket_or_the_last() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(255), 0);
        assert_eq!(bucket_of(1 << 40), BUCKETS - 1);
        assert_eq!(bucket_of(1 << 63), BUCKETS - 1);
    }

    #[test]
    fn each_published_bound_ends_a_bucket() {
        for bound in BOUNDS {
            assert_eq!(longest(bucket_of(bound)), bound);
            assert_eq!(bucket_of(bound + 1), bucket_of(bound) + 1);
        }
    }

    #[test]
    fn the_middle_of_a_bucket_is_within_a_sixteenth_of_all_of_it() {
        let mut nanos = 288_u64;
        while nanos < 1 << 40 {
            let estimate = middle(bucket_of(nanos));
            assert!(
                estimate.abs_diff(nanos) <= nanos / 16 + 1,
                "{nanos}: {estimate}"
            );
            nanos += nanos / 97 + 1;
        }
        assert_eq!(middle(0), 287);
        assert_eq!(middle(BUCKETS - 1), longest(BUCKETS - 2));
    }
}
