//! A subscriber that keeps the spans of calls.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock, Mutex},
};

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};
use tracing_core::span::Current;

/// A span, and its fields.
#[derive(Debug, Clone)]
pub(super) struct SpanRecord {
    pub(super) id: u64,
    pub(super) is_closed: bool,
    fields: BTreeMap<&'static str, String>,
    handles: usize,
    metadata: &'static Metadata<'static>,
}

impl SpanRecord {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

impl Visit for SpanRecord {
    fn record_str(&mut self, field: &Field, value: &str) {
        let old = self.fields.insert(field.name(), value.to_owned());
        assert_eq!(old, None, "{field} of {self:?} is recorded twice");
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// The spans of calls in this thread.
#[derive(Debug, Default, Clone)]
pub(super) struct Collector(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    spans: Vec<SpanRecord>,
    entered: Vec<u64>,
}

impl State {
    fn span(&mut self, id: &Id) -> &mut SpanRecord {
        let mut spans = self.spans.iter_mut();
        let span = spans.find(|span| span.id == id.into_u64());
        span.expect("a span that is used was not taken")
    }
}

/// With a second subscriber, `tracing` asks the one of each thread whether it is interested.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Collector::default()));

impl Collector {
    /// Collects the spans of this thread until the guard is dropped.
    pub(super) fn begin() -> (Self, DefaultGuard) {
        LazyLock::force(&SECOND);
        let collector = Self::default();
        let guard = tracing::subscriber::set_default(collector.clone());
        (collector, guard)
    }

    /// The id of the span in which the caller of this runs.
    pub(super) fn current(&self) -> Option<u64> {
        self.0.lock().unwrap().entered.last().copied()
    }

    pub(super) fn spans(&self) -> Vec<SpanRecord> {
        self.0.lock().unwrap().spans.clone()
    }

    /// The spans since this was called last.
    pub(super) fn take(&self) -> Vec<SpanRecord> {
        std::mem::take(&mut self.0.lock().unwrap().spans)
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target() == "wawo::call" && *metadata.level() == Level::DEBUG
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut state = self.0.lock().unwrap();
        state.last_id += 1;
        let mut record = SpanRecord {
            id: state.last_id,
            is_closed: false,
            fields: BTreeMap::new(),
            handles: 1,
            metadata: span.metadata(),
        };
        span.record(&mut record);
        state.spans.push(record);
        Id::from_u64(state.last_id)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        values.record(self.0.lock().unwrap().span(id));
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.0.lock().unwrap().span(id).handles += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut state = self.0.lock().unwrap();
        let span = state.span(&id);
        span.handles -= 1;
        span.is_closed = span.handles == 0;
        span.is_closed
    }

    fn enter(&self, id: &Id) {
        self.0.lock().unwrap().entered.push(id.into_u64());
    }

    fn exit(&self, id: &Id) {
        let left = self.0.lock().unwrap().entered.pop();
        assert_eq!(left, Some(id.into_u64()));
    }

    fn current_span(&self) -> Current {
        let mut state = self.0.lock().unwrap();
        let Some(id) = state.entered.last().map(|id| Id::from_u64(*id)) else {
            return Current::none();
        };
        let metadata = state.span(&id).metadata;
        Current::new(id, metadata)
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
}
