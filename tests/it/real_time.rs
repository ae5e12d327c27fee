//! Helpers for tests of blocked threads, which use real time and their own runtimes.

use std::{
    sync::{Condvar, Mutex, mpsc},
    thread,
    time::Duration,
};

use tokio::runtime::{Builder, Runtime};

/// Long enough for any machine: a test that takes this long has failed.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(60);

/// Runs a test in its own thread, so that a test that hangs fails.
pub(crate) fn ends<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || done.send(test()));
    ended.recv_timeout(FOR_EVER).expect("it ends")
}

pub(crate) fn threads(count: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(count).enable_all().build().unwrap()
}

pub(crate) fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Blocks threads until it is opened, once, by any thread.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<bool>, Condvar);

impl Gate {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(false), Condvar::new())
    }

    pub(crate) fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    pub(crate) fn wait(&self) {
        let closed = self.0.lock().unwrap();
        let wait = self.1.wait_timeout_while(closed, FOR_EVER, |open| !*open);
        assert!(!wait.unwrap().1.timed_out(), "nobody opened the gate");
    }
}
