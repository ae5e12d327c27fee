//! Limits how often a warning is logged, so that many clients cannot flood the log.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, time::sleep_until};

use crate::clock;

/// A warning of one kind is logged at most once in this time, with the number of its occurrences, unless its
/// limiter has another interval.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts the occurrences of one warning. Clones share the count.
#[derive(Debug, Clone)]
pub(crate) struct LogLimiter(Arc<LimiterState>);

#[derive(Debug)]
struct LimiterState {
    interval: Duration,
    count: Mutex<Count>,
}

#[derive(Debug, Default)]
struct Count {
    logged: Option<Instant>,
    /// Occurrences since the last log line.
    since: u64,
    /// Whether a task will log them when the interval is over.
    has_task: bool,
}

impl LogLimiter {
    /// A limiter that logs at most once in this time.
    pub(crate) fn every(interval: Duration) -> Self {
        let count = Mutex::default();
        Self(Arc::new(LimiterState { interval, count }))
    }

    /// Counts an occurrence. It is logged now, with the number since the last line; or at the end of the
    /// interval, with those that follow until then.
    pub(crate) fn add(&self, log: impl FnOnce(u64) + Send + 'static) {
        self.add_with(|| log);
    }

    /// Counts an occurrence, as [`add`](Self::add) does. `make` is called only if its line will be logged, so
    /// that most of many occurrences copy nothing.
    pub(crate) fn add_with<F>(&self, make: impl FnOnce() -> F)
    where
        F: FnOnce(u64) + Send + 'static,
    {
        let now = clock::now();
        let mut state = self.0.lock();
        state.since += 1;
        let end = state
            .logged
            .map(|at| at + self.0.interval)
            .filter(|end| *end > now);
        let Some(end) = end else {
            state.logged = Some(now);
            let count = mem::take(&mut state.since);
            drop(state);
            return make()(count);
        };
        // Outside of a runtime there is no task; the next occurrence logs this one too.
        if !state.has_task
            && let Ok(runtime) = Handle::try_current()
        {
            state.has_task = true;
            drop(state);
            let delayed = DelayedLog {
                limiter: self.0.clone(),
                log: Some(make()),
            };
            runtime.spawn(async move {
                sleep_until(end.into()).await;
                drop(delayed);
            });
        }
    }
}

impl Default for LogLimiter {
    fn default() -> Self {
        Self::every(INTERVAL)
    }
}

impl LimiterState {
    fn lock(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A log line that waits for the end of its interval. Its drop writes it: at the end of the interval, or
/// when the runtime ends.
struct DelayedLog<F: FnOnce(u64)> {
    limiter: Arc<LimiterState>,
    log: Option<F>,
}

impl<F: FnOnce(u64)> Drop for DelayedLog<F> {
    fn drop(&mut self) {
        let mut state = self.limiter.lock();
        state.has_task = false;
        let count = mem::take(&mut state.since);
        if count > 0 {
            state.logged = Some(clock::now());
        }
        drop(state);
        if let Some(log) = self.log.take()
            && count > 0
        {
            log(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        mem,
        sync::{Arc, Mutex},
    };

    use tokio::time::sleep;

    use super::{INTERVAL, LogLimiter};

    /// A limiter, and the counts that were logged.
    #[derive(Default)]
    struct Counted(LogLimiter, Arc<Mutex<Vec<u64>>>);

    impl Counted {
        fn add(&self, times: usize) {
            for _ in 0..times {
                let counts = self.1.clone();
                self.0.add(move |count| counts.lock().unwrap().push(count));
            }
        }

        fn counts(&self) -> Vec<u64> {
            mem::take(&mut self.1.lock().unwrap())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_warning_comes_once_a_second_with_its_count_and_none_is_left_out() {
        let counted = Counted::default();
        counted.add(8);
        assert_eq!(counted.counts(), [1]);
        sleep(INTERVAL / 2).await;
        counted.add(3);
        assert_eq!(counted.counts(), []);
        sleep(INTERVAL).await;
        assert_eq!(counted.counts(), [10]);
        // The delayed line starts an interval too.
        counted.add(1);
        assert_eq!(counted.counts(), []);
        sleep(5 * INTERVAL).await;
        assert_eq!(counted.counts(), [1]);
        counted.add(1);
        assert_eq!(counted.counts(), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_is_not_logged_is_not_made() {
        let limiter = LogLimiter::every(60 * INTERVAL);
        let made = Arc::new(Mutex::new(0));
        for _ in 0..5 {
            limiter.add_with(|| {
                *made.lock().unwrap() += 1;
                |_| {}
            });
        }
        assert_eq!(*made.lock().unwrap(), 2, "one now, and one for the others");
        sleep(59 * INTERVAL).await;
        limiter.add_with(|| |_| panic!("the delayed line counts it"));
        sleep(INTERVAL).await;
    }

    #[test]
    fn what_is_left_is_told_at_the_end_of_the_runtime() {
        let counted = Counted::default();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().unwrap();
        runtime.block_on(async { counted.add(4) });
        assert_eq!(counted.counts(), [1]);
        drop(runtime);
        assert_eq!(counted.counts(), [3]);
    }
}
