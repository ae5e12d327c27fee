//! A log of calls: a line for each, written by a thread of its own.
//!
//! ```text
//!   a call ends ──► AccessLog (failed, slow, or one in n?) ──► fields, line ──► queue ─ ─► writer ──► io::Write
//! ```
//!
//! The thread in which a call ends formats the line and leaves it in the queue. It never waits: if the
//! queue is full, the line is dropped and counted.

mod digits;
mod escape;
mod fields;
mod line;
mod queue;
mod sampler;
#[cfg(test)]
mod tests;
mod timestamp;
mod writer;

use std::{
    cell::Cell,
    fmt, io,
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, SystemTime},
};

use wawo_protocol::Code;

use crate::{
    metrics::Metrics,
    observe::{
        access_log::{
            fields::{AllowedKey, Fields, PrintIdentity},
            line::Form,
            queue::LineQueue,
            sampler::Sampler,
        },
        call::{CallSummary, ObservedCall},
        hook::{Observe, Wants},
    },
};

/// Calls that take at least this long are logged always.
const DEFAULT_SLOW: Duration = Duration::from_secs(1);

const DEFAULT_PENDING_BYTES: usize = 1024 * 1024;
const PENDING_BYTES: RangeInclusive<usize> = 64 * 1024..=1024 * 1024 * 1024;

/// The drop of the last handle waits at most this long for the thread.
const MAX_CLOSE_TIME: Duration = Duration::from_secs(1);

/// The buffer of a thread keeps at most this many bytes for its next line.
const KEPT_BYTES: usize = 4 * 1024;

/// A log of calls, one line each, as JSON or text, to any [`io::Write`]: a file, a pipe, standard output.
///
/// ```
/// use std::{io, time::Duration};
/// use wawo::{Server, observe::AccessLog};
///
/// let log = AccessLog::json(io::stdout())
///     .sample(100)
///     .slow(Duration::from_millis(250))
///     .metadata(["user-agent"]);
/// let server = Server::builder().observe(log.clone());
/// ```
///
/// The page [observability](crate::guide::observability#access-log) has the fields.
///
/// - It is a handle: clones write to the same place. The settings are those of each clone, so that two
///   servers may share a file and have other limits.
/// - Calls never wait for it. A thread of its own, which starts with the first line and needs no runtime,
///   writes the lines that wait, and flushes the writer, when there are some, and then at most every 50 ms
///   or 32 KiB. If the writer is too slow, lines are [dropped](Self::dropped) and counted; the log then has
///   a line `"text":"3 lines were dropped"`.
/// - If writing fails, the lines are dropped too, and a warning is logged at most once a minute. The next
///   lines are written again if that works. A panic of the writer is such a failure. A writer that returns
///   [`WouldBlock`](io::ErrorKind::WouldBlock) fails.
/// - It does not rotate files. Let `logrotate` do it by `copytruncate`, with the file opened for appending,
///   or give a writer that opens its file anew.
/// - All values of others are escaped and cut at 1,024 bytes, so that none can begin a line or control a
///   terminal.
///
/// # Drop
///
/// The drop of the last handle, that of the server included, waits until all lines are written, but at most
/// a second. If the program ends by other means, such as the end of `main` while a task has a handle, call
/// [`flush`](Self::flush) before.
#[derive(Clone)]
#[must_use = "a log has lines of the calls that it observes only"]
pub struct AccessLog {
    form: Form,
    sampler: Arc<Sampler>,
    slow: Duration,
    fields: Fields,
    max_pending_bytes: usize,
    queue: Arc<QueueHandle>,
}

impl AccessLog {
    /// A log with an object of JSON in each line.
    pub fn json(writer: impl io::Write + Send + 'static) -> Self {
        Self::new(Form::Json, writer)
    }

    /// A log for people: time, side, method and code, and then the other fields as `name=value`.
    pub fn text(writer: impl io::Write + Send + 'static) -> Self {
        Self::new(Form::Text, writer)
    }

    fn new(form: Form, writer: impl io::Write + Send + 'static) -> Self {
        Self {
            form,
            sampler: Arc::new(Sampler::new(1)),
            slow: DEFAULT_SLOW,
            fields: Fields::default(),
            max_pending_bytes: DEFAULT_PENDING_BYTES,
            queue: Arc::new(QueueHandle(Arc::new(LineQueue::new(Box::new(writer))))),
        }
    }

    /// Logs one in `n` of the calls that are neither failed nor slow; with 0, none of them. Default: 1, so
    /// all. Clones count together.
    pub fn sample(mut self, n: u32) -> Self {
        self.sampler = Arc::new(Sampler::new(n));
        self
    }

    /// Logs all calls that took at least this long, with their streams. Default: 1 s.
    pub fn slow(mut self, slow: Duration) -> Self {
        self.slow = slow;
        self
    }

    /// Logs the values of these keys of the requests' metadata. Default: none. Of a key that occurs more than
    /// once, it is the first value. Bytes of keys that end in `-bin` are in base64. Values of keys of
    /// [secrets](crate::Metadata::is_secret) are logged as `..`.
    ///
    /// The metadata of each call is then kept until the call ends.
    pub fn metadata<K: AsRef<str>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        let keys = keys.into_iter();
        self.fields.keys = keys.map(|key| AllowedKey::new(key.as_ref())).collect();
        self
    }

    /// Logs the callers' identities, if they have the type `U`, as the value that `print` returns. Default:
    /// identities are not logged, since only the application knows what of them is secret.
    ///
    /// ```
    /// # use wawo::observe::AccessLog;
    /// struct User {
    ///     id: u64,
    ///     password: String,
    /// }
    ///
    /// let log = AccessLog::json(std::io::stdout()).identity(|user: &User| user.id);
    /// ```
    pub fn identity<U, D>(mut self, print: impl Fn(&U) -> D + Send + Sync + 'static) -> Self
    where
        U: Send + Sync + 'static,
        D: fmt::Display,
    {
        self.fields.identity = Some(PrintIdentity::new(print));
        self
    }

    /// Lets at most this many bytes of lines wait for the writer; a line beyond is dropped. Default: 1 MiB.
    /// From 64 KiB to 1 GiB; other values are taken as the nearest of these.
    pub fn max_pending_bytes(mut self, bytes: usize) -> Self {
        self.max_pending_bytes = bytes.clamp(*PENDING_BYTES.start(), *PENDING_BYTES.end());
        self
    }

    /// Counts the lines that are dropped from now on in `wawo_log_dropped_total` of these metrics, for all
    /// clones. Default: only [`dropped`](Self::dropped) has them. Metrics given later replace these.
    pub fn count_dropped_in(self, metrics: &Metrics) -> Self {
        self.queue.0.set_metrics(metrics);
        self
    }

    /// The number of lines that were dropped so far, since the queue was full or writing failed.
    pub fn dropped(&self) -> u64 {
        self.queue.0.dropped()
    }

    /// Waits until the lines of all calls that have ended are written, but at most this long. Returns `false`
    /// if the time was not enough. Lines that could not be written are [dropped](Self::dropped).
    ///
    /// It blocks the thread, so that in a runtime it belongs into `spawn_blocking`, or behind `block_on`.
    #[must_use = "`false` means that lines still wait"]
    pub fn flush(&self, timeout: Duration) -> bool {
        self.queue.0.flush(timeout)
    }

    /// Writes the line of a call.
    #[inline(never)]
    fn log(&self, call: &ObservedCall<'_>, end: &CallSummary<'_>) {
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        line.clear();
        let time = SystemTime::now();
        self.fields.push_line(&mut line, self.form, time, call, end);
        let queue = &self.queue.0;
        queue.push(&line, self.max_pending_bytes, || {
            writer::start(queue, self.form)
        });
        if line.capacity() <= KEPT_BYTES {
            let _ = LINE.try_with(|kept| kept.set(line));
        }
    }
}

thread_local! {
    /// The buffer of this thread's lines.
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Observe for AccessLog {
    fn wants(&self) -> Wants {
        match self.fields.keys.is_empty() {
            true => Wants::ENDS,
            false => Wants::ENDS.metadata(),
        }
    }

    #[inline]
    fn ended(&self, call: &ObservedCall<'_>, end: &CallSummary<'_>) {
        if end.code != Code::Ok || end.took >= self.slow || self.sampler.choose() {
            self.log(call, end);
        }
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog")
            .field("form", &self.form)
            .field("sample", &self.sampler.one_in())
            .field("slow", &self.slow)
            .field("fields", &self.fields)
            .field("max_pending_bytes", &self.max_pending_bytes)
            .field("dropped", &self.dropped())
            .finish()
    }
}

/// The handles' share of the queue; the thread has the queue alone.
struct QueueHandle(Arc<LineQueue>);

impl Drop for QueueHandle {
    fn drop(&mut self) {
        self.0.close(MAX_CLOSE_TIME);
    }
}
