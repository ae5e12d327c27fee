//! The trait of a framework under test.

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};

use crate::{
    ClientArguments, IdleReport, Load, Report, ServerArguments, Workload, client, idle, server,
};

/// A framework with an echo service on it.
pub trait Framework: 'static {
    /// Its name in the table.
    const NAME: &'static str;

    /// The workloads that it supports.
    const WORKLOADS: &'static [Workload];

    /// The number of runtimes that share the client's connections and [`WORKER_THREADS`]; a divisor
    /// of the latter.
    ///
    /// [`WORKER_THREADS`]: crate::WORKER_THREADS
    const CLIENT_RUNTIMES: usize = 1;

    /// Listens at `addr` and serves echo forever.
    fn serve(addr: SocketAddr) -> impl Future<Output = Result<()>> + Send;

    /// Opens one connection to `addr` and loads it; returns only after a failure.
    fn load(addr: SocketAddr, load: Load) -> impl Future<Output = Result<Infallible>> + Send;

    /// Whether a server listens at `addr`. Only a framework that does not use TCP overrides it.
    #[must_use]
    fn is_listening(addr: SocketAddr) -> bool {
        TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_ok()
    }

    /// Removes everything that a killed server at `addr` left behind; nothing by default.
    fn clean_up(_addr: SocketAddr) {}
}

/// A [`Framework`] as a value, for a table of frameworks.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    name: &'static str,
    workloads: &'static [Workload],
    serve: fn(&ServerArguments) -> Result<()>,
    measure: fn(&ClientArguments) -> Result<Report>,
    measure_idle: fn(&ClientArguments) -> Result<IdleReport>,
    is_listening: fn(SocketAddr) -> bool,
    clean_up: fn(SocketAddr),
}

impl Entry {
    /// The entry of `F`.
    #[must_use]
    pub const fn of<F: Framework>() -> Self {
        Self {
            name: F::NAME,
            workloads: F::WORKLOADS,
            serve: server::run::<F>,
            measure: client::run::<F>,
            measure_idle: idle::run::<F>,
            is_listening: F::is_listening,
            clean_up: F::clean_up,
        }
    }

    /// Its name in the table.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it supports `workload`.
    #[must_use]
    pub fn supports(&self, workload: Workload) -> bool {
        self.workloads.contains(&workload)
    }

    /// Serves until the lifetime is over.
    ///
    /// # Errors
    ///
    /// It cannot listen, or the framework failed.
    pub fn serve(&self, arguments: &ServerArguments) -> Result<()> {
        (self.serve)(arguments)
    }

    /// Whether its server listens at `addr`.
    #[must_use]
    pub fn is_listening(&self, addr: SocketAddr) -> bool {
        (self.is_listening)(addr)
    }

    /// Removes everything that a server at `addr` left behind.
    pub fn clean_up(&self, addr: SocketAddr) {
        (self.clean_up)(addr);
    }

    /// Loads a server and measures.
    ///
    /// # Errors
    ///
    /// The framework lacks the workload, a connection or a call failed, or no call was answered.
    pub fn measure(&self, arguments: &ClientArguments) -> Result<Report> {
        self.ensure_supported(arguments.workload)?;
        (self.measure)(arguments)
    }

    /// Opens idle connections, and measures their memory in the server.
    ///
    /// # Errors
    ///
    /// A connection or its only call failed, or the process id of the server is missing.
    pub fn measure_idle(&self, arguments: &ClientArguments) -> Result<IdleReport> {
        self.ensure_supported(arguments.workload)?;
        (self.measure_idle)(arguments)
    }

    fn ensure_supported(&self, workload: Workload) -> Result<()> {
        ensure!(
            self.supports(workload),
            "{} has no workload `{workload}`",
            self.name
        );
        Ok(())
    }
}
