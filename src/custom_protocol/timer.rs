//! A timer that wakes a task at a time that changes often.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::time::{Sleep, sleep_until};

/// A timer that is only ever set to an earlier time. If it fires too early, it is set anew.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    /// Made at the first poll, since it needs a runtime.
    sleep: Option<Pin<Box<Sleep>>>,
    /// The time when it fires, if it is set.
    at: Option<Instant>,
}

impl Timer {
    /// Ready when the timer fires, at `next` or at an earlier time that it was set to.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, next: Instant) -> Poll<()> {
        let is_earlier = self.at.is_none_or(|at| next < at);
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(next.into())));
        if is_earlier {
            sleep.as_mut().reset(next.into());
            self.at = Some(next);
        }
        let fired = sleep.as_mut().poll(cx);
        if fired.is_ready() {
            self.at = None;
        }
        fired
    }
}
