//! One measurement: a server process and a client process, both ended in time.

use std::{
    env,
    io::Read as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use harness::{Entry, Workload};
use serde::de::DeserializeOwned;

use crate::{case::Case, plan::Plan};

/// Starts a server of `framework`, runs one client against it, and ends both. `R` is the type that
/// a client of `case` prints.
///
/// # Errors
///
/// One of them cannot start, fails, or takes too long.
pub(crate) fn measure<R: DeserializeOwned>(
    framework: Entry,
    case: &Case,
    plan: &Plan,
) -> Result<R> {
    let addr = free_address()?;
    let measured = measure_at(addr, framework, case, plan);
    framework.clean_up(addr);
    let line = measured?;
    serde_json::from_str(&line).with_context(|| format!("the client printed `{line}`"))
}

fn measure_at(addr: SocketAddr, framework: Entry, case: &Case, plan: &Plan) -> Result<String> {
    let measured = match case.workload {
        Workload::Idle => SETTLE,
        _ => plan.measured,
    };
    let client_time = plan.warm_up + measured * 2 + CLIENT_GRACE;
    let mut server = Process::start(
        framework,
        "server",
        &[
            ("--addr", addr.to_string()),
            (
                "--lifetime",
                (START_TIMEOUT + client_time).as_secs_f64().to_string(),
            ),
        ],
    )?;
    server.await_listening(framework, addr)?;
    let client = Process::start(
        framework,
        "client",
        &[
            ("--addr", addr.to_string()),
            ("--workload", case.workload.to_string()),
            ("--conns", case.conns.to_string()),
            ("--inflight", case.inflight.to_string()),
            ("--size", case.size.to_string()),
            ("--secs", measured.as_secs_f64().to_string()),
            ("--warmup", plan.warm_up.as_secs_f64().to_string()),
            ("--server-pid", server.child.id().to_string()),
        ],
    )?;
    client.output_within(client_time)
}

/// A process of this binary; killed on drop.
struct Process {
    child: Child,
}

impl Process {
    fn start(framework: Entry, side: &str, flags: &[(&str, String)]) -> Result<Self> {
        // Nobody reads a server's output while it runs, so it must not print into a pipe that could
        // fill up.
        let stdout = if side == "client" {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let binary = env::current_exe().context("find the own binary")?;
        let child = Command::new(binary)
            .args(["peer", framework.name(), side])
            .args(flags.iter().flat_map(|(name, value)| [*name, value]))
            .stdin(Stdio::null())
            .stdout(stdout)
            .spawn()
            .with_context(|| format!("start the {side}"))?;
        Ok(Self { child })
    }

    fn await_listening(&mut self, framework: Entry, addr: SocketAddr) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if framework.is_listening(addr) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended at its start: {status}");
            }
            thread::sleep(POLL);
        }
        bail!("the server did not listen within {START_TIMEOUT:?}")
    }

    /// Its output, which must fit into a pipe.
    fn output_within(mut self, limit: Duration) -> Result<String> {
        let status = self.exit_within(limit)?;
        ensure!(status.success(), "the client failed: {status}");
        let mut output = String::new();
        self.child
            .stdout
            .take()
            .context("no output")?
            .read_to_string(&mut output)?;
        Ok(output)
    }

    fn exit_within(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
        bail!("the client did not end within {limit:?}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended by itself. Both calls then fail, as expected.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free now. If it is taken before the server starts, that run fails.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

const START_TIMEOUT: Duration = Duration::from_secs(10);
/// The time for the client to connect and to end. Connecting times out after 30 s by itself, twice
/// with idle connections.
const CLIENT_GRACE: Duration = Duration::from_secs(70);
/// The time for which idle connections rest before the memory of their server is measured.
const SETTLE: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(20);
