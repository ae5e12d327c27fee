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

/// A figure may grow so much, of what was checked in, before it counts as worse.
const TOLERANCE: f64 = 1.05;

/// What a call of each load costs.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<(String, Cost)>);

impl Figures {
    pub(crate) fn add(&mut self, load: &str, cost: Cost) {
        self.0.push((load.to_owned(), cost));
    }

    pub(crate) fn checked_in() -> Result<Self> {
        let mut figures = Self::default();
        for line in fs::read_to_string(FILE)?.lines() {
            let [load, server, client] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                return Err(format!("{FILE}: `{line}` is not `load server client`").into());
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

    pub(crate) fn has_grown(&self, before: &Self) -> bool {
        self.0.iter().any(|(load, now)| !before.allow(load, *now))
    }

    /// Whether a load may cost so much.
    pub(crate) fn allow(&self, load: &str, now: Cost) -> bool {
        let before = self.of(load);
        before.is_some_and(|before| {
            now.server <= before.server * TOLERANCE && now.client <= before.client * TOLERANCE
        })
    }

    fn of(&self, load: &str) -> Option<Cost> {
        let (_, cost) = self.0.iter().find(|(name, _)| name == load)?;
        Some(*cost)
    }
}

/// A Markdown table.
pub(crate) fn print(now: &Figures, before: &Figures) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "| instructions of | server | before | client | before |"
    )?;
    writeln!(out, "|---|---|---|---|---|")?;
    for (load, cost) in &now.0 {
        let before = before.of(load);
        let server = before.map_or_else(|| "-".into(), |cost| format!("{:.0}", cost.server));
        let client = before.map_or_else(|| "-".into(), |cost| format!("{:.0}", cost.client));
        let Cost {
            server: server_now,
            client: client_now,
        } = cost;
        writeln!(
            out,
            "| {load} | {server_now:.0} | {server} | {client_now:.0} | {client} |"
        )?;
    }
    Ok(())
}
