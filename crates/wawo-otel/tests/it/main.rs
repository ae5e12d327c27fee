//! Calls, and the spans that the SDK of OpenTelemetry exports of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fields;
mod filters;
mod hops;
mod parents;
mod sampling;
mod support;
mod times;
