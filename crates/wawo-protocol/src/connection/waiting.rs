//! Calls of ours that wait for room under the limits of the other side.

use std::{collections::VecDeque, time::Instant};

use crate::{connection::NewCall, packet::Notes};

/// Calls without an id yet, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    /// Calls that wait for a slot, or for the hello to tell the limits.
    calls: VecDeque<(NewCall, T)>,
    /// Those that wait for credit; apart, so that they hold up no call.
    one_way: VecDeque<OneWay>,
    /// How many one-way calls those are.
    one_way_calls: usize,
    /// Message bytes in both.
    message_bytes: usize,
}

/// One-way calls that wait together.
#[derive(Debug)]
pub(crate) enum OneWay {
    /// A single one.
    Call(NewCall),
    /// Some that have been packets from the start, and the deadline of all.
    Notes(Notes, Option<Instant>),
}

impl OneWay {
    fn len(&self) -> usize {
        match self {
            Self::Call(_) => 1,
            Self::Notes(notes, _) => notes.len(),
        }
    }

    fn message_bytes(&self) -> usize {
        match self {
            Self::Call(call) => call.message_len(),
            Self::Notes(notes, _) => notes.message_bytes(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Call(call) => call.deadline,
            Self::Notes(_, deadline) => *deadline,
        }
    }
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self {
            calls: VecDeque::new(),
            one_way: VecDeque::new(),
            one_way_calls: 0,
            message_bytes: 0,
        }
    }
}

impl<T> Waiting<T> {
    /// How many calls wait that somebody wants to hear of.
    pub(crate) fn calls(&self) -> usize {
        self.calls.len()
    }

    /// How many one-way calls wait.
    pub(crate) fn one_way_calls(&self) -> usize {
        self.one_way_calls
    }

    /// The message bytes of all.
    pub(crate) fn message_bytes(&self) -> usize {
        self.message_bytes
    }

    pub(crate) fn push(&mut self, call: NewCall, token: T) {
        self.message_bytes += call.message_len();
        self.calls.push_back((call, token));
    }

    pub(crate) fn push_one_way(&mut self, one_way: OneWay) {
        self.message_bytes += one_way.message_bytes();
        self.one_way_calls += one_way.len();
        self.one_way.push_back(one_way);
    }

    /// The next call.
    pub(crate) fn first(&self) -> Option<&NewCall> {
        self.calls.front().map(|(call, _)| call)
    }

    /// What is next of the one-way calls.
    pub(crate) fn first_one_way(&self) -> Option<&OneWay> {
        self.one_way.front()
    }

    pub(crate) fn pop(&mut self) -> Option<(NewCall, T)> {
        let (call, token) = self.calls.pop_front()?;
        self.message_bytes -= call.message_len();
        Some((call, token))
    }

    /// Takes what is next of the one-way calls: of notes, as many as may begin with `budget` left,
    /// which is above zero.
    pub(crate) fn pop_one_way(&mut self, budget: i64) -> Option<OneWay> {
        let popped = match self.one_way.front_mut()? {
            OneWay::Notes(notes, deadline) => {
                let some = OneWay::Notes(notes.take_within(budget), *deadline);
                if notes.is_empty() {
                    self.one_way.pop_front();
                }
                some
            }
            OneWay::Call(_) => self.one_way.pop_front()?,
        };
        self.message_bytes -= popped.message_bytes();
        self.one_way_calls -= popped.len();
        Some(popped)
    }

    /// Gives up the calls whose token `is` it.
    pub(crate) fn forget(&mut self, mut is: impl FnMut(&T) -> bool) {
        let bytes = &mut self.message_bytes;
        self.calls.retain(|(call, token)| {
            let keep = !is(token);
            *bytes -= if keep { 0 } else { call.message_len() };
            keep
        });
    }

    /// Gives up what is due, and tells `late` of the calls. Returns the next deadline.
    pub(crate) fn expire(&mut self, now: Instant, mut late: impl FnMut(T)) -> Option<Instant> {
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        // Most often nothing is due, and looking is cheaper than moving.
        if self.calls.iter().any(|(call, _)| is_due(call.deadline)) {
            for (call, token) in std::mem::take(&mut self.calls) {
                if is_due(call.deadline) {
                    self.message_bytes -= call.message_len();
                    late(token);
                } else {
                    self.calls.push_back((call, token));
                }
            }
        }
        let (calls, bytes) = (&mut self.one_way_calls, &mut self.message_bytes);
        self.one_way.retain(|one_way| {
            let keep = !is_due(one_way.deadline());
            if !keep {
                *calls -= one_way.len();
                *bytes -= one_way.message_bytes();
            }
            keep
        });
        let calls = self.calls.iter().filter_map(|(call, _)| call.deadline);
        let one_way = self.one_way.iter().filter_map(OneWay::deadline);
        calls.chain(one_way).min()
    }

    /// Takes all calls, and drops those that are one-way.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = T> {
        let calls = std::mem::take(self).calls;
        calls.into_iter().map(|(_, token)| token)
    }
}
