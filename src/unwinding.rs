//! Whether a value is dropped because of a panic of the application.
//!
//! While a thread unwinds, `thread::panicking` says so. But a panic of a handler or a stream is caught
//! before its values are dropped, so the code that catches it says so here.

use std::{cell::Cell, thread};

thread_local! {
    static DROPS_BROKEN: Cell<bool> = const { Cell::new(false) };
}

/// Runs a function that drops the values of code that has panicked.
pub(crate) fn drop_broken<R>(drop: impl FnOnce() -> R) -> R {
    let _reset = Reset(DROPS_BROKEN.replace(true));
    drop()
}

/// Whether the value that is being dropped was left by a panic.
pub(crate) fn is_unwinding() -> bool {
    thread::panicking() || DROPS_BROKEN.get()
}

struct Reset(bool);

impl Drop for Reset {
    fn drop(&mut self) {
        DROPS_BROKEN.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::{drop_broken, is_unwinding};

    #[test]
    fn only_values_that_a_panic_left_are_dropped_by_it() {
        assert!(!is_unwinding());
        assert!(drop_broken(|| drop_broken(is_unwinding) && is_unwinding()));
        assert!(!is_unwinding());
    }
}
