//! Runs a server and a client process, and counts the instructions of each with valgrind.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
};

use crate::{Result, load::Load};

/// The instructions of one call or item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    pub(crate) server: f64,
    pub(crate) client: f64,
}

pub(crate) fn has_valgrind() -> bool {
    let version = Command::new("valgrind").arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// Runs a load once, without counting, to show that it works.
pub(crate) fn natively(load: Load) -> Result<()> {
    let (server, address) = Process::server(Run::Natively, load)?;
    let calls = load.calls().0.to_string();
    let client = Process::start(Run::Natively, &["client", &address, load.name(), &calls])?;
    client.end()?;
    server.end().map(drop)
}

/// The cost of a call of a load: the minimum of several runs, because chance only adds to it. Calls
/// are gathered into reads and writes in the same way in each run; for one-way messages and items
/// this depends on the speed of both sides. Ends early when the cost `is_enough`.
pub(crate) fn under_valgrind(load: Load, is_enough: impl Fn(Cost) -> bool) -> Result<Cost> {
    let mut least = counted_once(load)?;
    for _ in 1..RUNS {
        if is_enough(least) {
            break;
        }
        let again = counted_once(load)?;
        least.server = least.server.min(again.server);
        least.client = least.client.min(again.client);
    }
    Ok(least)
}

/// The maximum number of runs per load.
const RUNS: u32 = 10;

fn counted_once(load: Load) -> Result<Cost> {
    let (few, many) = load.calls();
    let (first, second) = (collected(load, few)?, collected(load, many)?);
    let more = (many - few) as f64;
    Ok(Cost {
        server: (second.0 - first.0) as f64 / more,
        client: (second.1 - first.1) as f64 / more,
    })
}

/// The total instructions of a server and of a client.
fn collected(load: Load, calls: u64) -> Result<(i64, i64)> {
    let (server, address) = Process::server(Run::Counted, load)?;
    let calls = calls.to_string();
    let client = Process::start(Run::Counted, &["client", &address, load.name(), &calls])?;
    let client = instructions(&client.end()?)?;
    Ok((instructions(&server.end()?)?, client))
}

/// `==123== Collected : 456`
fn instructions(report: &str) -> Result<i64> {
    let count = report.split("Collected :").nth(1);
    let count = count.and_then(|rest| rest.split_whitespace().next());
    let count = count.ok_or_else(|| format!("no count in what valgrind says: {report}"))?;
    Ok(count.parse()?)
}

#[derive(Debug, Clone, Copy)]
enum Run {
    Natively,
    Counted,
}

/// This program in another role, killed on drop.
struct Process(Child);

impl Process {
    fn start(run: Run, words: &[&str]) -> Result<Self> {
        let own = env::current_exe()?;
        let mut command = match run {
            Run::Natively => Command::new(own),
            Run::Counted => {
                let mut valgrind = Command::new("valgrind");
                valgrind
                    .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
                    .arg(own);
                valgrind
            }
        };
        command.args(words).stdin(Stdio::null());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self(command.spawn()?))
    }

    /// Starts a server; returns it and the address that it prints when it listens.
    fn server(run: Run, load: Load) -> Result<(Self, String)> {
        let mut server = Self::start(run, &["server", "127.0.0.1:0", load.name()])?;
        let output = server.0.stdout.take().ok_or("no output")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        Ok((server, address.trim().to_owned()))
    }

    /// Waits for the end of the process; returns its standard error.
    fn end(mut self) -> Result<String> {
        let mut said = String::new();
        if let Some(mut stderr) = self.0.stderr.take() {
            stderr.read_to_string(&mut said)?;
        }
        match self.0.wait()? {
            status if status.success() => Ok(said),
            status => Err(format!("{status}: {said}").into()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended by itself. Both calls then fail, as expected.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
