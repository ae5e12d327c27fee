//! A timer that wakes a task at a time that changes often.

use std::{pin::Pin, task::Context, time::Instant};

use tokio::time::{Sleep, sleep_until};

/// Wakes a task at its next timeout. It is only ever set to an earlier time, because most timeouts move to
/// a later time before they come. If it fires too early, it is set anew.
#[derive(Debug, Default)]
pub(crate) struct TaskTimer {
    /// Made when it is first set, in the runtime of the task.
    sleep: Option<Pin<Box<Sleep>>>,
    /// The time when it fires, if it is set.
    at: Option<Instant>,
}

impl TaskTimer {
    /// Sets the timer to fire at `next` or before, and returns whether it has fired.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with timers, if there is a next time.
    pub(crate) fn is_due(&mut self, next: Option<Instant>, cx: &mut Context<'_>) -> bool {
        let Some(next) = next else {
            return false;
        };
        let make = || Box::pin(sleep_until(next.into()));
        let sleep = self.sleep.get_or_insert_with(make);
        if self.at.is_none_or(|at| next < at) {
            sleep.as_mut().reset(next.into());
            self.at = Some(next);
        }
        let has_fired = sleep.as_mut().poll(cx).is_ready();
        if has_fired {
            self.at = None;
        }
        has_fired
    }
}
