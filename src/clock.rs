//! The clock of deadlines, and whether it counts in real time.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;

/// How much before its deadline a call of a connection, or a stream of replies, may be dropped because of
/// that deadline. A caller that has waited in vain cancels the call. Its clock began before this side's
/// by the time that the call took to come, and its cancel takes as long. The difference is the jitter of
/// the network, the rounding to milliseconds, and the steps of 5 ms in which connections look at their
/// deadlines.
pub(crate) const DEADLINE_TOLERANCE: Duration = Duration::from_millis(10);

/// The time of the current runtime's clock, which tests may pause; real time outside of runtimes.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Whether a time has passed; made for `drop`. In a thread that ends there may be no clock any more; then
/// it returns `false`.
pub(crate) fn has_passed(at: Instant) -> bool {
    !has_ended() && at <= now()
}

/// As [`now`], for `drop`. In a thread that ends there may be no clock any more; then it is the real time.
pub(crate) fn now_in_drop() -> Instant {
    match has_ended() {
        true => Instant::now(),
        false => now(),
    }
}

/// Whether the clock of the current thread is gone, because the thread ends.
fn has_ended() -> bool {
    let current = Handle::try_current();
    current.is_err_and(|error| error.is_thread_local_destroyed())
}

/// The clock of a runtime; the real clock if there is no runtime.
///
/// Tests pause the clock of a runtime, or let it jump. Deadlines follow that clock then, so that the real
/// time must not end a call.
#[derive(Debug, Clone)]
pub(crate) struct Clock(Option<Handle>);

impl Clock {
    /// The clock of the current runtime.
    pub(crate) fn current() -> Self {
        Self(Handle::try_current().ok())
    }

    /// The time, if the clock is real. It may be called in any thread.
    pub(crate) fn real_now(&self) -> Option<Instant> {
        let _entered = self.0.as_ref().map(Handle::enter);
        // A clock that is or was paused is behind or ahead of the real one.
        let before = Instant::now();
        let now = now();
        let after = Instant::now();
        (before <= now && now <= after).then_some(now)
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::Clock;

    #[test]
    fn there_is_real_time_outside_of_runtimes_and_in_them() {
        assert!(Clock::current().real_now().is_some());
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap();
        let clock = runtime.block_on(async { Clock::current() });
        assert!(clock.real_now().is_some());
    }

    #[tokio::test]
    async fn a_clock_that_is_paused_later_is_not_real_in_any_thread() {
        let clock = Clock::current();
        assert!(clock.real_now().is_some());
        tokio::time::pause();
        let elsewhere = thread::spawn(move || clock.real_now()).join().unwrap();
        assert_eq!(elsewhere, None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(Clock::current().real_now(), None);
        tokio::time::resume();
        assert_eq!(Clock::current().real_now(), None);
    }
}
