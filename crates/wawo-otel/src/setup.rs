//! Messages about a subscriber that makes no traces, so that a program does not search for them in vain.

use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{info, warn};

/// What was reported; each of these once.
#[derive(Debug, Default)]
pub(crate) struct SetupReport {
    no_layer: AtomicBool,
    level_filter: AtomicBool,
}

impl SetupReport {
    /// The subscriber has no layer of `tracing-opentelemetry`, or hides it.
    #[cold]
    pub(crate) fn no_layer(&self) {
        if tracing::enabled!(tracing::Level::WARN) && !self.no_layer.swap(true, Ordering::Relaxed) {
            warn!(
                "no call is traced: the subscriber of `tracing` has no layer of OpenTelemetry; add \
                 `tracing_opentelemetry::layer().with_tracer(..)` to it"
            );
        }
    }

    /// The subscriber has no interest in spans of the level DEBUG.
    #[cold]
    pub(crate) fn level_filter(&self) {
        if tracing::enabled!(tracing::Level::INFO)
            && !self.level_filter.swap(true, Ordering::Relaxed)
        {
            info!(
                "no call is traced: the filters of the subscriber of `tracing` leave out the level DEBUG; let \
                 `wawo::call=debug` pass"
            );
        }
    }
}
