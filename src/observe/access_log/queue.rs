//! The lines on their way from the calls to the thread that writes them, bounded in bytes.

use std::{
    io, mem,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::metrics::Metrics;

/// After a batch was written, the thread waits this long for more lines, so that it is woken at most 20
/// times a second, and a busy log is written in large batches.
const LINGER: Duration = Duration::from_millis(50);

/// The thread does not linger while this many bytes wait.
const LARGE_BYTES: usize = 32 * 1024;

/// If the thread cannot be started, it is tried again after this time.
const START_PAUSE: Duration = Duration::from_secs(10);

/// An empty buffer keeps at most this many bytes for the next lines.
const KEPT_BYTES: usize = 64 * 1024;

/// The file or pipe that lines are written to.
pub(super) type Sink = Box<dyn io::Write + Send>;

/// The queue of lines.
pub(super) struct LineQueue {
    state: Mutex<QueueState>,
    /// Notified when the thread has to look at the queue.
    due: Condvar,
    /// Notified when lines were written, and when the thread ends.
    progress: Condvar,
    /// The lines that were dropped so far.
    dropped: AtomicU64,
}

struct QueueState {
    /// Until the thread starts.
    sink: Option<Sink>,
    has_thread: bool,
    /// The last time at which the thread could not be started.
    failed_start: Option<Instant>,
    pending: Batch,
    /// The bytes of the batch that is being written.
    writing: usize,
    /// The lines that were ever queued, and those of them that were written or lost.
    queued: u64,
    finished: u64,
    /// Bytes at which the thread has to be woken.
    wake_at: usize,
    is_due: bool,
    is_closed: bool,
    /// They count dropped lines too.
    metrics: Option<Metrics>,
}

/// Whole lines that are written together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
    /// Lines that were dropped before these, and that the log does not mention yet.
    pub(super) unreported: u64,
}

impl LineQueue {
    pub(super) fn new(sink: Sink) -> Self {
        Self {
            state: Mutex::new(QueueState {
                sink: Some(sink),
                has_thread: false,
                failed_start: None,
                pending: Batch::default(),
                writing: 0,
                queued: 0,
                finished: 0,
                wake_at: 1,
                is_due: false,
                is_closed: false,
                metrics: None,
            }),
            due: Condvar::new(),
            progress: Condvar::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Adds a line, or drops and counts it if more than `max_bytes` would wait then. The first line starts
    /// the thread by `start`, which returns whether it runs.
    pub(super) fn push(&self, line: &[u8], max_bytes: usize, start: impl FnOnce() -> bool) {
        let mut state = self.lock();
        if !state.has_thread {
            state.start(start);
        }
        if state.pending.bytes.len() + state.writing + line.len() > max_bytes {
            return self.count_dropped(&mut state, 1);
        }
        state.pending.bytes.extend_from_slice(line);
        state.pending.lines += 1;
        state.queued += 1;
        if state.pending.bytes.len() >= state.wake_at {
            self.wake(state);
        }
    }

    /// Lets metrics count the lines that are dropped from now on.
    pub(super) fn set_metrics(&self, metrics: &Metrics) {
        self.lock().metrics = Some(metrics.clone());
    }

    /// The number of lines that were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits at most this long until all lines that are in the queue now were written or lost. Returns
    /// whether they were.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let state = self.lock();
        let queued = state.queued;
        match state.finished < queued {
            true => self.wake(state),
            false => return true,
        }
        self.wait(timeout, |state| state.finished >= queued)
    }

    /// Ends the thread when it has written all lines, and waits for that at most this long.
    pub(super) fn close(&self, timeout: Duration) {
        let mut state = self.lock();
        state.is_closed = true;
        self.wake(state);
        self.wait(timeout, |state| !state.has_thread);
    }

    /// Takes what the lines are written to, for the thread that begins.
    pub(super) fn take_sink(&self) -> Option<Sink> {
        self.lock().sink.take()
    }

    /// Waits for lines and puts them into `batch`, which is empty. Returns `false` when the log is closed and
    /// all lines are written; there may be dropped ones to report all the same.
    pub(super) fn take(&self, batch: &mut Batch) -> bool {
        let mut state = self.linger();
        state.wake_at = 1;
        shrink(&mut state.pending.bytes);
        shrink(&mut batch.bytes);
        let idle = |state: &mut QueueState| state.pending.bytes.is_empty() && !state.is_closed;
        let waited = self.due.wait_while(state, idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.wake_at = usize::MAX;
        state.is_due = false;
        mem::swap(&mut state.pending, batch);
        state.writing = batch.bytes.len();
        batch.lines > 0
    }

    /// Counts the lines of a batch as finished, of which some were lost, and clears it. Those that it has not
    /// reported wait for the next batch.
    pub(super) fn finish(&self, batch: &mut Batch, lost: u64) {
        let mut state = self.lock();
        state.writing = 0;
        state.finished += batch.lines;
        state.pending.unreported += batch.unreported;
        if lost > 0 {
            self.count_dropped(&mut state, lost);
        }
        drop(state);
        batch.bytes.clear();
        (batch.lines, batch.unreported) = (0, 0);
        self.progress.notify_all();
    }

    /// Says that the thread has ended.
    pub(super) fn end(&self) {
        self.lock().has_thread = false;
        self.progress.notify_all();
    }

    /// Waits for more lines, unless many wait already.
    fn linger(&self) -> MutexGuard<'_, QueueState> {
        let mut state = self.lock();
        if state.finished == 0 {
            return state;
        }
        state.wake_at = LARGE_BYTES;
        let few = |state: &mut QueueState| {
            !state.is_due && !state.is_closed && state.pending.bytes.len() < LARGE_BYTES
        };
        let waited = self.due.wait_timeout_while(state, LINGER, few);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn count_dropped(&self, state: &mut QueueState, lines: u64) {
        state.pending.unreported += lines;
        self.dropped.fetch_add(lines, Ordering::Relaxed);
        if let Some(metrics) = &state.metrics {
            metrics.log_dropped(lines);
        }
    }

    fn wake(&self, mut state: MutexGuard<'_, QueueState>) {
        state.wake_at = usize::MAX;
        state.is_due = true;
        drop(state);
        self.due.notify_one();
    }

    fn wait(&self, timeout: Duration, is_over: impl Fn(&QueueState) -> bool) -> bool {
        let until = Instant::now().checked_add(timeout);
        let mut state = self.lock();
        while !is_over(&state) {
            let left = until.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            // Without an end it waits for ever, an hour at a time.
            let left = left.unwrap_or(Duration::from_secs(3_600));
            let waited = self.progress.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    fn start(&mut self, start: impl FnOnce() -> bool) {
        let is_early = |at: Instant| at.elapsed() < START_PAUSE;
        if self.failed_start.is_some_and(is_early) {
            return;
        }
        self.has_thread = start();
        self.failed_start = (!self.has_thread).then(Instant::now);
    }
}

fn shrink(empty: &mut Vec<u8>) {
    if empty.is_empty() {
        empty.shrink_to(KEPT_BYTES);
    }
}
