//! Calls, and the spans that the SDK of OpenTelemetry exports of them.

mod fields;
mod parents;
mod sampling;
mod support;
mod times;
