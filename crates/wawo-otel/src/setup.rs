//! Messages about a subscriber that makes no traces, so that a program does not search for them in vain.

use std::sync::atomic::{AtomicBool, Ordering};

use tracing::warn;

/// The faults that were reported; each is reported once.
#[derive(Debug, Default)]
pub(crate) struct SetupReport {
    no_layer: AtomicBool,
    level_filter: AtomicBool,
}

impl SetupReport {
    /// The subscriber has no layer of `tracing-opentelemetry`, or hides it.
    #[cold]
    pub(crate) fn no_layer(&self) {
        if tracing::enabled!(target: "wawo_otel", tracing::Level::WARN)
            && !self.no_layer.swap(true, Ordering::Relaxed)
        {
            warn!(
                target: "wawo_otel",
                "no call is traced: the subscriber of `tracing` has no layer of OpenTelemetry; add \
                 `tracing_opentelemetry::layer().with_tracer(..)` to it"
            );
        }
    }

    /// The subscriber has no interest in spans of the level DEBUG.
    #[cold]
    pub(crate) fn level_filter(&self) {
        if tracing::enabled!(target: "wawo_otel", tracing::Level::WARN)
            && !self.level_filter.swap(true, Ordering::Relaxed)
        {
            warn!(
                target: "wawo_otel",
                "no call is traced: the filters of the subscriber of `tracing` leave out the level DEBUG; let \
                 `wawo::call=debug` pass"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{Event, Level, Metadata, Subscriber, field::Field, span};

    use super::SetupReport;

    /// Collects the texts of events.
    #[derive(Clone)]
    struct Texts {
        level: Level,
        texts: Arc<Mutex<Vec<String>>>,
    }

    impl Texts {
        fn of(level: Level, test: impl FnOnce()) -> Vec<String> {
            let texts = Arc::default();
            let subscriber = Self { level, texts };
            // With a second subscriber, `tracing` asks the one of each thread whether it is interested.
            let _second = tracing::Dispatch::new(subscriber.clone());
            tracing::subscriber::with_default(subscriber.clone(), test);
            let mut texts = subscriber.texts.lock().unwrap();
            std::mem::take(&mut texts)
        }
    }

    impl Subscriber for Texts {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= self.level
        }

        fn event(&self, event: &Event<'_>) {
            event.record(&mut |_: &Field, text: &dyn std::fmt::Debug| {
                self.texts.lock().unwrap().push(format!("{text:?}"));
            });
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn a_fault_of_the_setup_is_reported_once_and_only_to_a_subscriber_that_shows_it() {
        let report = SetupReport::default();
        let all = || {
            report.no_layer();
            report.level_filter();
        };
        assert!(Texts::of(Level::ERROR, all).is_empty());
        let warnings = Texts::of(Level::WARN, all);
        assert_eq!(warnings.len(), 2);
        assert!(
            warnings[0].contains("tracing_opentelemetry::layer()"),
            "{warnings:?}"
        );
        assert!(warnings[1].contains("wawo::call=debug"), "{warnings:?}");
        assert!(Texts::of(Level::WARN, all).is_empty());
    }
}
