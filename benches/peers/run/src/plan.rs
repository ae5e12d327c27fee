//! The command line of the runner.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use harness::{Entry, Flags, Workload};

use crate::{case::Case, framework};

/// The frameworks, the workloads, and the number and length of rounds.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) cases: Vec<Case>,
    pub(crate) frameworks: Vec<Entry>,
    pub(crate) rounds: usize,
    pub(crate) measured: Duration,
    pub(crate) warm_up: Duration,
    /// The maximum time that a measurement waits for a quiet machine.
    pub(crate) max_wait: Duration,
    /// The file of the report, in addition to the standard output.
    pub(crate) report: Option<PathBuf>,
}

impl Plan {
    /// Parses the flags. The defaults are all of `known` on W3, with three rounds of two seconds.
    ///
    /// # Errors
    ///
    /// A flag is unknown, malformed or out of bounds.
    pub(crate) fn parse(words: Vec<String>, known: &[Entry]) -> Result<Self> {
        let mut flags = Flags::parse(words)?;
        let all: Vec<_> = known.iter().map(Entry::name).collect();
        let cases: String = flags.take_or("--workloads", "W3".to_owned())?;
        let frameworks: String = flags.take_or("--frameworks", all.join(","))?;
        let rounds = flags.take_or("--rounds", 3)?;
        let measured: f64 = flags.take_or("--secs", 2.0)?;
        let warm_up: f64 = flags.take_or("--warmup", 0.5)?;
        // A short measurement is not worth a long wait.
        let max_wait: f64 = flags.take_or("--quiet-secs", (5.0 * measured).clamp(0.0, 10.0))?;
        let connections: Option<usize> = flags.take("--connections")?;
        let report = flags.take("--report")?;
        flags.finish()?;
        ensure!((1..=100).contains(&rounds), "--rounds is not in 1..=100");
        ensure!(
            (0.1..=600.0).contains(&measured),
            "--secs is not in 0.1..=600"
        );
        ensure!(
            (0.0..=600.0).contains(&warm_up),
            "--warmup is not in 0..=600"
        );
        ensure!(
            (0.0..=600.0).contains(&max_wait),
            "--quiet-secs is not in 0..=600"
        );
        let mut cases = Case::list(&cases)?;
        if let Some(connections) = connections {
            let idle = cases.iter_mut().filter(|c| c.workload == Workload::Idle);
            idle.for_each(|case| case.conns = connections);
        }
        Ok(Self {
            cases,
            frameworks: frameworks
                .split(',')
                .map(|name| framework(known, name))
                .collect::<Result<_>>()?,
            rounds,
            measured: Duration::from_secs_f64(measured),
            warm_up: Duration::from_secs_f64(warm_up),
            max_wait: Duration::from_secs_f64(max_wait),
            report,
        })
    }

    /// A description of the measurement, as a sentence.
    pub(crate) fn description(&self) -> String {
        let Self {
            rounds,
            measured,
            warm_up,
            ..
        } = self;
        format!("Rounds: {rounds}, each of {measured:?} after {warm_up:?} of warm-up.")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Plan;
    use crate::FRAMEWORKS;

    fn plan(line: &str) -> anyhow::Result<Plan> {
        Plan::parse(
            line.split_whitespace().map(str::to_owned).collect(),
            FRAMEWORKS,
        )
    }

    #[test]
    fn nothing_said_is_all_frameworks_on_w3() {
        let plan = plan("").unwrap();
        assert_eq!(plan.frameworks.len(), FRAMEWORKS.len());
        assert_eq!(
            plan.cases.iter().map(|case| case.name).collect::<Vec<_>>(),
            ["W3"]
        );
        assert_eq!(plan.rounds, 3);
        assert_eq!(plan.max_wait, Duration::from_secs(10));
    }

    #[test]
    fn lists_keep_their_order() {
        let plan = plan("--workloads W5b,W1 --frameworks tonic,limit").unwrap();
        assert_eq!(
            plan.cases.iter().map(|case| case.name).collect::<Vec<_>>(),
            ["W5b", "W1"]
        );
        let names: Vec<_> = plan.frameworks.iter().map(|entry| entry.name()).collect();
        assert_eq!(names, ["tonic", "limit"]);
    }

    #[test]
    fn a_short_measurement_waits_shortly() {
        let wait = |line| plan(line).unwrap().max_wait;
        assert_eq!(wait("--secs 0.5"), Duration::from_millis(2500));
        assert_eq!(wait("--secs 0.5 --quiet-secs 0"), Duration::ZERO);
    }

    #[test]
    fn only_idle_connections_are_counted_by_flag() {
        let plan = plan("--workloads W3,W7 --connections 50").unwrap();
        assert_eq!(
            plan.cases.iter().map(|case| case.conns).collect::<Vec<_>>(),
            [16, 50]
        );
    }

    #[test]
    fn unknown_names_are_refused_with_those_known() {
        let error = plan("--workloads W9").unwrap_err().to_string();
        assert!(error.contains("W5a"), "{error}");
        let error = plan("--frameworks gopher").unwrap_err().to_string();
        assert!(error.contains("tarpc"), "{error}");
        assert!(plan("--rounds 0").is_err());
        assert!(plan("--round 1").is_err());
    }
}
