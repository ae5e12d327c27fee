//! The log of the current thread.

use std::sync::{Arc, LazyLock, Mutex};

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber, field, span, subscriber::DefaultGuard,
};

/// The lines that the framework logged.
#[derive(Debug, Default, Clone)]
pub(crate) struct Log(Arc<Mutex<Vec<Line>>>);

/// The level and the target of a line, and its text: `LEVEL message field=value field=value`.
type Line = (Level, &'static str, String);

/// A subscriber that never logs. With a single subscriber, `tracing` asks only the thread that
/// first reaches a log line whether it is wanted, and caches the answer: a test without a log in
/// another thread would suppress the line for the test that has one. With two subscribers, it asks
/// all of them.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Log::default()));

impl Log {
    /// Logs the events of this thread until the guard is dropped.
    pub(crate) fn begin() -> (Self, DefaultGuard) {
        LazyLock::force(&SECOND);
        let log = Self::default();
        let guard = tracing::subscriber::set_default(log.clone());
        (log, guard)
    }

    /// The lines that contain a text.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        self.find(|_, _, line| line.contains(text))
    }

    /// The lines that a filter of `info` shows.
    pub(crate) fn at_info(&self) -> Vec<String> {
        self.find(|level, _, _| level <= Level::INFO)
    }

    /// The lines of this target.
    pub(crate) fn of(&self, target: &str) -> Vec<String> {
        self.find(|_, of_line, _| of_line == target)
    }

    fn find(&self, is_one: impl Fn(Level, &str, &str) -> bool) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        let found = lines.iter();
        let found = found.filter(|(level, target, line)| is_one(*level, target, line));
        found.map(|(_, _, line)| line.clone()).collect()
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("wawo") && *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let (mut message, mut fields) = (String::new(), String::new());
        event.record(
            &mut |field: &field::Field, value: &dyn std::fmt::Debug| match field.name() {
                "message" => message = format!("{value:?}"),
                name => fields += &format!(" {name}={value:?}"),
            },
        );
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        let line = format!("{level} {message}{fields}");
        self.0.lock().unwrap().push((level, target, line));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
