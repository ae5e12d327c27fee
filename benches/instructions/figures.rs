//! The figures, those checked in, and how the two compare.

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

/// The figures from before resume, groups, identity and what else a user can switch on. They are
/// never written again: a load that switches nothing on pays nothing for what others do.
const BASELINE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/instructions/baseline.txt"
);

/// A figure may be at most this factor of the one that was checked in.
const TOLERANCE: f64 = 1.05;

/// And a figure of a unary call at most this factor of the baseline.
const UNARY_TOLERANCE: f64 = 1.02;

/// The same for others: the number of messages that gather in a read differs from run to run, and
/// with it the cost of each.
const GATHERED_TOLERANCE: f64 = 1.04;

/// The figures that none may go above.
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

    /// The loads that cost more than they may.
    pub(crate) fn broken_by<'a>(&self, now: &'a Figures) -> Vec<&'a str> {
        let grown = now.0.iter().filter(|(load, now)| !self.allow(load, *now));
        grown.map(|(load, _)| load.as_str()).collect()
    }
}

/// What a call of each load costs.
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

    /// Whether a load costs no more than here, by a factor; a load that is not here may cost
    /// anything.
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

/// A Markdown table.
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
