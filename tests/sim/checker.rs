//! Checks a history: each rule is a function, and each finding is a sentence.

mod calls;
mod expected;
mod links;

use crate::{
    checker::{calls::CallRecord, links::LinkRecord},
    history::{CallEvent, Entry, Event, Outcome},
    run::Run,
};

/// A history, grouped by call and by link.
#[derive(Debug)]
struct Records<'a> {
    run: &'a Run,
    /// By number of the call.
    calls: Vec<CallRecord>,
    /// By number of the link.
    links: Vec<LinkRecord>,
}

/// The number of calls that were refused for lack of a slot, and the number of equally deep ones
/// that succeeded.
pub(crate) fn deep_calls(run: &Run) -> (usize, usize) {
    let calls = &run.world.plan.calls;
    let outcomes = run.entries.iter().filter_map(|entry| match entry.event {
        Event::Call(number, CallEvent::Over(outcome)) => Some((number, outcome)),
        _ => None,
    });
    let deep = outcomes.filter(|(number, _)| calls[*number as usize].depth(calls) >= 2);
    let deep: Vec<_> = deep.collect();
    let refused = deep
        .iter()
        .filter(|(_, outcome)| expected::is_refusal(*outcome));
    let succeeded = deep.iter().filter(|(_, outcome)| *outcome == Outcome::Ok);
    (refused.count(), succeeded.count())
}

/// Finds all violations in a simulation.
pub(crate) fn check(run: &Run) -> Vec<String> {
    let mut records = Records::new(run);
    for entry in &run.entries {
        records.add(entry);
    }
    let mut findings = Vec::new();
    for (link, record) in records.links.iter().enumerate() {
        let found = links::check(&run.world.plan, record);
        findings.extend(found.map(|finding| format!("link {link} {finding}")));
    }
    for call in &run.world.plan.calls {
        let found = calls::check(&records, call);
        let number = call.number;
        findings.extend(found.map(|finding| format!("call {number} {finding}")));
    }
    if run.tasks_left > 0 {
        findings.push(format!("{} tasks are left", run.tasks_left));
    }
    for figure in &run.figures_left {
        findings.push(format!("a gauge is not zero at rest: {figure}"));
    }
    findings
}

impl<'a> Records<'a> {
    fn new(run: &'a Run) -> Self {
        let calls = run.world.plan.calls.iter();
        Self {
            run,
            calls: calls.map(|_| CallRecord::default()).collect(),
            links: Vec::new(),
        }
    }

    fn add(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Call(number, event) => self.calls[*number as usize].add(entry.at, event),
            Event::Link(number, event) => {
                let index = *number as usize;
                if index == self.links.len() {
                    self.links.push(LinkRecord::default());
                }
                self.links[index].add(entry.at, event);
            }
            Event::Closing => {
                for link in &mut self.links {
                    link.closing = Some(entry.at);
                }
            }
            Event::ServerUp | Event::ServerDown => {}
        }
    }
}
