//! The observers of a server, a peer, or a service in the same process.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use crate::{
    call_side::CallSide,
    descriptor::MethodDescriptor,
    log_limiter::LogLimiter,
    metrics::{CallFigures, Metrics, Series},
    observe::{
        call::CallSummary,
        hook::{Observe, Wants},
        outcome::CallOutcome,
        record::{CallBegin, CallRecord, RecordDetails},
        series_cache::SeriesCache,
    },
};

/// The observers that a program has given to a builder.
#[derive(Clone, Default)]
pub(crate) struct Observers {
    metrics: Option<Metrics>,
    hooks: Vec<Arc<dyn Observe>>,
    wants: Wants,
    series: Arc<SeriesCache>,
    /// Limits the log lines about observers that panic.
    panics: LogLimiter,
}

impl Observers {
    pub(crate) fn set_metrics(&mut self, metrics: &Metrics) {
        self.metrics = Some(metrics.clone());
        self.series = Arc::default();
    }

    pub(crate) fn add(&mut self, hook: impl Observe) {
        let wants = hook.wants();
        self.wants.begins |= wants.begins;
        self.wants.metadata |= wants.metadata;
        self.hooks.push(Arc::new(hook));
    }

    /// The observers, as connections and calls share them. `None` if there are none: then nothing is observed.
    pub(crate) fn shared(&self) -> Option<Arc<Self>> {
        let is_empty = self.metrics.is_none() && self.hooks.is_empty();
        (!is_empty).then(|| Arc::new(self.clone()))
    }

    pub(crate) fn metrics(&self) -> Option<&Metrics> {
        self.metrics.as_ref()
    }

    /// Whether a call of this side needs a request to which metadata can be added.
    pub(crate) fn may_inject(&self) -> bool {
        self.wants.begins
    }

    /// Whether a record needs more than figures.
    pub(crate) fn wants_details(&self) -> bool {
        !self.hooks.is_empty()
    }

    /// The series of a method in the metrics.
    pub(crate) fn series(
        &self,
        side: CallSide,
        protocol: &'static str,
        method: Option<&MethodDescriptor>,
    ) -> Series {
        match &self.metrics {
            None => Series::default(),
            Some(metrics) => self.series.find(side, protocol, method, || {
                metrics.series(side, protocol, method)
            }),
        }
    }

    /// Begins the record of a call.
    pub(crate) fn begin(&self, series: Series, begin: &CallBegin<'_>) -> CallRecord {
        let mut record = CallRecord::new(series, begin);
        if self.wants_details() {
            record.details = Some(Box::new(self.details(begin)));
        }
        record
    }

    #[inline(never)]
    fn details(&self, begin: &CallBegin<'_>) -> RecordDetails {
        let mut details = RecordDetails::new(begin, self.wants.metadata);
        if self.wants.begins {
            let call = details.call(begin.metadata, begin.started, begin.deadline, None);
            let span = self.hooks.iter().enumerate().find_map(|(index, hook)| {
                let span = self.guarded(|| hook.began(&call)).flatten()?;
                let trace = self.guarded(|| hook.trace_context(&span)).flatten();
                Some((index, span, trace))
            });
            if let Some((index, span, trace)) = span {
                details.trace = trace.or(details.trace);
                details.span = Some((index, span));
            }
        }
        details
    }

    /// Adds the trace of a call of this side to its metadata.
    pub(crate) fn inject(&self, record: &mut CallRecord, metadata: &mut wawo_protocol::Metadata) {
        if let Some(details) = &mut record.details
            && let Some((index, span)) = &details.span
        {
            let hook = &self.hooks[*index];
            self.guarded(|| hook.inject(span, metadata));
            details.keep_metadata(metadata, self.wants.metadata);
        }
    }

    /// Counts a call in flight: one that does not end where it begins.
    pub(crate) fn count(&self, record: &mut CallRecord) {
        if let Some(metrics) = &self.metrics {
            metrics.call_began(record.series);
            record.is_counted = true;
        }
    }

    /// Ends a call.
    pub(crate) fn end(&self, record: &CallRecord, outcome: &CallOutcome<'_>, now: Instant) {
        let took = now.saturating_duration_since(record.started);
        if let Some(metrics) = &self.metrics {
            let figures = CallFigures {
                code: outcome.code,
                took,
                request_messages: record.request_messages,
                request_bytes: record.request_bytes,
                reply_messages: record.reply_messages,
                reply_bytes: record.reply_bytes,
            };
            match record.is_counted {
                true => metrics.call_ended(record.series, &figures),
                false => metrics.whole_call(record.series, &figures),
            }
            if record.attempts > 1 {
                metrics.call_retried(record.series, u64::from(record.attempts - 1));
            }
            if outcome.is_panic {
                metrics.handler_panicked(record.series);
            }
        }
        if let Some(details) = &record.details {
            self.report(record, details, outcome, took);
        }
    }

    #[inline(never)]
    fn report(
        &self,
        record: &CallRecord,
        details: &RecordDetails,
        outcome: &CallOutcome<'_>,
        took: std::time::Duration,
    ) {
        let end = CallSummary {
            code: outcome.code,
            text: outcome.text,
            delivery: outcome
                .delivery
                .filter(|_| details.side == CallSide::Client),
            queued: record.queued,
            first_reply: record.first_reply,
            took,
            request_messages: record.request_messages,
            request_bytes: record.request_bytes,
            reply_messages: record.reply_messages,
            reply_bytes: record.reply_bytes,
            attempts: record.attempts,
        };
        for (index, hook) in self.hooks.iter().enumerate() {
            let span = details.span.as_ref();
            let span = span.filter(|(maker, _)| *maker == index);
            let span = span.map(|(_, span)| span);
            let call = details.call(&details.metadata, record.started, record.deadline, span);
            self.guarded(|| hook.ended(&call, &end));
        }
    }

    /// Runs a function of an observer. A panic in it is logged, and changes nothing for the call.
    fn guarded<R>(&self, function: impl FnOnce() -> R) -> Option<R> {
        let result = catch_unwind(AssertUnwindSafe(function)).ok();
        if result.is_none() {
            self.panics.add(log_panic);
        }
        result
    }
}

/// The panic hook of the program has printed the text.
fn log_panic(count: u64) {
    tracing::error!(target: "wawo::observe", count, "an observer of calls panicked");
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observers")
            .field("has_metrics", &self.metrics.is_some())
            .field("hooks", &self.hooks.len())
            .finish()
    }
}
