//! What a framework under test implements.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::{Result, ensure};

use crate::{ClientArguments, Load, Report, ServerArguments, Workload, client, server};

/// A framework with an echo service on it.
pub trait Framework: 'static {
    /// Its name in the table.
    const NAME: &'static str;

    /// The workloads it can do.
    const WORKLOADS: &'static [Workload];

    /// Listens at `addr` and serves echo, for ever.
    fn serve(addr: SocketAddr) -> impl Future<Output = Result<()>> + Send;

    /// Opens one connection to `addr` and puts `load` on it; returns only when it failed.
    fn load(addr: SocketAddr, load: Load) -> impl Future<Output = Result<Infallible>> + Send;
}

/// A [`Framework`] as a value, for a table of them.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    name: &'static str,
    workloads: &'static [Workload],
    serve: fn(&ServerArguments) -> Result<()>,
    measure: fn(&ClientArguments) -> Result<Report>,
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
        }
    }

    /// Its name in the table.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it can do `workload`.
    #[must_use]
    pub fn supports(&self, workload: Workload) -> bool {
        self.workloads.contains(&workload)
    }

    /// Serves until the lifetime is over.
    ///
    /// # Errors
    ///
    /// It cannot listen, or the framework gave up.
    pub fn serve(&self, arguments: &ServerArguments) -> Result<()> {
        (self.serve)(arguments)
    }

    /// Puts load on a server and measures.
    ///
    /// # Errors
    ///
    /// The framework lacks the workload, a connection or a call failed, or nothing was answered.
    pub fn measure(&self, arguments: &ClientArguments) -> Result<Report> {
        let workload = arguments.workload;
        ensure!(
            self.supports(workload),
            "{} has no workload `{workload}`",
            self.name
        );
        (self.measure)(arguments)
    }
}
