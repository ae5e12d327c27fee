//! Wakes another thread of a runtime before this one is busy for long.
//!
//! Of the threads of a tokio runtime that have nothing to do, one waits for I/O and the others
//! sleep. The one that I/O wakes does not wake another for a single task that became ready: so
//! while it works on that, nobody looks for I/O, and *all* connections of the runtime stand still,
//! though all but one of its threads are idle. A second task that is ready wakes another thread,
//! which looks for I/O when it has nothing else to do.

use tokio::runtime::{Handle, RuntimeFlavor};

/// A longer message may take a millisecond and more to decode, if its elements are tiny: 64 KiB.
pub(crate) const LARGE_BYTES: usize = 64 * 1024;

/// Wakes another thread of the current runtime, for what else there is to do. `false` if it has
/// none: whatever takes long holds up all of its tasks.
pub(crate) fn wake_io() -> bool {
    let Ok(runtime) = Handle::try_current() else {
        // The thread is the caller's own.
        return true;
    };
    let has_others = runtime.runtime_flavor() == RuntimeFlavor::MultiThread
        && runtime.metrics().num_workers() > 1;
    if has_others {
        // The first is kept for this thread to run next, and is no reason to wake another. It is
        // only when the second takes its place that there is something for others to do.
        runtime.spawn(async {});
        runtime.spawn(async {});
    }
    has_others
}

/// The same before a message is decoded, if it is large.
pub(crate) fn before_decoding(bytes: usize) {
    if bytes > LARGE_BYTES {
        wake_io();
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::wake_io;

    #[test]
    fn a_runtime_of_one_thread_has_no_other_to_wake() {
        assert!(wake_io(), "there is no runtime to be held up");
        let one = Builder::new_current_thread().build().unwrap();
        assert!(!one.block_on(async { wake_io() }));
        let one = Builder::new_multi_thread().worker_threads(1).build();
        assert!(!one.unwrap().block_on(async { wake_io() }));
        let two = Builder::new_multi_thread().worker_threads(2).build();
        assert!(two.unwrap().block_on(async { wake_io() }));
    }
}
