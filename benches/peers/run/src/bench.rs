//! Runs one workload on all frameworks.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use harness::{IdleReport, Report, Workload};
use serde::de::DeserializeOwned;

use crate::{
    case::Case,
    charts, machine,
    plan::Plan,
    process,
    quiet::{self, Machine},
    row::Row,
    section::Section,
    table,
};

/// Measures `case` according to `plan`.
///
/// # Errors
///
/// A measurement failed.
pub(crate) fn run(case: &Case, plan: &Plan) -> Result<Section> {
    let (table, charts, begun) = if case.workload == Workload::Idle {
        let (rows, begun) = rounds::<IdleReport>(case, plan)?;
        (table::idle(&rows), charts::idle(case, &rows), begun)
    } else {
        let (rows, begun) = rounds::<Report>(case, plan)?;
        (table::load(case, &rows), charts::load(case, &rows), begun)
    };
    Ok(Section {
        name: case.name,
        title: case.title(),
        table,
        note: format!(
            "{} {} {}",
            plan.description(),
            begun.note(),
            machine::description()
        ),
        charts,
    })
}

/// Each round measures all frameworks, so that other load of the machine affects all of them.
fn rounds<R: DeserializeOwned>(case: &Case, plan: &Plan) -> Result<(Vec<Row<R>>, Begun)> {
    let mut rows: Vec<_> = plan.frameworks.iter().copied().map(Row::new).collect();
    let mut begun = Begun::default();
    for round in 1..=plan.rounds {
        for row in &mut rows {
            let (name, framework) = (row.framework.name(), row.framework);
            if !framework.supports(case.workload) {
                continue;
            }
            begun.count(quiet::wait(plan.max_wait)?);
            let rounds = plan.rounds;
            writeln!(
                io::stderr(),
                "{} round {round} of {rounds}: {name}",
                case.name
            )?;
            let report = process::measure(framework, case, plan)
                .with_context(|| format!("{name}, {}", case.name))?;
            row.reports.push(report);
        }
    }
    Ok((rows, begun))
}

/// The number of measurements, by the state of the machine when they began.
#[derive(Debug, Default)]
struct Begun {
    quiet: usize,
    busy: usize,
}

impl Begun {
    const fn count(&mut self, machine: Machine) {
        match machine {
            Machine::Quiet => self.quiet += 1,
            Machine::Busy => self.busy += 1,
        }
    }

    fn note(&self) -> String {
        let Self { quiet, busy } = self;
        format!(
            "{busy} of {} measurements began on a busy machine.",
            quiet + busy
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Begun, Machine};

    #[test]
    fn the_note_tells_how_many_were_disturbed() {
        let mut begun = Begun::default();
        for machine in [Machine::Quiet, Machine::Busy, Machine::Quiet] {
            begun.count(machine);
        }
        assert_eq!(begun.note(), "1 of 3 measurements began on a busy machine.");
    }
}
