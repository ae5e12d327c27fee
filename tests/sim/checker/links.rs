//! Rules that hold for every link: only faults end a connection, and a silent fault is noticed in
//! time.

use std::time::Duration;

use crate::{
    history::{LinkEvent, Struck},
    plan::{LinkStyle, MAX_STALL, Plan, Side},
};

/// The record of a link.
#[derive(Debug, Default)]
pub(crate) struct LinkRecord {
    struck: Option<Duration>,
    /// Since then, bytes do not arrive, or arrive changed.
    deaf: Option<Duration>,
    over: Vec<(Duration, Side, String)>,
    /// The time at which the simulation dropped everything.
    pub(crate) closing: Option<Duration>,
}

impl LinkRecord {
    pub(crate) fn add(&mut self, at: Duration, event: &LinkEvent) {
        match event {
            LinkEvent::Opened { .. } => {}
            LinkEvent::Struck(struck) => {
                self.struck.get_or_insert(at);
                if matches!(struck, Struck::HalfOpen | Struck::Corrupt) {
                    self.deaf.get_or_insert(at);
                }
            }
            LinkEvent::Over { side, why } => self.over.push((at, *side, why.clone())),
        }
    }

    /// Whether the link had no fault until then.
    pub(crate) fn is_sound_until(&self, at: Duration) -> bool {
        self.struck.is_none_or(|struck| at < struck)
    }

    /// Whether the link had no fault before the simulation dropped everything.
    pub(crate) fn is_sound(&self) -> bool {
        self.closing
            .is_some_and(|closing| self.is_sound_until(closing))
    }

    fn is_over_before(&self, end: Duration, side: Side) -> bool {
        let mut over = self.over.iter();
        over.any(|(at, of, _)| *of == side && *at <= end)
    }
}

pub(crate) fn check(plan: &Plan, link: &LinkRecord) -> impl Iterator<Item = String> {
    let mut findings = Vec::new();
    findings.extend(no_rule_is_broken(link));
    findings.extend(a_sound_connection_lasts(link));
    findings.extend(silence_is_noticed(plan, link));
    findings.into_iter()
}

/// Both sides keep to the protocol, whatever happens.
fn no_rule_is_broken(link: &LinkRecord) -> Option<String> {
    let faults = [
        "broke the protocol",
        "violation",
        "limit exceeded",
        "unsupported",
        "fault",
    ];
    let broken = |why: &String| faults.iter().any(|fault| why.contains(fault));
    let mut over = link.over.iter();
    let (_, side, why) = over.find(|(_, _, why)| broken(why))?;
    Some(format!("was ended by a broken rule, {side:?}: {why}"))
}

fn a_sound_connection_lasts(link: &LinkRecord) -> Option<String> {
    let (at, side, why) = link.over.first()?;
    let closing = link.closing.is_some_and(|closing| *at >= closing);
    let without_cause = link.is_sound_until(*at) && !closing;
    without_cause.then(|| format!("ended at {at:?} without a fault, {side:?}: {why}"))
}

/// Each side notices the silence or the changed bytes within a bound, or the other side tells it.
fn silence_is_noticed(plan: &Plan, link: &LinkRecord) -> Option<String> {
    let begun = link.deaf?;
    let end = begun + patience(plan);
    let late = |side: &Side| !link.is_over_before(end, *side);
    let is_judged = link.closing.is_some_and(|closing| end < closing);
    let side = [Side::Client, Side::Server].into_iter().find(late)?;
    is_judged
        .then(|| format!("carries nothing right since {begun:?}, unnoticed by {side:?} at {end:?}"))
}

/// The maximum time in which a side learns that the other one is gone.
pub(crate) fn patience(plan: &Plan) -> Duration {
    // Bytes that are on their way may still arrive; before the hello, another timeout applies.
    let silence = plan
        .limits
        .silence()
        .max(plan.limits.config().handshake_timeout());
    silence + MAX_STALL + delivery(plan.links)
}

/// The maximum time for a packet to be read over a sound link, behind everything that waits before
/// it.
pub(crate) fn delivery(style: LinkStyle) -> Duration {
    let turns = 4 + MAX_WAITING_BYTES / style.capacity;
    Duration::from_millis(100) + style.max_delay * turns as u32
}

/// The maximum output of a driver that may wait, with some margin.
const MAX_WAITING_BYTES: usize = 1536 * 1024;
