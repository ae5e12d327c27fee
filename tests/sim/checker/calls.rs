//! Rules that hold for every call, whatever happens.

use std::time::Duration;

use wawo::{Code, Delivery};

use crate::{
    checker::{
        Records,
        expected::unexpected,
        links::{delivery, patience},
    },
    content::Way,
    history::{CallEvent, Outcome},
    plan::{CallPlan, Caller, Shape},
};

/// The record of a call.
#[derive(Debug, Default)]
pub(crate) struct CallRecord {
    pub(crate) made: Option<(Duration, u32)>,
    pub(crate) over: Vec<(Duration, Outcome)>,
    pub(crate) begun: Vec<Duration>,
    done: Vec<Duration>,
    dropped: Vec<Duration>,
    received: Vec<(Way, usize, bool)>,
    requests_ended: bool,
}

impl CallRecord {
    pub(crate) fn add(&mut self, at: Duration, event: &CallEvent) {
        match *event {
            CallEvent::NotMade => {}
            CallEvent::Made { link } => self.made = Some((at, link)),
            CallEvent::Begun => self.begun.push(at),
            CallEvent::Done => self.done.push(at),
            CallEvent::Dropped => self.dropped.push(at),
            CallEvent::Received {
                way,
                position,
                intact,
            } => self.received.push((way, position, intact)),
            CallEvent::RequestsEnded => self.requests_ended = true,
            CallEvent::Over(outcome) => self.over.push((at, outcome)),
        }
    }

    fn count(&self, way: Way) -> usize {
        let received = self.received.iter();
        received.filter(|(of, _, _)| *of == way).count()
    }

    fn outcome(&self) -> Option<Outcome> {
        self.over.first().map(|(_, outcome)| *outcome)
    }
}

pub(crate) fn check(records: &Records<'_>, plan: &CallPlan) -> impl Iterator<Item = String> {
    let call = &records.calls[plan.number as usize];
    let mut findings = Vec::new();
    findings.extend(it_has_one_outcome(call));
    findings.extend(it_ends_by_its_deadline(plan, call));
    findings.extend(its_handler_runs_at_most_once(call));
    findings.extend(its_delivery_is_true(call));
    findings.extend(its_messages_are_its_own(plan, call));
    findings.extend(its_complete_streams_are_whole(plan, call));
    findings.extend(its_handler_ends(records, plan, call));
    findings.extend(unexpected(records, plan, call));
    findings.into_iter()
}

fn it_has_one_outcome(call: &CallRecord) -> Option<String> {
    let outcomes = call.over.len();
    let should = usize::from(call.made.is_some());
    (outcomes != should).then(|| format!("has {outcomes} outcomes, not {should}"))
}

/// Deadlines are checked every 5 ms, and timers have a resolution of 1 ms.
const LATE: Duration = Duration::from_millis(10);

fn it_ends_by_its_deadline(plan: &CallPlan, call: &CallRecord) -> Option<String> {
    let ((made, _), (over, outcome)) = (call.made?, call.over.first()?);
    let timeout = plan.time()?;
    // Replies that came in time may be read later.
    let reading = plan.read_pause * (plan.replies.len() as u32 + 1);
    let (early, late) = (made + timeout, made + timeout + LATE + reading);
    if *over > late {
        return Some(format!(
            "was over at {over:?}, and its deadline was {early:?}"
        ));
    }
    let is_inherited = matches!(plan.caller, Caller::Handler(_));
    let expired = matches!(outcome, Outcome::Failed(Code::DeadlineExceeded, _));
    let too_early = expired && *over < early && !is_inherited;
    too_early.then(|| format!("expired at {over:?}, before its deadline {early:?}"))
}

fn its_handler_runs_at_most_once(call: &CallRecord) -> Option<String> {
    let runs = call.begun.len();
    (runs > 1 || runs > 0 && call.made.is_none()).then(|| format!("was run {runs} times"))
}

/// Whether the caller's knowledge of the delivery is true.
fn its_delivery_is_true(call: &CallRecord) -> Option<String> {
    let runs = call.begun.len();
    let outcome = call.outcome()?;
    let is_true = match outcome {
        Outcome::Failed(_, Delivery::NotSent) => runs == 0,
        // The handler fails as planned.
        Outcome::Failed(Code::FailedPrecondition | Code::Internal, _) => runs == 1,
        _ => true,
    };
    (!is_true).then(|| format!("ended with {outcome:?}, and its handler ran {runs} times"))
}

/// In each direction the planned messages came, each once and in order.
fn its_messages_are_its_own(plan: &CallPlan, call: &CallRecord) -> Option<String> {
    let mut next = [0, 0];
    for &(way, position, intact) in &call.received {
        let next = &mut next[usize::from(way == Way::Reply)];
        if !intact || position != *next {
            return Some(format!("received another message as {way:?} {position}"));
        }
        *next += 1;
    }
    let replied = next[1] > 0 && call.begun.is_empty();
    let answered = replied || (call.outcome() == Some(Outcome::Ok) && plan.shape != Shape::OneWay);
    (answered && call.begun.is_empty()).then(|| "was answered without a handler".to_owned())
}

fn its_complete_streams_are_whole(plan: &CallPlan, call: &CallRecord) -> Option<String> {
    let (requests, replies) = (call.count(Way::Request), call.count(Way::Reply));
    if call.requests_ended && requests < plan.requests.len() {
        return Some(format!("lost requests: {requests} came, and then the end"));
    }
    let is_complete = call.outcome() == Some(Outcome::Ok);
    (is_complete && replies < plan.replies.len())
        .then(|| format!("lost replies: {replies} came, and then the end"))
}

/// Each handler ends or is dropped, once; and soon after its caller no longer wants the reply.
fn its_handler_ends(records: &Records<'_>, plan: &CallPlan, call: &CallRecord) -> Option<String> {
    let (begun, ended) = (call.begun.len(), call.done.len() + call.dropped.len());
    if begun != ended {
        return Some(format!("has {begun} handlers begun and {ended} ended"));
    }
    let (made, link) = call.made?;
    let (over, _) = call.over.first()?;
    let last = call.done.iter().chain(&call.dropped).max()?;
    if plan.shape == Shape::OneWay {
        // Nobody can cancel the call. Its own deadline ends it, or that of the handler that made
        // it.
        let deadline = made + plan.time()?;
        let is_heir = matches!(plan.caller, Caller::Handler(_));
        let is_early = call.dropped.iter().any(|at| *at < deadline) && !is_heir;
        return is_early.then(|| "was one-way, and its handler was dropped".to_owned());
    }
    let links = &records.run.world.plan;
    let patience = match records.links[link as usize].is_sound_until(*last) {
        true => delivery(links.links),
        false => patience(links),
    };
    (*last > *over + patience)
        .then(|| format!("was over at {over:?}, and its handler ended at {last:?}"))
}
