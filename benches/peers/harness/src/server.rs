//! The server process.

use anyhow::{Context as _, Result};
use tokio::time::timeout;

use crate::{Framework, ServerArguments, WORKER_THREADS, runtime};

/// Serves `F` until its lifetime is over.
pub(crate) fn run<F: Framework>(arguments: &ServerArguments) -> Result<()> {
    let ServerArguments { addr, lifetime } = arguments.clone();
    let runtime = runtime(WORKER_THREADS)?;
    // Spawned, so that the workers do all of the work and the main thread none.
    let served = runtime.block_on(async { timeout(lifetime, tokio::spawn(F::serve(addr))).await });
    runtime.shutdown_background();
    match served {
        Ok(ended) => ended.context("the server panicked")?,
        Err(_elapsed) => Ok(()),
    }
}
