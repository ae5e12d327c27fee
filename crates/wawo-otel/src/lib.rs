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
//! [`tracing-opentelemetry`](https://docs.rs/tracing-opentelemetry). The program gives that layer to its subscriber, with
//! the SDK and an exporter of its choice, such as that of `opentelemetry-otlp`:
//!
//! ```
//! use opentelemetry::trace::TracerProvider as _;
//! use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter};
//! use tracing_subscriber::{filter::LevelFilter, filter::Targets, prelude::*};
//!
//! /// Exports the spans of calls until the provider is shut down.
//! fn start_traces(exporter: impl SpanExporter + 'static) -> SdkTracerProvider {
//!     let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
//!     let levels = Targets::new().with_default(LevelFilter::INFO);
//!     tracing_subscriber::registry()
//!         .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("wawo")))
//!         .with(levels.with_target("wawo::call", LevelFilter::DEBUG))
//!         .init();
//!     provider
//! }
//! # let provider = start_traces(opentelemetry_sdk::trace::InMemorySpanExporter::default());
//! # provider.shutdown().unwrap();
//! ```
//!
//! # A call in two processes
//!
//! ```text
//!   handler of the first process          handler of the second process
//!      │ makes a call                        ▲ runs in the server's span
//!   Traces::began    the client's span    Traces::began   the server's span, a child of the client's
//!      │                                     ▲
//!   Traces::inject ── metadata `traceparent`, `tracestate` ──┘
//! ```
//!
//! See [`Traces`] for parents and sampling, and [`Spans`](wawo::observe::Spans) for the fields of a span.

mod parent;
mod propagation;
mod sampling;
mod setup;
mod traces;

pub use crate::traces::Traces;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
