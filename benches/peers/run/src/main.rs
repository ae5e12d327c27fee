//! Runs frameworks against each other on the same workloads, in turn, and prints a table.
//!
//! ```text
//! peers-run [--workloads W2,W3] [--frameworks tonic,tarpc] [--rounds 3] [--secs 2] [--warmup 0.5]
//! peers-run peer NAME server --addr ADDR [--lifetime SECS]
//! peers-run peer NAME client --addr ADDR --workload unary --conns N --inflight N --size BYTES
//!                            --secs S [--warmup S] [--server-pid PID]
//! ```
//!
//! The first form starts the other two, from this same binary, so that no framework can be one
//! build behind; the client form prints one JSON line. Both can be run by hand, for a profile.

mod case;
mod plan;
mod process;
mod table;

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use harness::{ClientArguments, Entry, ServerArguments};

use self::plan::Plan;

/// All frameworks; a new one is added here.
const FRAMEWORKS: &[Entry] = &[
    Entry::of::<limit_peer::Limit>(),
    Entry::of::<bare_peer::Bare>(),
    Entry::of::<connectrpc_peer::ConnectRpc>(),
    Entry::of::<tarpc_peer::Tarpc>(),
    Entry::of::<tonic_peer::Tonic>(),
    Entry::of::<ttrpc_peer::Ttrpc>(),
    Entry::of::<volo_thrift_peer::VoloThrift>(),
    Entry::of::<wawo_peer::Wawo>(),
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
        _ => run_plan(&Plan::parse(words, FRAMEWORKS)?),
    }
}

fn run_peer(name: &str, side: &str, arguments: &[String]) -> Result<()> {
    let entry = framework(FRAMEWORKS, name)?;
    let arguments = arguments.iter().cloned();
    match side {
        "server" => entry.serve(&ServerArguments::parse(arguments)?),
        "client" => {
            let report = entry.measure(&ClientArguments::parse(arguments)?)?;
            Ok(writeln!(
                io::stdout(),
                "{}",
                serde_json::to_string(&report)?
            )?)
        }
        _ => bail!("`{side}` is neither server nor client"),
    }
}

/// Rounds of frameworks, not frameworks of rounds: what else the machine does then meets all.
fn run_plan(plan: &Plan) -> Result<()> {
    for case in &plan.cases {
        let mut rows: Vec<_> = plan.frameworks.iter().map(table::Row::new).collect();
        for round in 1..=plan.rounds {
            for row in rows
                .iter_mut()
                .filter(|row| row.framework.supports(case.workload))
            {
                let name = row.framework.name();
                writeln!(
                    io::stderr(),
                    "{} round {round} of {}: {name}",
                    case.name,
                    plan.rounds
                )?;
                let report = process::measure(row.framework, case, plan)
                    .with_context(|| format!("{name}, {}", case.name))?;
                row.reports.push(report);
            }
        }
        writeln!(io::stdout(), "{}", table::markdown(case, &rows))?;
    }
    Ok(())
}

fn framework(known: &[Entry], name: &str) -> Result<Entry> {
    let found = known.iter().find(|entry| entry.name() == name).copied();
    found.with_context(|| {
        let names: Vec<_> = known.iter().map(Entry::name).collect();
        format!("unknown framework `{name}`: {}", names.join(", "))
    })
}
