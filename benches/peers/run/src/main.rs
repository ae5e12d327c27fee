//! Runs frameworks in turn on the same workloads, and prints a table.
//!
//! ```text
//! peers-run [--workloads all] [--frameworks tonic,tarpc] [--rounds 3] [--secs 2] [--warmup 0.5]
//!           [--quiet-secs 10] [--connections 1000] [--report FILE]
//! peers-run build [--frameworks tonic,tarpc] [--report FILE]
//! peers-run peer NAME server --addr ADDR [--lifetime SECS]
//! peers-run peer NAME client --addr ADDR --workload unary --conns N --inflight N --size BYTES
//!                            --secs S [--warmup S] [--server-pid PID]
//! ```
//!
//! The first form starts the last two from this same binary, so that no framework can be out of
//! date. The client form prints one JSON line. Both can be run by hand, for a profile. The second
//! form builds minimal servers.

mod bench;
mod build;
mod case;
mod chart;
mod charts;
mod machine;
mod numbers;
mod plan;
mod process;
mod quiet;
mod report;
mod row;
mod section;
mod table;

use std::{
    env,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use harness::{ClientArguments, Entry, ServerArguments, Workload};

use self::{plan::Plan, section::Section};

/// All frameworks. Add new ones here.
const FRAMEWORKS: &[Entry] = &[
    Entry::of::<limit_peer::Limit>(),
    Entry::of::<bare_peer::Bare>(),
    Entry::of::<capnp_peer::Capnp>(),
    Entry::of::<connectrpc_peer::ConnectRpc>(),
    Entry::of::<tarpc_peer::Tarpc>(),
    Entry::of::<tonic_peer::Tonic>(),
    Entry::of::<tonic_peer::TonicTls>(),
    Entry::of::<ttrpc_peer::Ttrpc>(),
    Entry::of::<volo_thrift_peer::VoloThrift>(),
    Entry::of::<wawo_peer::Wawo>(),
    Entry::of::<wawo_peer::WawoMemory>(),
    Entry::of::<wawo_peer::WawoTls>(),
    Entry::of::<wawo_peer::WawoUnix>(),
    Entry::of::<wawo_peer::WawoWorkers>(),
];

fn main() -> ExitCode {
    match run(env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: Vec<String>) -> Result<()> {
    match words.as_slice() {
        [peer, name, side, rest @ ..] if peer == "peer" => run_peer(name, side, rest),
        [build, rest @ ..] if build == "build" => build::run(rest.to_vec()),
        _ => run_plan(&Plan::parse(words, FRAMEWORKS)?),
    }
}

fn run_peer(name: &str, side: &str, arguments: &[String]) -> Result<()> {
    let entry = framework(FRAMEWORKS, name)?;
    let arguments = arguments.iter().cloned();
    match side {
        "server" => entry.serve(&ServerArguments::parse(arguments)?),
        "client" => {
            let arguments = ClientArguments::parse(arguments)?;
            let line = match arguments.workload {
                Workload::Idle => serde_json::to_string(&entry.measure_idle(&arguments)?)?,
                _ => serde_json::to_string(&entry.measure(&arguments)?)?,
            };
            Ok(writeln!(io::stdout(), "{line}")?)
        }
        _ => bail!("`{side}` is neither server nor client"),
    }
}

/// Publishes each section when it is complete, since a run can take an hour.
fn run_plan(plan: &Plan) -> Result<()> {
    for case in &plan.cases {
        publish(&bench::run(case, plan)?, plan.report.as_deref())?;
    }
    Ok(())
}

/// Prints `section`, and writes it to the report if there is one.
fn publish(section: &Section, report: Option<&Path>) -> Result<()> {
    writeln!(io::stdout(), "{}", section.markdown())?;
    report.map_or(Ok(()), |path| report::write(path, section))
}

fn framework(known: &[Entry], name: &str) -> Result<Entry> {
    let found = known.iter().find(|entry| entry.name() == name).copied();
    found.with_context(|| {
        let names: Vec<_> = known.iter().map(Entry::name).collect();
        format!("unknown framework `{name}`: {}", names.join(", "))
    })
}
