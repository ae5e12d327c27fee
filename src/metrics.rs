//! Metrics of calls and connections, without a collector: counts in memory, and their text.

mod figures;
mod handle;
mod series;
mod snapshot;

#[allow(unused_imports, reason = "the hooks use them")]
pub(crate) use crate::metrics::{
    figures::{AttemptKind, CallFigures, Gauge},
    series::Series,
};
pub use crate::metrics::{handle::Metrics, snapshot::MetricsSnapshot};
