//! A simulation of the framework under faults. It runs real connections between a server and its
//! clients, over links that are slow, split bytes anywhere, stall, are cut, or go half-open, with a
//! server that restarts, and calls of all shapes in both directions. With the feature `tls`, a share
//! of the connections speaks TLS, below which bytes are changed too. A seed determines everything,
//! and time is simulated too, so a failing seed fails again.
//!
//! ```text
//!  seed ──► plan ──► run: hosts, links, callers, handlers ──► history ──► checker ──► findings
//! ```
//!
//! `WAWO_SEEDS` sets the number of seeds to run, and `WAWO_FIRST_SEED` the first one. `WAWO_SEED`
//! runs a single seed and prints its history.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checker;
mod client;
mod content;
mod history;
mod hosts;
mod link;
mod plan;
mod random;
mod run;
mod server;
#[cfg(feature = "tls")]
mod tls;
mod world;

use std::{
    env,
    fmt::Write as _,
    io::{self, Write as _},
};

use wawo_test_protos::tests::echo;

use crate::{
    plan::Plan,
    run::{Run, run},
};

/// Few enough for every `cargo test`.
const DEFAULT_SEEDS: u64 = 50;

#[test]
fn every_call_ends_once_and_right_whatever_happens_to_the_links() {
    if let Some(seed) = setting("WAWO_SEED") {
        let run = run(Plan::new(seed));
        // Not through a macro: the output of macros is captured unless the test fails.
        let printed = io::stderr().write_all(text(&run).as_bytes());
        printed.expect("standard error takes the history");
        return judge(seed, &run);
    }
    let first = setting("WAWO_FIRST_SEED").unwrap_or(0);
    let seeds = setting("WAWO_SEEDS").unwrap_or(DEFAULT_SEEDS);
    for seed in first..first + seeds {
        judge(seed, &run(Plan::new(seed)));
    }
}

#[test]
fn a_seed_means_the_same_each_time() {
    for seed in 0..5 {
        let (first, second) = (run(Plan::new(seed)), run(Plan::new(seed)));
        let (before, after) = (text(&first), text(&second));
        let differing = before.lines().zip(after.lines()).find(|(a, b)| a != b);
        assert_eq!(differing, None, "seed {seed} means different things");
        assert_eq!(first.entries.len(), second.entries.len(), "seed {seed}");
        assert_eq!(first.moved, second.moved, "seed {seed} reads differently");
    }
}

/// Each seed makes some thousand calls.
const SEEDS_OF_CIRCLES: u64 = 6;

#[test]
fn calls_in_circles_end_though_all_slots_are_taken() {
    let (mut refused, mut succeeded) = (0, 0);
    for seed in 0..SEEDS_OF_CIRCLES {
        let run = run(Plan::of_circles(seed));
        let findings = checker::check(&run);
        let few = &findings[..findings.len().min(5)];
        assert!(few.is_empty(), "circles of seed {seed} failed: {few:?}");
        let deep = checker::deep_calls(&run);
        refused += deep.0;
        succeeded += deep.1;
    }
    assert!(
        refused > 0 && succeeded > 0,
        "{refused} refused, {succeeded} succeeded"
    );
}

fn judge(seed: u64, run: &Run) {
    let findings = checker::check(run);
    let features = match cfg!(feature = "tls") {
        true => "--features tls ",
        false => "",
    };
    assert!(
        findings.is_empty(),
        "seed {seed} failed: {}; repeat it with WAWO_SEED={seed} cargo test {features}--test sim",
        findings.join("; ")
    );
}

fn text(run: &Run) -> String {
    let plan = &run.world.plan;
    let mut text = format!("{:?} {:?}\n", plan.limits, plan.links);
    // Writing to a string does not fail.
    for fault in &plan.faults {
        let _ = writeln!(text, "{fault:?}");
    }
    for call in &plan.calls {
        let _ = writeln!(text, "{call:?}");
    }
    for entry in &run.entries {
        let _ = writeln!(text, "{entry}");
    }
    text
}

fn setting(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is `{value}`, not a number")))
}
