//! Calls, and the spans that the SDK of OpenTelemetry exports of them.

mod fields;
mod hops;
mod parents;
mod sampling;
mod support;
mod times;
