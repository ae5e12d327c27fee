//! The outcome of a call without faults follows from its plan.

use std::time::Duration;

use wawo::{Code, Delivery};

use crate::{
    checker::{Records, calls::CallRecord},
    history::Outcome,
    plan::{AMPLE, CallPlan, Caller, End, Shape},
};

/// The violation in the outcome of a call over a sound link, if any.
pub(crate) fn unexpected(
    records: &Records<'_>,
    plan: &CallPlan,
    call: &CallRecord,
) -> Option<String> {
    let ((_, link), &(over, outcome)) = (call.made?, call.over.first()?);
    let link = &records.links[link as usize];
    if !link.is_sound_until(over) {
        let is_refused = may_be_refused(records, plan) && is_refusal(outcome);
        return possible_after_fault(plan, outcome).filter(|_| !is_refused);
    }
    let cut_short = may_be_cut_short(records, plan);
    let is_refused = may_be_refused(records, plan) && is_refusal(outcome);
    if !(is_planned(plan, outcome) || is_refused || cut_short && is_impatience(outcome)) {
        return Some(format!("met no fault, and ended with {outcome:?}"));
    }
    let must_run = plan.shape == Shape::OneWay && !cut_short && link.is_sound();
    if must_run && call.begun.is_empty() {
        return Some("was one-way, met no fault, and did not arrive".to_owned());
    }
    let waited = over.checked_sub(call.made?.0)?;
    (waited > PROMPT).then(|| format!("met no fault, and took {waited:?}"))
}

/// Every call without faults is over by then. Most take much less, but there may be more calls than
/// slots, some of which are never answered.
const PROMPT: Duration = Duration::from_secs(60);

/// Whether the caller, or the caller of the handler that made the call, may end the call before it
/// is answered.
fn may_be_cut_short(records: &Records<'_>, plan: &CallPlan) -> bool {
    let is_impatient = plan.dropped_after.is_some() || plan.timeout != Some(AMPLE);
    let outer = match plan.caller {
        Caller::Handler(outer) => Some(records.run.world.call(outer)),
        Caller::Client { .. } | Caller::Server { .. } | Caller::Replaces(_) => None,
    };
    is_impatient || outer.is_some_and(|outer| may_be_cut_short(records, outer))
}

/// A call of depth 2 or more does not wait for a slot.
fn may_be_refused(records: &Records<'_>, plan: &CallPlan) -> bool {
    plan.depth(&records.run.world.plan.calls) >= 2
}

pub(crate) fn is_refusal(outcome: Outcome) -> bool {
    outcome == Outcome::Failed(Code::ResourceExhausted, Delivery::NotSent)
}

fn is_impatience(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::GivenUp | Outcome::Failed(Code::DeadlineExceeded, _)
    )
}

fn is_planned(plan: &CallPlan, outcome: Outcome) -> bool {
    if plan.shape == Shape::OneWay {
        return outcome == Outcome::Ok;
    }
    if outcome == Outcome::GivenUp {
        return plan.dropped_at.is_some();
    }
    match plan.handler.end {
        End::Reply => outcome == Outcome::Ok,
        End::Fail => outcome == Outcome::Failed(Code::FailedPrecondition, Delivery::Responded),
        End::Panic => outcome == Outcome::Failed(Code::Internal, Delivery::Responded),
        End::Never => false,
    }
}

/// A fault adds one outcome, `Unavailable`, and no others.
fn possible_after_fault(plan: &CallPlan, outcome: Outcome) -> Option<String> {
    let unavailable = matches!(
        outcome,
        Outcome::Failed(Code::Unavailable, Delivery::Unknown | Delivery::NotSent)
    );
    let possible = unavailable || is_impatience(outcome) || is_planned(plan, outcome);
    (!possible).then(|| format!("ended with {outcome:?}, which no fault explains"))
}
