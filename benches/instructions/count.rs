//! A server and a client process, and how many instructions valgrind counts in each.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
};

use crate::{Result, load::Load};

/// Instructions of one call or item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    pub(crate) server: f64,
    pub(crate) client: f64,
}

pub(crate) fn has_valgrind() -> bool {
    let version = Command::new("valgrind").arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// Runs a load once, to see that it works.
pub(crate) fn natively(load: Load) -> Result<()> {
    let (server, address) = Process::server(Run::Natively)?;
    let calls = load.calls().0.to_string();
    let client = Process::start(Run::Natively, &["client", &address, load.name(), &calls])?;
    client.end()?;
    server.end().map(drop)
}

/// What a call of a load costs: the least of some runs, as chance only adds to it. How calls gather
/// into reads and writes is the same each time; for what is not answered, that hangs on the speed of
/// both sides. Ends early when it `is_enough`.
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

/// A load is counted so often at most.
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

/// The instructions of a whole server and of a whole client.
fn collected(load: Load, calls: u64) -> Result<(i64, i64)> {
    let (server, address) = Process::server(Run::Counted)?;
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

/// This program in another role; killed on drop.
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

    /// A server, and the address that it prints once it listens.
    fn server(run: Run) -> Result<(Self, String)> {
        let mut server = Self::start(run, &["server", "127.0.0.1:0"])?;
        let output = server.0.stdout.take().ok_or("no output")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        Ok((server, address.trim().to_owned()))
    }

    /// What it said on its standard error, at its end.
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
        // It may have ended by itself; both fail then, as they should.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
