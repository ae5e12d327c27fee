//! The timer of a connection.

use std::{
    pin::Pin,
    task::Context,
    time::{Duration, Instant},
};

use tokio::time::Sleep;

/// Wakes the task of a connection at its next timeout. It is only ever set to an earlier time, because
/// most timeouts move to a later time before they come. If it fires too early, it is set anew.
#[derive(Debug)]
pub(super) struct ConnectionTimer {
    sleep: Pin<Box<Sleep>>,
    /// The time when it fires, if it is set.
    at: Option<Instant>,
}

impl ConnectionTimer {
    /// A timer of the current runtime, not set yet.
    pub(super) fn new() -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            at: None,
        }
    }

    /// Sets the timer to fire at `next` or before, and returns whether it has fired.
    pub(super) fn is_due(&mut self, next: Option<Instant>, cx: &mut Context<'_>) -> bool {
        let Some(next) = next else {
            return false;
        };
        if self.at.is_none_or(|at| next < at) {
            self.sleep.as_mut().reset(next.into());
            self.at = Some(next);
        }
        let fired = self.sleep.as_mut().poll(cx).is_ready();
        if fired {
            self.at = None;
        }
        fired
    }
}
