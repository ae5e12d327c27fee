//! The handle that users share, and that the hooks report to.

use std::{fmt, sync::Arc};

use wawo_protocol::Side;

use crate::{
    call_side::CallSide,
    descriptor::MethodDescriptor,
    metrics::{
        conversion,
        exposition::{self, Format},
        figures::{CallFigures, Gauge},
        registry::{Registry, lock},
        series::Series,
        snapshot::MetricsSnapshot,
    },
};

/// Counts the calls and connections of servers, peers and [`InProcess`](crate::InProcess)es, and writes the
/// figures as text for Prometheus.
///
/// Give it to builders by their `metrics`; several may share one. A clone is a handle to the same figures.
/// There is no HTTP server in it: serve the text by the one that you have.
///
/// ```
/// let metrics = wawo::Metrics::new();
/// let text = metrics.to_prometheus();
/// assert!(text.contains("wawo_output_bytes 0\n"));
/// ```
///
/// The labels name methods, codes, limits and transports, but never peers, so their number does not grow
/// with the clients. Methods that are not known count together, as `_OTHER`. Those that are known have
/// figures of their own up to 10,000 of them, where each side and each protocol of a method counts; those
/// beyond count as `_OTHER` too.
///
/// Each thread counts on its own, and a reader sums up. A method takes about 2.3 KiB for each thread that
/// serves or calls it, and for each code that its calls end with. The figures of threads that end are kept.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Registry>);

impl Metrics {
    /// Metrics without figures.
    pub fn new() -> Self {
        Self::default()
    }

    /// All figures as Prometheus reads them by default: its text format 0.0.4. Serve it with the content
    /// type `text/plain; version=0.0.4`.
    pub fn to_prometheus(&self) -> String {
        exposition::text(&self.snapshot(), Format::Prometheus)
    }

    /// All figures in the format OpenMetrics 1.0. Serve it with the content type
    /// `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    pub fn to_openmetrics(&self) -> String {
        exposition::text(&self.snapshot(), Format::OpenMetrics)
    }

    /// A copy of all figures, for collectors that read no text, and for tests. It has the percentiles of the
    /// times too.
    pub fn snapshot(&self) -> MetricsSnapshot {
        // The sums come first: then each series in them has its labels.
        let sums = self.0.sums();
        let series = self.0.all_series();
        conversion::snapshot(sums, series.keys(), &lock(&self.0.connections))
    }
}

/// For the hooks.
impl Metrics {
    /// The series of a method; `None` is an unknown one. A new one is added. It takes a lock that all
    /// threads share, so callers keep the series of the method that they called last.
    pub(crate) fn series(
        &self,
        side: CallSide,
        protocol: &'static str,
        method: Option<&MethodDescriptor>,
    ) -> Series {
        let method = method.map(MethodDescriptor::path);
        self.0.series(side, protocol, method)
    }

    /// A call began that does not end at once.
    #[inline]
    pub(crate) fn call_began(&self, series: Series) {
        self.0
            .write(|writer| writer.series(series, |cells| cells.call_began()));
    }

    /// A call ended that was reported to [`call_began`](Self::call_began), in this thread or another.
    #[inline]
    pub(crate) fn call_ended(&self, series: Series, figures: &CallFigures) {
        self.0
            .write(|writer| writer.series(series, |cells| cells.call_ended(figures)));
    }

    /// A call began and ended at once.
    #[inline]
    pub(crate) fn whole_call(&self, series: Series, figures: &CallFigures) {
        self.0
            .write(|writer| writer.series(series, |cells| cells.whole_call(figures)));
    }

    /// A call was refused or ended because of the limit with this name.
    pub(crate) fn call_refused(&self, side: CallSide, limit: &'static str) {
        self.0.write(|writer| writer.call_refused(side, limit));
    }

    /// A call of this side was sent again, this often. Its first attempt is not reported.
    pub(crate) fn call_retried(&self, series: Series, times: u64) {
        self.0
            .write(|writer| writer.series(series, |cells| cells.retries.add(times)));
    }

    /// A handler panicked.
    pub(crate) fn handler_panicked(&self, series: Series) {
        self.0
            .write(|writer| writer.series(series, |cells| cells.panics.add(1)));
    }

    /// A connection was opened.
    pub(crate) fn connection_opened(&self, side: Side, transport: &'static str) {
        let mut connections = lock(&self.0.connections);
        connections.of(side).connection_opened(transport);
    }

    /// A connection ended that was reported to [`connection_opened`](Self::connection_opened).
    pub(crate) fn connection_ended(
        &self,
        side: Side,
        transport: &'static str,
        reason: &'static str,
    ) {
        let mut connections = lock(&self.0.connections);
        connections.of(side).connection_ended(transport, reason);
    }

    /// A peer has connected.
    pub(crate) fn peer_opened(&self, side: Side) {
        lock(&self.0.connections).of(side).peer_opened();
    }

    /// A peer is over that was reported to [`peer_opened`](Self::peer_opened).
    pub(crate) fn peer_ended(&self, side: Side) {
        lock(&self.0.connections).of(side).peer_ended();
    }

    /// Bytes were read from a socket.
    pub(crate) fn read_bytes(&self, transport: &'static str, bytes: u64) {
        self.0
            .write(|writer| writer.io(transport).received.add(bytes));
    }

    /// Bytes were written to a socket.
    pub(crate) fn written_bytes(&self, transport: &'static str, bytes: u64) {
        self.0.write(|writer| writer.io(transport).sent.add(bytes));
    }

    /// Changes a gauge, in any thread.
    pub(crate) fn change_gauge(&self, gauge: Gauge, by: i64) {
        self.0.write(|writer| writer.change_gauge(gauge, by));
    }

    /// An access log dropped lines.
    pub(crate) fn log_dropped(&self, lines: u64) {
        self.0.write(|writer| writer.log_dropped(lines));
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
