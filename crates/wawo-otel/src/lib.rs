//! Traces of wawo's calls in OpenTelemetry, over all processes that a call leads to.
//!
//! ```
//! use wawo_otel::Traces;
//!
//! let server = wawo::Server::builder().observe(Traces::new());
//! let client = wawo::Peer::builder("tcp://127.0.0.1:4000").observe(Traces::new());
//! ```
//!
//! The spans become spans of OpenTelemetry in the layer of
//! [`tracing-opentelemetry`](https://docs.rs/tracing-opentelemetry), which the program gives to its subscriber, with
//! the SDK and the exporter of its choice:
//!
//! ```text
//!   handler of the first process          handler of the second process
//!      │ makes a call                        ▲ runs in the server's span
//!   Traces::began    the client's span    Traces::began   the server's span, a child of the client's
//!      │                                     ▲
//!   Traces::inject ── metadata `traceparent`, `tracestate` ──┘
//! ```
//!
//! See [`Traces`] for sampling and set-up.

mod parent;
mod propagation;
mod sampling;
mod setup;
mod traces;

pub use crate::traces::Traces;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
