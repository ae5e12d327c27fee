//! The times that calls took: counted by one thread, and summed up for readers.

use std::time::Duration;

use crate::metrics::{
    buckets::{self, BOUNDS, BUCKETS},
    counter::{Counter, NanosSum},
};

/// The times of the calls of one thread.
#[derive(Debug)]
pub(super) struct DurationCells {
    sum: NanosSum,
    counts: [Counter; BUCKETS],
}

impl Default for DurationCells {
    fn default() -> Self {
        Self {
            sum: NanosSum::default(),
            counts: [const { Counter::new() }; BUCKETS],
        }
    }
}

impl DurationCells {
    #[inline]
    pub(super) fn add(&self, took: Duration) {
        let nanos = nanos(took);
        self.sum.add(nanos as f64);
        let bucket = buckets::bucket_of(nanos.cast_unsigned(), nanos as f64);
        if let Some(count) = self.counts.get(bucket) {
            count.add(1);
        }
    }
}

/// The nanoseconds of a time, at most 292 years. They are signed, because that is the number that processors
/// turn into a float at once.
#[inline]
fn nanos(time: Duration) -> i64 {
    const MAX_SECONDS: u64 = i64::MAX as u64 / 1_000_000_000 - 1;
    let seconds = time.as_secs().min(MAX_SECONDS).cast_signed();
    seconds * 1_000_000_000 + i64::from(time.subsec_nanos())
}

/// A histogram of the times that calls took.
///
/// A time is known with an error of at most 1/16, from 256 ns to 18 minutes. Shorter times count as 287 ns,
/// and longer ones as 18 minutes; the sum has them as they are, up to 292 years each.
#[derive(Debug, Clone, PartialEq)]
pub struct CallDurations {
    nanos: f64,
    counts: Box<[u64; BUCKETS]>,
}

impl Default for CallDurations {
    fn default() -> Self {
        Self {
            nanos: 0.0,
            counts: Box::new([0; BUCKETS]),
        }
    }
}

impl CallDurations {
    /// The number of calls.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of their times.
    pub fn sum(&self) -> Duration {
        Duration::try_from_secs_f64(self.sum_seconds()).unwrap_or(Duration::MAX)
    }

    /// The sum of their times in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.nanos / 1e9
    }

    /// The time within which `percent` of the calls ended, such as 99.9. `None` without calls. A number
    /// out of 0 to 100 counts as the nearer of the two, and one that is no number as 0.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let count = self.count();
        let share = (percent / 100.0).clamp(0.0, 1.0);
        // The first call has rank 1, and the last one the rank `count`.
        let rank = ((count as f64 * share).ceil() as u64).clamp(1, count.max(1));
        let mut before = 0;
        let bucket = self.counts.iter().position(|count| {
            before += count;
            before >= rank
        });
        bucket.map(|bucket| Duration::from_nanos(buckets::middle(bucket)))
    }

    /// How many calls took at most each of these times: the bounds of the text for Prometheus, from 0.1 ms
    /// to 10 s. These numbers are exact.
    pub fn at_most(&self) -> impl Iterator<Item = (Duration, u64)> {
        let mut bucket = 0;
        let mut count = 0;
        BOUNDS.iter().map(move |bound| {
            while buckets::longest(bucket) <= *bound {
                count += self.counts[bucket];
                bucket += 1;
            }
            (Duration::from_nanos(*bound), count)
        })
    }

    /// Adds the calls of another histogram, such as that of another code.
    pub fn merge(&mut self, other: &Self) {
        self.nanos += other.nanos;
        for (count, more) in self.counts.iter_mut().zip(other.counts.iter()) {
            *count += more;
        }
    }

    /// Adds the calls of a thread.
    pub(super) fn add(&mut self, cells: &DurationCells) {
        self.nanos += cells.sum.value();
        for (count, more) in self.counts.iter_mut().zip(&cells.counts) {
            *count += more.value();
        }
    }
}
