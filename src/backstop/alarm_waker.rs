//! The slot for the waker of an alarm.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

/// Holds the waker of the task that waits for an alarm, so that the thread can wake it.
#[derive(Debug)]
pub(super) struct AlarmWaker(Mutex<Option<Waker>>);

impl AlarmWaker {
    pub(super) fn new(waker: Waker) -> Self {
        Self(Mutex::new(Some(waker)))
    }

    pub(super) fn set(&self, waker: Waker) {
        *self.lock() = Some(waker);
    }

    /// Takes the waker, so that the caller wakes it without the lock.
    pub(super) fn take(&self) -> Option<Waker> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
