//! The queue of coming events, in the order of their times.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

/// A step of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Dial,
    /// It asks the server that it has dialled for a connection, after having asked this many times.
    Arrive(usize),
    /// Its handshake is through.
    Up,
    /// Its try has failed.
    Fail,
}

/// A step of a client, at its time. It counts only if the client has no other plan by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    pub(crate) client: u32,
    pub(crate) plan: u32,
    pub(crate) step: Step,
}

#[derive(Debug, Default)]
pub(crate) struct Events(BinaryHeap<Reverse<Event>>);

impl Events {
    pub(crate) fn add(&mut self, at: Duration, client: u32, plan: u32, step: Step) {
        self.0.push(Reverse(Event {
            at,
            client,
            plan,
            step,
        }));
    }

    /// Takes the next event, if its time is not after this one.
    pub(crate) fn next_until(&mut self, until: Duration) -> Option<Event> {
        let Reverse(next) = self.0.peek()?;
        if next.at > until {
            return None;
        }
        self.0.pop().map(|Reverse(event)| event)
    }
}
