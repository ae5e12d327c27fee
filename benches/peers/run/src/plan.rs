//! What to run: the command line of the runner.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Entry, Flags};

use crate::{case::Case, framework};

/// Which frameworks, on which workloads, how often and how long.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) cases: Vec<Case>,
    pub(crate) frameworks: Vec<Entry>,
    pub(crate) rounds: usize,
    pub(crate) measured: Duration,
    pub(crate) warm_up: Duration,
}

impl Plan {
    /// Parses the flags; without any, all of `known` on W3, three rounds of two seconds.
    pub(crate) fn parse(words: Vec<String>, known: &[Entry]) -> Result<Self> {
        let mut flags = Flags::parse(words)?;
        let all: Vec<_> = known.iter().map(Entry::name).collect();
        let cases: String = flags.take_or("--workloads", "W3".to_owned())?;
        let frameworks: String = flags.take_or("--frameworks", all.join(","))?;
        let rounds = flags.take_or("--rounds", 3)?;
        let measured: f64 = flags.take_or("--secs", 2.0)?;
        let warm_up: f64 = flags.take_or("--warmup", 0.5)?;
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
        Ok(Self {
            cases: cases.split(',').map(Case::named).collect::<Result<_>>()?,
            frameworks: frameworks
                .split(',')
                .map(|name| framework(known, name))
                .collect::<Result<_>>()?,
            rounds,
            measured: Duration::from_secs_f64(measured),
            warm_up: Duration::from_secs_f64(warm_up),
        })
    }
}

#[cfg(test)]
mod tests {
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
    fn unknown_names_are_refused_with_those_known() {
        let error = plan("--workloads W9").unwrap_err().to_string();
        assert!(error.contains("W5a"), "{error}");
        let error = plan("--frameworks gopher").unwrap_err().to_string();
        assert!(error.contains("tarpc"), "{error}");
        assert!(plan("--rounds 0").is_err());
        assert!(plan("--round 1").is_err());
    }
}
