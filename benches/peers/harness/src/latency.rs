//! Latencies, counted where calls end.
//!
//! Each worker thread has its own histogram, which no other thread writes. A call costs two plain
//! additions and touches a few cache lines, whatever the number of callers. The measured interval
//! is the difference of two [`snapshot`]s, so callers need not know when it begins.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Counts `calls` that each took `latency`.
pub fn record(latency: Duration, calls: u64) {
    let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
    SHARD.with(|shard| add(&shard.buckets[bucket(nanos)], calls));
}

/// Counts `messages` that have no latency: streamed or one-way.
pub fn count(messages: u64) {
    SHARD.with(|shard| add(&shard.untimed, messages));
}

/// Everything that all threads have counted since the process started.
#[must_use]
pub fn snapshot() -> Histogram {
    let mut total = Histogram {
        buckets: vec![0; BUCKETS],
        untimed: 0,
    };
    for shard in shards().iter() {
        for (sum, bucket) in total.buckets.iter_mut().zip(&shard.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        total.untimed += shard.untimed.load(Ordering::Relaxed);
    }
    total
}

/// A histogram of latencies. Buckets are 1/128 of a power of two wide, so percentiles are accurate
/// to 0.8 %.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    untimed: u64,
}

impl Histogram {
    /// The counts between `earlier` and this.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let pairs = self.buckets.iter().zip(&earlier.buckets);
        Self {
            buckets: pairs.map(|(now, then)| now.saturating_sub(*then)).collect(),
            untimed: self.untimed.saturating_sub(earlier.untimed),
        }
    }

    /// Calls and messages, with and without a latency.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.timed() + self.untimed
    }

    /// The latency that `fraction` of the timed calls did not exceed; `None` if no call was timed.
    #[must_use]
    pub fn percentile(&self, fraction: f64) -> Option<Duration> {
        let timed = self.timed();
        let rank = ((timed as f64 * fraction).ceil() as u64).clamp(1, timed.max(1));
        let mut seen = 0;
        let at = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_nanos(highest_of(at)))
    }

    fn timed(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

struct Shard {
    buckets: Vec<AtomicU64>,
    untimed: AtomicU64,
}

impl Shard {
    fn register() -> Arc<Self> {
        let shard = Arc::new(Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            untimed: AtomicU64::new(0),
        });
        shards().push(Arc::clone(&shard));
        shard
    }
}

thread_local! {
    static SHARD: Arc<Shard> = Shard::register();
}

fn shards() -> std::sync::MutexGuard<'static, Vec<Arc<Shard>>> {
    static SHARDS: Mutex<Vec<Arc<Shard>>> = Mutex::new(Vec::new());
    SHARDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Only the shard's own thread writes, so a load and a store suffice; an atomic addition costs far
/// more.
fn add(counter: &AtomicU64, calls: u64) {
    counter.store(counter.load(Ordering::Relaxed) + calls, Ordering::Relaxed);
}

fn bucket(nanos: u64) -> usize {
    let nanos = nanos.min(LIMIT_NANOS - 1);
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(STEP_BITS + 1);
    // Below 2 * STEPS nanoseconds the shift is 0, and the bucket is the number itself.
    shift as usize * STEPS + (nanos >> shift) as usize
}

fn highest_of(bucket: usize) -> u64 {
    let shift = (bucket / STEPS).saturating_sub(1);
    (((bucket - shift * STEPS + 1) as u64) << shift) - 1
}

const STEP_BITS: u32 = 7;
const STEPS: usize = 1 << STEP_BITS;
/// 69 s: no call of a bounded run takes longer.
const LIMIT_NANOS: u64 = 1 << 36;
const BUCKETS: usize = (36 - STEP_BITS as usize + 1) * STEPS;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BUCKETS, Histogram, bucket, count, highest_of, record, snapshot};

    fn histogram(latencies: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram {
            buckets: vec![0; BUCKETS],
            untimed: 0,
        };
        for nanos in latencies {
            histogram.buckets[bucket(nanos)] += 1;
        }
        histogram
    }

    #[test]
    fn buckets_are_contiguous_and_hold_what_they_say() {
        for at in 0..BUCKETS {
            assert_eq!(bucket(highest_of(at)), at);
            if at + 1 < BUCKETS {
                assert_eq!(bucket(highest_of(at) + 1), at + 1);
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_right_within_one_bucket() {
        let histogram = histogram((1..=10_000).map(|micros| micros * 1_000));
        for (fraction, micros) in [(0.5, 5_000.0), (0.99, 9_900.0), (0.999, 9_990.0)] {
            let found = histogram.percentile(fraction).unwrap().as_secs_f64() * 1e6;
            assert!(
                (found / micros - 1.0).abs() < 0.008,
                "{fraction}: {found} us"
            );
        }
    }

    #[test]
    fn nothing_timed_has_no_percentile() {
        assert_eq!(histogram([]).percentile(0.5), None);
    }

    #[test]
    fn an_interval_is_the_difference_of_two_snapshots() {
        record(Duration::from_micros(1), 5);
        let before = snapshot();
        record(Duration::from_micros(50), 3);
        count(4);
        let interval = snapshot().since(&before);
        assert_eq!(interval.calls(), 7);
        let p50 = interval.percentile(0.5).unwrap();
        assert!(p50 >= Duration::from_micros(50) && p50 < Duration::from_nanos(50_500));
    }
}
