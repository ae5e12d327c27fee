//! The thread that writes the lines. It ends with the log, and not because of an error or a panic of what it
//! writes to.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::observe::access_log::{
    line::{Form, Line, name},
    queue::{Batch, LineQueue, Sink},
};

/// Errors are logged at most once in this time.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Starts the thread. Returns `false` if the system has no more threads.
pub(super) fn start(queue: &Arc<LineQueue>, form: Form) -> bool {
    let queue = queue.clone();
    let thread = thread::Builder::new().name("wawo-access-log".to_owned());
    let started = thread.spawn(move || {
        if let Some(sink) = queue.take_sink() {
            LogWriter::new(sink, form).run(&queue);
        }
        queue.end();
    });
    if let Err(error) = &started {
        tracing::warn!(target: "wawo::observe", %error, "the thread of the access log cannot start");
    }
    started.is_ok()
}

/// Writes batches of lines.
pub(super) struct LogWriter {
    sink: Sink,
    form: Form,
    /// Whether a failed write has left a part of a line behind.
    is_in_line: bool,
    warnings: WarningLimit,
}

impl LogWriter {
    pub(super) fn new(sink: Sink, form: Form) -> Self {
        Self {
            sink,
            form,
            is_in_line: false,
            warnings: WarningLimit::default(),
        }
    }

    fn run(mut self, queue: &LineQueue) {
        let mut batch = Batch::default();
        while queue.take(&mut batch) {
            let lost = self.write(&mut batch);
            queue.finish(&mut batch, lost);
        }
        self.report(&mut batch);
        self.flush();
        // The drop of a buffered writer writes, and that of any may panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self)));
    }

    /// Writes a batch, and behind it a line about lines that were dropped. Returns the number of lines that
    /// were lost, as writing failed.
    pub(super) fn write(&mut self, batch: &mut Batch) -> u64 {
        let lost = self.write_lines(batch);
        if lost == 0 {
            self.report(batch);
        }
        self.flush();
        lost
    }

    fn write_lines(&mut self, batch: &Batch) -> u64 {
        if self.is_in_line && self.write_bytes(b"\n", batch.lines) == 0 {
            return batch.lines;
        }
        let written = self.write_bytes(&batch.bytes, batch.lines);
        if written == batch.bytes.len() {
            return 0;
        }
        let written = batch.bytes[..written].iter();
        let whole = written.filter(|byte| **byte == b'\n').count();
        batch.lines.saturating_sub(whole as u64)
    }

    fn report(&mut self, batch: &mut Batch) {
        if batch.unreported == 0 {
            return;
        }
        let mut text = Vec::new();
        let mut line = Line::begin(&mut text, self.form, SystemTime::now());
        line.number(name!("dropped"), batch.unreported);
        let message = format!("{} lines were dropped", batch.unreported);
        line.display(name!("text"), &message);
        line.end();
        if self.write_bytes(&text, 1) == text.len() {
            batch.unreported = 0;
        }
    }

    /// Writes until all is written or a write fails. Returns how many bytes were written.
    fn write_bytes(&mut self, bytes: &[u8], lines: u64) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            let rest = &bytes[written..];
            match caught(|| self.sink.write(rest)) {
                Ok(0) => {
                    self.warn(&io::ErrorKind::WriteZero.into(), lines);
                    break;
                }
                Ok(more) => written += more.min(rest.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.warn(&error, lines);
                    break;
                }
            }
        }
        if let Some(last) = bytes[..written].last() {
            self.is_in_line = *last != b'\n';
        }
        written
    }

    fn flush(&mut self) {
        if let Err(error) = caught(|| self.sink.flush()) {
            self.warn(&error, 0);
        }
    }

    fn warn(&mut self, error: &io::Error, lines: u64) {
        if let Some(lines) = self.warnings.count(Instant::now(), lines) {
            tracing::warn!(target: "wawo::observe", %error, lines, "the access log cannot be written");
        }
    }
}

/// A panic of the application's writer is an error like others; the panic hook has printed it.
fn caught<T>(write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let caught = catch_unwind(AssertUnwindSafe(write));
    caught.unwrap_or_else(|_| Err(io::Error::other("the writer panicked")))
}

/// Lets one warning pass in each interval.
#[derive(Default)]
struct WarningLimit {
    last: Option<Instant>,
    /// Lines since the last warning.
    lines: u64,
}

impl WarningLimit {
    /// Counts the lines of a failed write. Returns all since the last warning, if the next is due.
    fn count(&mut self, now: Instant, lines: u64) -> Option<u64> {
        self.lines += lines;
        let is_early = |last| now.saturating_duration_since(last) < WARNING_INTERVAL;
        if self.last.is_some_and(is_early) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.lines))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::WarningLimit;

    #[test]
    fn a_minute_has_one_warning_with_the_lines_since_the_last() {
        let (mut limit, begin) = (WarningLimit::default(), Instant::now());
        let mut count = |seconds, lines| limit.count(begin + Duration::from_secs(seconds), lines);
        assert_eq!(count(0, 3), Some(3));
        assert_eq!(count(1, 4), None);
        assert_eq!(count(59, 5), None);
        assert_eq!(count(60, 6), Some(15));
        assert_eq!(count(61, 1), None);
    }
}
