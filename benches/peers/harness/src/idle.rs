//! The memory of idle connections in a server.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{ClientArguments, Framework, connections::Connections, memory};

/// The memory of a server before and after connections were opened, as one JSON line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IdleReport {
    /// The name of the framework.
    pub framework: String,
    /// The number of connections opened between the samples.
    pub conns: usize,
    /// Resident bytes of heap and stacks, before.
    pub before_bytes: u64,
    /// Resident bytes of heap and stacks, after.
    pub after_bytes: u64,
}

impl IdleReport {
    /// The memory per connection.
    #[must_use]
    pub fn bytes_per_connection(&self) -> f64 {
        self.after_bytes.saturating_sub(self.before_bytes) as f64 / self.conns as f64
    }
}

/// Opens connections to a server of `F`, makes one call on each, and compares its memory.
pub(crate) fn run<F: Framework>(arguments: &ClientArguments) -> Result<IdleReport> {
    let server = arguments.server_pid.context("--server-pid is missing")?;
    let connections = Connections::new::<F>()?;
    // The first calls make a server initialise shared state.
    connections.open::<F>(arguments, FIRST_CONNECTIONS)?;
    connections.run_for(arguments.measured)?;
    let before_bytes = memory::anonymous_bytes_of(server)?;
    connections.open::<F>(arguments, arguments.conns)?;
    connections.run_for(arguments.measured)?;
    let after_bytes = memory::anonymous_bytes_of(server)?;
    connections.close();
    Ok(IdleReport {
        framework: F::NAME.to_owned(),
        conns: arguments.conns,
        before_bytes,
        after_bytes,
    })
}

const FIRST_CONNECTIONS: usize = 16;

#[cfg(test)]
mod tests {
    use super::IdleReport;

    #[test]
    fn bytes_per_connection_are_the_difference_shared_out() {
        let report = IdleReport {
            framework: "tonic".to_owned(),
            conns: 1_000,
            before_bytes: 2 << 20,
            after_bytes: (2 << 20) + 25_000_000,
        };
        assert_eq!(report.bytes_per_connection(), 25_000.0);
    }
}
