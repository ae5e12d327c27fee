//! The waits between the tries of a peer to connect.

use std::time::Duration;

use wawo_protocol::time::FOREVER;

/// The waits between the tries of one peer to connect, by the settings of a
/// [`Reconnect`](crate::Reconnect): it is what [`Reconnect::backoff`](crate::Reconnect::backoff) returns.
///
/// A wait is random between 0 and a bound (*full jitter*). The bound begins with `first_wait`, and doubles
/// with each wait, up to `max_wait`. It begins anew only after a connection that lasted for `stable_after`.
///
/// It has no clock and no random numbers of its own, so that a simulation of many clients can drive it.
///
/// ```
/// # use std::time::Duration;
/// let mut backoff = wawo::Reconnect::default().backoff();
/// // A number that is random between 0 and `u64::MAX`; here it is in the middle.
/// let random = u64::MAX / 2 + 1;
/// let waits: Vec<_> = (0..3).map(|_| backoff.next_wait(random)).collect();
/// assert_eq!(waits, [500, 1_000, 2_000].map(Duration::from_millis));
/// ```
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    stable_after: Duration,
    /// The bound of the next wait.
    bound: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, max: Duration, stable_after: Duration) -> Self {
        let (first, max) = (first.min(FOREVER), max.min(FOREVER));
        Self {
            first,
            max,
            stable_after,
            bound: first,
        }
    }

    // Waits that grow by a quarter, random between half of their bound and the whole, have a lower peak after
    // an outage of seconds, but clients then dial twice as often in an outage of a minute.

    /// The wait before the next try. `random` is a random number of which all values of `u64` are equally
    /// likely. Waits of more than thirty years count as that.
    pub fn next_wait(&mut self, random: u64) -> Duration {
        let bound = self.bound;
        self.bound = bound.saturating_mul(2).min(self.max);
        part(bound, random)
    }

    /// The upper bound of the next wait.
    pub fn bound(&self) -> Duration {
        self.bound
    }

    /// Records that a connection has ended, which had lasted for this time after its handshake. If that
    /// is long enough, the waits begin anew. Returns whether it is.
    pub fn connection_ended(&mut self, lasted: Duration) -> bool {
        let is_stable = lasted >= self.stable_after;
        if is_stable {
            self.start_over();
        }
        is_stable
    }

    /// Lets the waits begin anew.
    pub fn start_over(&mut self) {
        self.bound = self.first;
    }
}

/// A random part of a time, which is at most [`FOREVER`]: `random` is a number between 0 and `u64::MAX`.
pub(super) fn part(time: Duration, random: u64) -> Duration {
    // The time has at most 60 bits of nanoseconds, so the product fits, and so does the part.
    let nanos = (time.as_nanos() * u128::from(random)) >> u64::BITS;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, FOREVER};

    const SECOND: Duration = Duration::from_secs(1);

    fn backoff() -> Backoff {
        Backoff::new(SECOND, 30 * SECOND, 10 * SECOND)
    }

    fn bounds(backoff: &mut Backoff, waits: usize) -> Vec<u64> {
        let bounds = (0..waits).map(|_| {
            let bound = backoff.bound();
            assert_eq!(backoff.next_wait(0), Duration::ZERO);
            bound.as_secs()
        });
        bounds.collect()
    }

    #[test]
    fn bounds_double_up_to_the_greatest() {
        assert_eq!(bounds(&mut backoff(), 8), [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn a_wait_is_random_below_its_bound() {
        for (random, wait) in [
            (0, Duration::ZERO),
            (1 << 63, SECOND / 2),
            (1 << 62, SECOND / 4),
            (u64::MAX, SECOND - Duration::from_nanos(1)),
        ] {
            assert_eq!(backoff().next_wait(random), wait);
        }
    }

    #[test]
    fn waits_begin_anew_only_after_a_stable_connection() {
        let mut backoff = backoff();
        assert_eq!(bounds(&mut backoff, 3), [1, 2, 4]);
        backoff.connection_ended(10 * SECOND - Duration::from_nanos(1));
        assert_eq!(bounds(&mut backoff, 1), [8]);
        backoff.connection_ended(10 * SECOND);
        assert_eq!(bounds(&mut backoff, 2), [1, 2]);
        backoff.start_over();
        assert_eq!(bounds(&mut backoff, 1), [1]);
    }

    #[test]
    fn the_shortest_and_the_longest_settings_behave() {
        let ms = Duration::from_millis(1);
        let mut shortest = Backoff::new(ms, ms, Duration::ZERO);
        for _ in 0..100 {
            assert!(shortest.next_wait(u64::MAX) < ms);
        }
        let mut growing = Backoff::new(ms, Duration::MAX, Duration::MAX);
        for _ in 0..200 {
            assert!(growing.next_wait(u64::MAX) < FOREVER);
        }
        assert_eq!(growing.bound(), FOREVER);
        let mut longest = Backoff::new(Duration::MAX, Duration::MAX, Duration::MAX);
        longest.connection_ended(Duration::MAX);
        assert!(longest.next_wait(u64::MAX) < FOREVER);
    }
}
