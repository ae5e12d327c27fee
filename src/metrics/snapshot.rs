//! A copy of all metrics, for bridges to other collectors.

/// The state of a [`Metrics`](crate::Metrics) at one time.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct MetricsSnapshot {}
