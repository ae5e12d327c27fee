//! What every framework under load shares.
//!
//! A framework implements [`Framework`]: a server for the echo service, and the load of one
//! client connection, for which [`Load`] has the closed loops. Everything else is here, once, so
//! that all of them are measured alike:
//!
//! ```text
//!  arguments ──▶ server / client ──▶ Framework::serve / Framework::load (one per connection)
//!                      │                         │ calls
//!                      │                   latency::record      one histogram per worker thread
//!                      └── sample before, sample after (calls, CPU of both processes) ──▶ Report
//! ```

mod arguments;
mod client;
mod cpu;
mod flags;
mod framework;
pub mod latency;
mod load;
mod report;
mod server;
mod workload;

pub use self::{
    arguments::{ClientArguments, ServerArguments},
    flags::Flags,
    framework::{Entry, Framework},
    latency::Histogram,
    load::{Event, Load},
    report::Report,
    workload::Workload,
};

/// Worker threads of the runtime, in the server and in the client.
pub const WORKER_THREADS: usize = 2;

/// The largest message a framework must take, head and payload.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
}
