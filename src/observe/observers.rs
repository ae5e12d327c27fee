//! The observers of a server, a peer, or a service in the same process.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use wawo_protocol::{Code, Metadata};

use crate::{
    call_side::CallSide,
    descriptor::MethodDescriptor,
    log_limiter::LogLimiter,
    metrics::{CallFigures, Metrics, Series},
    observe::{
        call::CallSummary,
        hook::{Observe, Wants},
        outcome::CallOutcome,
        record::{CallFacts, CallRecord},
        series_cache::SeriesCache,
    },
};

/// The observers that a program has given to a builder.
#[derive(Clone, Default)]
pub(crate) struct Observers {
    metrics: Option<Metrics>,
    hooks: Vec<Hook>,
    /// All that any of them wants.
    wants: Wants,
    series: Arc<SeriesCache>,
    /// Limits the log lines about observers that panic.
    panics: LogLimiter,
}

#[derive(Clone)]
struct Hook {
    observer: Arc<dyn Observe>,
    wants: Wants,
}

impl Observers {
    pub(crate) fn set_metrics(&mut self, metrics: &Metrics) {
        self.metrics = Some(metrics.clone());
        self.series = Arc::default();
    }

    pub(crate) fn add(&mut self, observer: impl Observe) {
        let wants = observer.wants();
        self.wants = self.wants.or(wants);
        self.hooks.push(Hook {
            observer: Arc::new(observer),
            wants,
        });
    }

    /// The observers, as connections and calls share them. `None` if there are none: then nothing is observed.
    pub(crate) fn shared(&self) -> Option<Arc<Self>> {
        let is_empty = self.metrics.is_none() && self.hooks.is_empty();
        (!is_empty).then(|| Arc::new(self.clone()))
    }

    pub(crate) fn metrics(&self) -> Option<&Metrics> {
        self.metrics.as_ref()
    }

    /// Whether there is more than metrics.
    #[inline]
    pub(crate) fn has_hooks(&self) -> bool {
        !self.hooks.is_empty()
    }

    /// Whether the observers, beside the metrics, want the end of a call; those that make spans want it if the
    /// call has one.
    #[inline]
    pub(crate) fn needs_end(&self, has_span: bool) -> bool {
        self.wants.ends || has_span
    }

    /// Whether calls may have spans, and a call of this side needs a request to which their trace is added.
    #[inline]
    pub(crate) fn may_have_spans(&self) -> bool {
        self.wants.begins
    }

    /// The series of a method in the metrics.
    #[inline]
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

    /// Lets the observers see the begin of a call, if there is more than metrics.
    #[inline(never)]
    pub(crate) fn began(&self, record: &mut CallRecord, facts: CallFacts<'_>, metadata: &Metadata) {
        record.keep_metadata(metadata, self.wants.metadata);
        if !self.wants.begins {
            return;
        }
        let call = record.call(facts, Some(metadata));
        let hooks = self.hooks.iter().enumerate();
        let mut hooks = hooks.filter(|(_, hook)| hook.wants.begins);
        let made = hooks.find_map(|(index, hook)| {
            let span = self.guarded(|| hook.observer.began(&call)).flatten()?;
            let trace = self
                .guarded(|| hook.observer.trace_context(&span))
                .flatten();
            Some(((index, span), trace))
        });
        if let Some((span, trace)) = made {
            let extras = record.extras.get_or_insert_default();
            extras.trace = trace.or(extras.trace);
            extras.span = Some(span);
        }
    }

    /// Adds the trace of a call of this side to its metadata.
    pub(crate) fn inject(&self, record: &mut CallRecord, metadata: &mut Metadata) {
        if let Some(extras) = &record.extras
            && let Some((index, span)) = &extras.span
        {
            let observer = &self.hooks[*index].observer;
            self.guarded(|| observer.inject(span, metadata));
            record.keep_metadata(metadata, self.wants.metadata);
        }
    }

    /// Counts a call in flight: one that does not end where it begins.
    #[inline]
    pub(crate) fn count(&self, record: &mut CallRecord) {
        if let Some(metrics) = &self.metrics {
            metrics.call_began(record.series);
            record.is_counted = true;
        }
    }

    /// Counts a call that began and ended where it was served, in the metrics.
    #[inline]
    pub(crate) fn whole_call(&self, series: Series, figures: &CallFigures) {
        if let Some(metrics) = &self.metrics {
            metrics.whole_call(series, figures);
        }
    }

    /// Ends a call in the metrics. Returns how long it took.
    fn end_in_metrics(&self, record: &CallRecord, code: Code, now: Instant) -> Duration {
        let took = now.saturating_duration_since(record.started);
        if let Some(metrics) = &self.metrics {
            let figures = CallFigures {
                code,
                took,
                request_messages: record.requests.messages,
                request_bytes: record.requests.bytes,
                reply_messages: record.replies.messages,
                reply_bytes: record.replies.bytes,
            };
            match record.is_counted {
                true => metrics.call_ended(record.series, &figures),
                false => metrics.whole_call(record.series, &figures),
            }
        }
        took
    }

    /// Ends a call for all observers. The facts are `None` if there are only metrics.
    pub(crate) fn end(
        &self,
        record: &CallRecord,
        outcome: &CallOutcome<'_>,
        now: Instant,
        facts: Option<CallFacts<'_>>,
    ) {
        let took = self.end_in_metrics(record, outcome.code, now);
        if outcome.is_panic
            && let Some(metrics) = &self.metrics
        {
            metrics.handler_panicked(record.series);
        }
        if let Some(limit) = outcome.limit
            && record.side == CallSide::Server
            && let Some(metrics) = &self.metrics
        {
            metrics.call_refused(record.side, limit);
        }
        if outcome.attempts > 1
            && let Some(metrics) = &self.metrics
        {
            metrics.call_retried(record.series, u64::from(outcome.attempts - 1));
        }
        if let Some(facts) = facts {
            self.report(record, outcome, took, facts);
        }
    }

    #[inline(never)]
    fn report(
        &self,
        record: &CallRecord,
        outcome: &CallOutcome<'_>,
        took: Duration,
        facts: CallFacts<'_>,
    ) {
        let span = record.extras.as_ref();
        let span = span.and_then(|extras| extras.span.as_ref());
        if !self.needs_end(span.is_some()) {
            return;
        }
        let since_start = |at: Instant| at.saturating_duration_since(record.started);
        let end = CallSummary {
            code: outcome.code,
            text: outcome.text,
            delivery: outcome.delivery.filter(|_| record.side == CallSide::Client),
            queued: record.started.saturating_duration_since(record.came),
            first_reply: record.first_reply.map(since_start),
            took,
            request_messages: record.requests.messages,
            request_bytes: record.requests.bytes,
            reply_messages: record.replies.messages,
            reply_bytes: record.replies.bytes,
            attempts: outcome.attempts,
        };
        let mut call = record.call(facts, None);
        for (index, hook) in self.hooks.iter().enumerate() {
            let made = span.filter(|(maker, _)| *maker == index);
            if made.is_some() || hook.wants.ends {
                call.span = made.map(|(_, span)| span);
                self.guarded(|| hook.observer.ended(&call, &end));
            }
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
