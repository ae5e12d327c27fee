//! Wakes another thread of a runtime before this thread is busy for long.
//!
//! Of the idle threads of a tokio runtime, one waits for I/O and the others sleep. The one that I/O wakes
//! does not wake another for a single task that became ready. So while it runs that task, no thread waits
//! for I/O, and *all* connections of the runtime stand still, though all but one of its threads are idle.
//! A second ready task wakes another thread, which waits for I/O when it has nothing else to do.

use tokio::runtime::{Handle, RuntimeFlavor};

/// A message longer than this many bytes may take a millisecond or more to decode, if its elements are
/// tiny.
pub(crate) const LARGE_BYTES: usize = 64 * 1024;

/// Wakes another thread of the current runtime, for its other tasks and I/O. Returns `false` if it has no
/// other thread: then long work holds up all of its tasks.
pub(crate) fn wake_io() -> bool {
    let Ok(runtime) = Handle::try_current() else {
        // Outside of a runtime, the thread is the caller's own.
        return true;
    };
    let has_others = runtime.runtime_flavor() == RuntimeFlavor::MultiThread
        && runtime.metrics().num_workers() > 1;
    if has_others {
        // The first task is kept for this thread to run next, which wakes no other thread. When the
        // second task takes its place, there is a task for another thread, which is woken.
        runtime.spawn(async {});
        runtime.spawn(async {});
    }
    has_others
}

/// Wakes another thread before a message is decoded, if the message is large.
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
