//! Shows the end of a call by its deadline to the layers around it.
//!
//! A call whose deadline has passed is dropped. A layer that counts or logs outcomes cannot tell this
//! from other drops. So the owner of the call polls it a last time before it drops it, in a [`scope`]:
//!
//! ```text
//!   owner of the call     polls its reply, or its stream of replies, in the scope
//!   layers                are polled as ever, and get `DeadlineExceeded` from what is inside of them
//!   innermost future,     if it still waits in the scope, ends with `DeadlineExceeded`, and lets go
//!   or stream             of what it waited for
//!   handler               is not polled any more, but dropped
//! ```
//!
//! A call that ends in time costs one look at a flag of its thread.

use std::cell::Cell;

use crate::status::Status;

thread_local! {
    static IS_EXPIRING: Cell<bool> = const { Cell::new(false) };
}

/// Runs a function that polls a call whose deadline has passed.
pub(crate) fn scope<R>(function: impl FnOnce() -> R) -> R {
    let _reset = Reset(IS_EXPIRING.replace(true));
    function()
}

/// Whether the call that is polled in this thread is polled for the last time.
#[inline]
pub(crate) fn is_expiring() -> bool {
    IS_EXPIRING.get()
}

/// The status that layers get.
#[cold]
pub(crate) fn status() -> Status {
    Status::deadline_exceeded("the deadline passed before the call ended")
}

/// Takes the thread out of the scope, even if the poll panics.
struct Reset(bool);

impl Drop for Reset {
    fn drop(&mut self) {
        IS_EXPIRING.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::{is_expiring, scope};

    #[test]
    fn a_scope_ends_where_it_began_also_by_a_panic() {
        assert!(!is_expiring());
        scope(|| {
            scope(|| assert!(is_expiring()));
            assert!(is_expiring());
        });
        assert!(!is_expiring());
        let panicking = AssertUnwindSafe(|| scope(|| panic!("as asked")));
        assert!(catch_unwind(panicking).is_err());
        assert!(!is_expiring());
    }
}
