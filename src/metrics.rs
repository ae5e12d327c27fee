//! Metrics of calls and connections: counts in memory, and their text for collectors.
//!
//! [`Metrics`] is the handle. A [`MetricsSnapshot`] has all figures as values, for bridges to collectors that
//! read no text. The names are in `docs/observability.md`.
//!
//! ```text
//!   hooks ──► handle ──► registry ──► writer ──► shard, cells    (one of each for a thread)
//!                           │                       │
//!                           └──► sums ◄─────────────┘
//!                                  └──► snapshot ──► exposition (text)
//! ```

mod buckets;
mod cells;
mod connections;
mod conversion;
mod counter;
mod durations;
mod exposition;
mod families;
mod figures;
mod handle;
mod registry;
mod series;
mod shard;
mod snapshot;
mod sums;
#[cfg(test)]
mod tests;
mod writer;

pub use wawo_protocol::Side;

pub use crate::metrics::{
    durations::CallDurations,
    handle::Metrics,
    snapshot::{
        ConnectionMetrics, IoBytes, MessageCount, MethodMetrics, MetricsSnapshot, Outcome,
        RefusedCalls,
    },
};
pub(crate) use crate::metrics::{
    figures::{CallFigures, Gauge},
    series::Series,
};
