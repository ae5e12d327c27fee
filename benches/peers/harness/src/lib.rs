//! The part of a benchmark that all frameworks share.
//!
//! A framework implements [`Framework`]: a server for the echo service, and the load of one client
//! connection, for which [`Load`] provides the closed loops. Everything else is here, so that all
//! frameworks are measured in the same way:
//!
//! ```text
//!  arguments ──▶ server / client ──▶ Framework::serve / Framework::load (one per connection)
//!                      │                         │ calls
//!                      │                   latency::record      one histogram per worker thread
//!                      └── sample before, sample after (calls, CPU of both processes) ──▶ Report
//! ```
//!
//! Idle connections give an [`IdleReport`] instead: the server's memory before and after.

mod arguments;
mod client;
mod connections;
pub mod cpu;
mod flags;
mod framework;
mod idle;
pub mod latency;
mod load;
mod memory;
mod report;
mod server;
pub mod tls;
mod workload;

pub use self::{
    arguments::{ClientArguments, ServerArguments},
    flags::Flags,
    framework::{Entry, Framework},
    idle::IdleReport,
    latency::Histogram,
    load::{Event, Load},
    report::Report,
    workload::Workload,
};

/// Worker threads of the runtime in the server, and of all runtimes in the client.
pub const WORKER_THREADS: usize = 2;

/// The largest message that a framework must accept, header and payload.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Creates a runtime of a server or of a client. It may open as many files as the system allows.
fn runtime(worker_threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads)
        .enable_all()
        .build()
}
