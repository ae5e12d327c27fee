//! Calls in circles: handlers call their callers, whose handlers do the same.

use std::time::Duration;

use crate::{
    plan::{AMPLE, CallPlan, Caller, End, HandlerPlan, Reads, Shape, calls::Item},
    random::Random,
};

/// The depth of the deepest call: `max_call_depth`.
const DEPTH: u32 = 16;

/// The number of calls that each side begins on each connection; the other has 64 slots.
const OUTER_CALLS: u32 = 80;

pub(crate) fn plan(random: &mut Random, clients: usize) -> Vec<CallPlan> {
    let mut calls = Vec::new();
    for _ in 0..OUTER_CALLS {
        for client in 0..clients {
            let at = random.millis(0..=20);
            chain(random, &mut calls, Caller::Client { client, at });
            chain(random, &mut calls, Caller::Server { client, at });
        }
    }
    calls
}

/// Adds a call and all calls that it causes.
fn chain(random: &mut Random, calls: &mut Vec<CallPlan>, outer: Caller) {
    let mut caller = outer;
    for depth in 0..=DEPTH {
        let number = calls.len() as u32;
        let is_last = depth == DEPTH;
        calls.push(call(
            random,
            number,
            caller,
            (!is_last).then_some(number + 1),
        ));
        caller = Caller::Handler(number);
    }
}

fn call(random: &mut Random, number: u32, caller: Caller, calls_back: Option<u32>) -> CallPlan {
    let item = || Item {
        bytes: 20,
        pause: Duration::ZERO,
    };
    CallPlan {
        number,
        caller,
        shape: Shape::Unary,
        requests: vec![item()],
        replies: vec![item()],
        timeout: Some(AMPLE),
        dropped_after: None,
        replaced_by: None,
        dropped_at: None,
        read_pause: Duration::ZERO,
        turns: random.within(0..=4) as u32,
        number_in_message: random.percent(50),
        handler: HandlerPlan {
            wait: random.millis(0..=5),
            calls_back,
            reads: Reads::All,
            read_pause: Duration::ZERO,
            end: End::Reply,
            ends_early: false,
        },
    }
}
