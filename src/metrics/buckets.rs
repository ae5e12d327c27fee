//! The buckets of a histogram: eight for each power of two, and cuts at the bounds that are published.
//!
//! ```text
//!   256 ns   288   320   ...   512   576   640   ...   up to 2^40 ns, which is 18 minutes
//!   ├────────┼─────┼── ─ ─ ────┼─────┼─────┼── ─ ─
//!     8 steps for an octave     a bound such as 100 µs cuts its step in two
//! ```
//!
//! So a time is known with an error of at most 1/16, and the number of times at or below a published bound
//! is exact. Times out of the range count in the first bucket or the last one.

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

/// The buckets in the order of their times.
struct Layout {
    /// The longest time of each bucket, in nanoseconds.
    longest: [u64; BUCKETS],
    /// The first bucket of each step. A step has a second one if a bound cuts it.
    first: [u16; STEPS],
}

static LAYOUT: Layout = layout();

/// The bucket of a time in nanoseconds; always below [`BUCKETS`].
#[inline]
pub(super) fn bucket_of(nanos: u64) -> usize {
    let first = usize::from(LAYOUT.first[step_of(nanos)]);
    let is_behind_cut = LAYOUT.longest.get(first).is_some_and(|end| nanos > *end);
    first + usize::from(is_behind_cut)
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

const fn step_of(nanos: u64) -> usize {
    let lowest = 1 << FIRST_OCTAVE;
    let highest = (1 << (FIRST_OCTAVE + OCTAVES)) - 1;
    let nanos = if nanos < lowest { lowest } else { nanos };
    let nanos = if nanos > highest { highest } else { nanos };
    let octave = nanos.ilog2();
    let step = (nanos >> (octave - STEP_BITS)) as usize & ((1 << STEP_BITS) - 1);
    // The mask changes nothing; it shows the compiler that the index is within the table.
    (((octave - FIRST_OCTAVE) as usize) << STEP_BITS | step) & (STEPS - 1)
}

/// The last nanosecond of a step.
const fn end_of_step(step: usize) -> u64 {
    let octave = FIRST_OCTAVE + (step >> STEP_BITS) as u32;
    let within = (step & ((1 << STEP_BITS) - 1)) as u64;
    (1 << octave) + ((within + 1) << (octave - STEP_BITS)) - 1
}

const fn layout() -> Layout {
    let mut layout = Layout {
        longest: [u64::MAX; BUCKETS],
        first: [0; STEPS],
    };
    let (mut step, mut bucket, mut bound) = (0, 0, 0);
    while step < STEPS {
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
    layout
}

#[cfg(test)]
mod tests {
    use super::{BOUNDS, BUCKETS, bucket_of, longest, middle};

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
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
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
