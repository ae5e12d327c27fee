//! The command lines of a server and of a client.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};

use crate::{Flags, MAX_MESSAGE_BYTES, Workload};

/// The arguments of a server.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServerArguments {
    /// The address to listen at.
    pub addr: SocketAddr,
    /// The time after which the server exits, so that none is left behind. Ten minutes by default.
    pub lifetime: Duration,
}

impl ServerArguments {
    /// Parses `--addr A [--lifetime SECS]`.
    ///
    /// # Errors
    ///
    /// An argument is missing, unknown, malformed or out of bounds.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut flags = Flags::parse(words)?;
        let arguments = Self {
            addr: flags.require("--addr")?,
            lifetime: seconds(flags.take_or("--lifetime", 600.0)?)?,
        };
        flags.finish()?;
        Ok(arguments)
    }
}

/// The arguments of a client.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClientArguments {
    /// The address of the server.
    pub addr: SocketAddr,
    /// The workload of each connection.
    pub workload: Workload,
    /// The number of connections.
    pub conns: usize,
    /// The number of callers or streams per connection.
    pub inflight: usize,
    /// The number of bytes in the payload of a message.
    pub size: usize,
    /// The time of the measurement.
    pub measured: Duration,
    /// The time of the warm-up. Half a second by default.
    pub warm_up: Duration,
    /// The server's process id, for its CPU time.
    pub server_pid: Option<u32>,
}

impl ClientArguments {
    /// Parses `--addr A --workload W --conns N --inflight N --size BYTES --secs S [--warmup S]
    /// [--server-pid PID]`.
    ///
    /// # Errors
    ///
    /// An argument is missing, unknown, malformed or out of bounds.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut flags = Flags::parse(words)?;
        let arguments = Self {
            addr: flags.require("--addr")?,
            workload: flags.require("--workload")?,
            conns: flags.require("--conns")?,
            inflight: flags.require("--inflight")?,
            size: flags.require("--size")?,
            measured: seconds(flags.require("--secs")?)?,
            warm_up: seconds(flags.take_or("--warmup", 0.5)?)?,
            server_pid: flags.take("--server-pid")?,
        };
        flags.finish()?;
        ensure!(
            (1..=10_000).contains(&arguments.conns),
            "--conns is not in 1..=10000"
        );
        ensure!(
            (1..=100_000).contains(&arguments.inflight),
            "--inflight is not in 1..=100000"
        );
        ensure!(
            arguments.size <= MAX_MESSAGE_BYTES / 2,
            "--size is above 8 MiB"
        );
        ensure!(!arguments.measured.is_zero(), "--secs is zero");
        Ok(arguments)
    }
}

fn seconds(given: f64) -> Result<Duration> {
    ensure!(
        (0.0..=3600.0).contains(&given),
        "{given} s is not in 0..=3600"
    );
    Ok(Duration::from_secs_f64(given))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ClientArguments, ServerArguments};
    use crate::Workload;

    const LINE: &str =
        "--addr 127.0.0.1:9 --workload one_way --conns 2 --inflight 3 --size 32 --secs 1.5";

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_client_line_parses_with_defaults() {
        let arguments = ClientArguments::parse(words(LINE)).unwrap();
        assert_eq!(arguments.workload, Workload::OneWay);
        assert_eq!(
            (arguments.conns, arguments.inflight, arguments.size),
            (2, 3, 32)
        );
        assert_eq!(arguments.measured, Duration::from_millis(1500));
        assert_eq!(arguments.warm_up, Duration::from_millis(500));
        assert_eq!(arguments.server_pid, None);
    }

    #[test]
    fn a_client_line_out_of_bounds_is_refused() {
        for (from, to) in [
            ("--conns 2", "--conns 0"),
            ("--inflight 3", ""),
            ("--secs 1.5", "--secs 0"),
            ("--secs 1.5", "--secs -1"),
            ("--secs 1.5", "--secs NaN"),
            ("--size 32", "--size 99999999"),
            ("one_way", "two_way"),
        ] {
            assert!(
                ClientArguments::parse(words(&LINE.replace(from, to))).is_err(),
                "{to}"
            );
        }
    }

    #[test]
    fn a_server_lives_ten_minutes_unless_told() {
        let arguments = ServerArguments::parse(words("--addr 127.0.0.1:9")).unwrap();
        assert_eq!(arguments.lifetime, Duration::from_secs(600));
    }
}
