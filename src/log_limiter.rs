//! Limits how often a warning is logged, so that many clients cannot flood the log.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, time::sleep_until};

use crate::clock;

/// A warning of one kind is logged at most once in this time, with the number of its occurrences.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts the occurrences of one warning.
#[derive(Debug, Default)]
pub(crate) struct LogLimiter(Arc<LimiterState>);

#[derive(Debug, Default)]
struct LimiterState(Mutex<Count>);

#[derive(Debug, Default)]
struct Count {
    logged: Option<Instant>,
    /// Occurrences since the last log line.
    since: u64,
    /// Whether a task will log them when the interval is over.
    has_task: bool,
}

impl LogLimiter {
    /// Counts an occurrence. It is logged now, with the number since the last line; or at the end of the
    /// interval, with those that follow until then.
    pub(crate) fn add(&self, log: impl FnOnce(u64) + Send + 'static) {
        let now = clock::now();
        let mut state = self.0.lock();
        state.since += 1;
        let end = state
            .logged
            .map(|at| at + INTERVAL)
            .filter(|end| *end > now);
        let Some(end) = end else {
            state.logged = Some(now);
            let count = mem::take(&mut state.since);
            drop(state);
            return log(count);
        };
        // Outside of a runtime there is no task; the next occurrence logs this one too.
        if !state.has_task
            && let Ok(runtime) = Handle::try_current()
        {
            state.has_task = true;
            let delayed = DelayedLog {
                limiter: self.0.clone(),
                log: Some(log),
            };
            drop(state);
            runtime.spawn(async move {
                sleep_until(end.into()).await;
                drop(delayed);
            });
        }
    }
}

impl LimiterState {
    fn lock(&self) -> MutexGuard<'_, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
