//! The handle that users share and that the hooks report to.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wawo_protocol::Side;

use crate::{
    call_side::CallSide,
    descriptor::MethodDescriptor,
    metrics::{
        figures::{AttemptKind, CallFigures, Gauge},
        series::{Series, SeriesTable},
        snapshot::MetricsSnapshot,
    },
};

/// Counts the calls and connections of servers and peers, and writes them as text for Prometheus.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    series: SeriesTable,
    counters: BTreeMap<String, i64>,
}

impl Metrics {
    /// Metrics without any figures. A clone is a handle to the same.
    pub fn new() -> Self {
        Self::default()
    }

    /// The text for Prometheus, in its format 0.0.4.
    pub fn to_prometheus(&self) -> String {
        let counts = self.lock();
        let mut text = String::new();
        for (name, count) in &counts.counters {
            let _ = writeln!(text, "{name} {count}");
        }
        text
    }

    /// The text in the format OpenMetrics 1.0.
    pub fn to_openmetrics(&self) -> String {
        self.to_prometheus() + "# EOF\n"
    }

    /// A copy of all figures.
    pub fn snapshot(&self) -> MetricsSnapshot {
        MetricsSnapshot {}
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the hooks.

impl Metrics {
    /// The series of a method; `None` is an unknown one. It is added if it is new, up to a limit. It takes a
    /// lock, so callers keep it.
    pub(crate) fn series(
        &self,
        side: CallSide,
        protocol: &'static str,
        method: Option<&MethodDescriptor>,
    ) -> Series {
        let method = method.map(MethodDescriptor::path);
        self.lock().series.find_or_add(side, protocol, method)
    }

    /// A call began that does not end at once.
    pub(crate) fn call_began(&self, series: Series) {
        self.add_to("wawo_calls_started_total", series, 1);
        self.add_to("wawo_calls_in_flight", series, 1);
    }

    /// The end of a call that was reported to [`call_began`](Self::call_began), in any thread.
    pub(crate) fn call_ended(&self, series: Series, figures: &CallFigures) {
        self.add_to("wawo_calls_in_flight", series, -1);
        self.add_figures(series, figures);
    }

    /// A call that began and ended at once.
    pub(crate) fn whole_call(&self, series: Series, figures: &CallFigures) {
        self.add_to("wawo_calls_started_total", series, 1);
        self.add_figures(series, figures);
    }

    /// A call was refused before it was served, because of the limit of this name.
    pub(crate) fn call_refused(&self, side: CallSide, limit: &'static str) {
        let side = side.name();
        let name = format!("wawo_calls_refused_total{{side=\"{side}\",reason=\"{limit}\"}}");
        self.add(name, 1);
    }

    /// A call of this side is sent once more.
    pub(crate) fn call_attempt(&self, series: Series, kind: AttemptKind) {
        let _ = kind;
        self.add_to("wawo_call_attempts_total", series, 1);
    }

    /// A handler panicked.
    pub(crate) fn handler_panicked(&self, series: Series) {
        self.add_to("wawo_handler_panics_total", series, 1);
    }

    /// A connection was opened.
    pub(crate) fn connection_opened(&self, side: Side, transport: &'static str) {
        let name = format!("wawo_connections{{side=\"{side:?}\",transport=\"{transport}\"}}");
        self.add(name, 1);
    }

    /// A connection that was reported to [`connection_opened`](Self::connection_opened) ended.
    pub(crate) fn connection_ended(
        &self,
        side: Side,
        transport: &'static str,
        reason: &'static str,
    ) {
        let _ = reason;
        let name = format!("wawo_connections{{side=\"{side:?}\",transport=\"{transport}\"}}");
        self.add(name, -1);
    }

    /// A peer came to be.
    pub(crate) fn peer_opened(&self, side: Side) {
        self.add(format!("wawo_peers{{side=\"{side:?}\"}}"), 1);
    }

    /// A peer that was reported to [`peer_opened`](Self::peer_opened) is over.
    pub(crate) fn peer_ended(&self, side: Side) {
        self.add(format!("wawo_peers{{side=\"{side:?}\"}}"), -1);
    }

    /// Bytes were read from a socket.
    pub(crate) fn read_bytes(&self, transport: &'static str, bytes: u64) {
        let name = format!("wawo_io_bytes_total{{direction=\"in\",transport=\"{transport}\"}}");
        self.add(name, bytes as i64);
    }

    /// Bytes were written to a socket.
    pub(crate) fn written_bytes(&self, transport: &'static str, bytes: u64) {
        let name = format!("wawo_io_bytes_total{{direction=\"out\",transport=\"{transport}\"}}");
        self.add(name, bytes as i64);
    }

    /// Changes a gauge.
    pub(crate) fn change_gauge(&self, gauge: Gauge, by: i64) {
        self.add(format!("{gauge:?}"), by);
    }

    /// Lines of a log were dropped, because its writer was too slow.
    pub(crate) fn log_dropped(&self, lines: u64) {
        self.add("wawo_log_dropped_total".to_owned(), lines as i64);
    }

    fn add_figures(&self, series: Series, figures: &CallFigures) {
        let code = figures.code;
        self.add_to(&format!("wawo_calls_ended_total_{code}"), series, 1);
    }

    fn add_to(&self, name: &str, series: Series, by: i64) {
        self.add(format!("{name}{{series=\"{}\"}}", series.0), by);
    }

    fn add(&self, name: String, by: i64) {
        *self.lock().counters.entry(name).or_default() += by;
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
