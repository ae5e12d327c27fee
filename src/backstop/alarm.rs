//! Timers that need no runtime.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use tokio::{
    runtime::Handle,
    time::{Sleep, sleep_until},
};

use crate::{
    backstop::{BACKSTOP, QueueEntry, alarm_waker::AlarmWaker},
    clock::Clock,
};

/// A timer, which works inside and outside of runtimes.
#[derive(Debug)]
pub(crate) enum Timer {
    /// A timer of the backstop's thread. It fires even where a runtime cannot.
    Alarm(Alarm),
    /// A timer of the current runtime. It is cheaper, and follows the runtime's clock, which tests may
    /// pause.
    Sleep(Pin<Box<Sleep>>),
}

impl Timer {
    /// A timer that fires even if the current runtime is stuck, or has no timers. If the clock is paused
    /// later, that does not delay it.
    pub(crate) fn independent(at: Instant) -> Self {
        match Clock::current().real_now() {
            Some(_) => Self::Alarm(Alarm::new(at)),
            None => Self::Sleep(Box::pin(sleep_until(at.into()))),
        }
    }

    /// A timer of the current runtime, if there is one.
    pub(crate) fn new(at: Instant) -> Self {
        match Handle::try_current() {
            Ok(_) => Self::Sleep(Box::pin(sleep_until(at.into()))),
            Err(_) => Self::Alarm(Alarm::new(at)),
        }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self {
            Self::Alarm(alarm) => Pin::new(alarm).poll(cx),
            Self::Sleep(sleep) => sleep.as_mut().poll(cx),
        }
    }
}

/// The output of a future, if it resolves before a time. It needs no runtime.
pub(crate) async fn timeout_at<F: Future + Unpin>(at: Instant, mut future: F) -> Option<F::Output> {
    let mut timer = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(cx) {
            return Poll::Ready(Some(output));
        }
        let timer = timer.get_or_insert_with(|| Timer::independent(at));
        Pin::new(timer).poll(cx).map(|()| None)
    })
    .await
}

/// Resolves at a time. The backstop's thread knows it only while it waits.
#[derive(Debug)]
pub(crate) struct Alarm {
    at: Instant,
    /// The entry in the thread's queue, once it has been polled.
    entry: Option<AlarmEntry>,
}

#[derive(Debug)]
struct AlarmEntry {
    key: (Instant, u64),
    waker: Arc<AlarmWaker>,
}

impl Alarm {
    fn new(at: Instant) -> Self {
        Self { at, entry: None }
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // The waker is set before the time is checked. Otherwise the thread could take the waker in between
        // and wake nobody.
        match &self.entry {
            Some(entry) => entry.waker.set(cx.waker().clone()),
            None if self.at <= Instant::now() => {}
            None => {
                let waker = Arc::new(AlarmWaker::new(cx.waker().clone()));
                let key = BACKSTOP.add(self.at, QueueEntry::Wake(waker.clone()));
                self.entry = Some(AlarmEntry { key, waker });
            }
        }
        match self.at <= Instant::now() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(entry) = &self.entry {
            let taken = BACKSTOP.lock().later.remove(&entry.key);
            // The waker is foreign code, so it is dropped without the lock.
            drop(taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use futures::executor::block_on;

    use super::{BACKSTOP, Timer};

    #[test]
    fn a_timer_fires_without_a_runtime_and_not_too_early() {
        for timer in [Timer::new, Timer::independent] {
            let at = Instant::now() + Duration::from_millis(30);
            block_on(timer(at));
            assert!(Instant::now() >= at);
            block_on(timer(at));
        }
    }

    #[test]
    fn a_timer_that_is_dropped_leaves_nothing() {
        let far = Instant::now() + Duration::from_secs(1_000_000);
        let mut timer = Box::pin(Timer::independent(far));
        assert!(block_on(async { futures::poll!(timer.as_mut()) }).is_pending());
        let is_there = || BACKSTOP.lock().later.keys().any(|(at, _)| *at == far);
        assert!(is_there());
        drop(timer);
        assert!(!is_there());
    }

    #[tokio::test(start_paused = true)]
    async fn under_a_paused_clock_time_is_that_of_the_clock() {
        let at = tokio::time::Instant::now() + Duration::from_secs(3_600);
        Timer::independent(at.into_std()).await;
        Timer::new(at.into_std()).await;
        assert!(tokio::time::Instant::now() >= at);
    }
}
