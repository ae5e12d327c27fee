//! The measured figures, the checked-in ones, and their comparison.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
};

use crate::{Result, count::Cost};

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/instructions/figures.txt"
);

/// The figures from before optional features such as resume, groups and identity. They are never
/// rewritten: a load that uses no optional feature must not pay for them.
const BASELINE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/instructions/baseline.txt"
);

/// The maximum ratio of a figure to the checked-in one.
const TOLERANCE: f64 = 1.05;

/// The maximum ratio of a unary call's figure to the baseline.
const UNARY_TOLERANCE: f64 = 1.02;

/// The same for stream items and one-way messages. The number of messages per read differs between
/// runs, and their cost with it.
const GATHERED_TOLERANCE: f64 = 1.04;

/// The figures that must not be exceeded.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) checked_in: Figures,
    pub(crate) baseline: Figures,
}

impl Bounds {
    pub(crate) fn read() -> Result<Self> {
        Ok(Self {
            checked_in: Figures::read(FILE)?,
            baseline: Figures::read(BASELINE)?,
        })
    }

    /// Bounds that allow anything.
    pub(crate) fn none() -> Self {
        Self {
            checked_in: Figures::default(),
            baseline: Figures::default(),
        }
    }

    /// Whether a load may have this cost.
    pub(crate) fn allow(&self, load: &str, now: Cost) -> bool {
        let tolerance = match load.starts_with("unary") {
            true => UNARY_TOLERANCE,
            false => GATHERED_TOLERANCE,
        };
        self.checked_in.allow(load, now, TOLERANCE) && self.baseline.allow(load, now, tolerance)
    }

    /// The loads whose cost exceeds a bound.
    pub(crate) fn broken_by<'a>(&self, now: &'a Figures) -> Vec<&'a str> {
        let grown = now.0.iter().filter(|(load, now)| !self.allow(load, *now));
        grown.map(|(load, _)| load.as_str()).collect()
    }
}

/// The cost of a call of each load.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<(String, Cost)>);

impl Figures {
    pub(crate) fn add(&mut self, load: &str, cost: Cost) {
        self.0.push((load.to_owned(), cost));
    }

    fn read(file: &str) -> Result<Self> {
        let mut figures = Self::default();
        for line in fs::read_to_string(file)?.lines() {
            let [load, server, client] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                return Err(format!("{file}: `{line}` is not `load server client`").into());
            };
            let (server, client) = (server.parse()?, client.parse()?);
            figures.add(load, Cost { server, client });
        }
        Ok(figures)
    }

    pub(crate) fn check_in(&self) -> Result<()> {
        let mut text = String::new();
        for (load, cost) in &self.0 {
            writeln!(text, "{load} {:.0} {:.0}", cost.server, cost.client)?;
        }
        Ok(fs::write(FILE, text)?)
    }

    /// Whether a load costs at most `factor` times its figure here. A load without a figure may
    /// have any cost.
    fn allow(&self, load: &str, now: Cost, factor: f64) -> bool {
        self.of(load).is_none_or(|before| {
            now.server <= before.server * factor && now.client <= before.client * factor
        })
    }

    fn of(&self, load: &str) -> Option<Cost> {
        let (_, cost) = self.0.iter().find(|(name, _)| name == load)?;
        Some(*cost)
    }
}

/// Prints a Markdown table.
pub(crate) fn print(now: &Figures, bounds: &Bounds) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "| instructions of | server | before | baseline | client | before | baseline |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for (load, cost) in &now.0 {
        let row = |side: fn(Cost) -> f64| {
            let figure = |cost: Option<Cost>| {
                cost.map_or_else(|| "-".into(), |cost| format!("{:.0}", side(cost)))
            };
            let before = figure(bounds.checked_in.of(load));
            let baseline = figure(bounds.baseline.of(load));
            format!("{:.0} | {before} | {baseline}", side(*cost))
        };
        let (server, client) = (row(|cost| cost.server), row(|cost| cost.client));
        writeln!(out, "| {load} | {server} | {client} |")?;
    }
    Ok(())
}
