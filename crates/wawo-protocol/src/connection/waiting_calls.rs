//! Calls of ours that wait for room under the limits of the other side.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{connection::event::NewCall, packet::OneWayBatch, time::after};

/// The greatest depth of a call that may wait for a slot. The calls in the slots may themselves wait for
/// a deeper call, so that is refused instead: else all would wait for ever.
pub(crate) const MAX_WAITING_DEPTH: u32 = 1;

/// Calls without an id yet, in the order in which they came.
#[derive(Debug)]
pub(crate) struct WaitingCalls<T> {
    /// Calls that wait for a slot, or for the hello to tell the limits, by their [`CallOrigin`].
    queues: [CallQueue<T>; 2],
    /// Calls that have ever waited.
    enqueued: u64,
    /// One-way calls that wait for credit, in a queue of their own, so that they hold up no call.
    one_way: VecDeque<OneWayItem>,
    one_way_calls: usize,
    /// Message bytes of the one-way calls.
    one_way_bytes: usize,
}

/// The queue in which a call waits. The calls of handlers have one of their own: other calls may wait for
/// them to end, so they must not wait behind those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallOrigin {
    /// Calls that no handler makes.
    Outer,
    /// Calls that a handler makes.
    Nested,
}

impl CallOrigin {
    pub(crate) fn of(depth: u32) -> Self {
        match depth {
            0 => Self::Outer,
            _ => Self::Nested,
        }
    }
}

#[derive(Debug)]
struct CallQueue<T> {
    calls: VecDeque<WaitingCall<T>>,
    message_bytes: usize,
}

/// A call that waits.
#[derive(Debug)]
pub(crate) struct WaitingCall<T> {
    pub(crate) call: NewCall,
    pub(crate) token: T,
    /// The number of the call among all that have ever waited.
    number: u64,
    /// When the call has waited too long: at its deadline, or, if it has none, after `stall_timeout`.
    ends: Instant,
}

impl<T> CallQueue<T> {
    /// Takes out the calls for which `is_out` returns true.
    fn take_if(
        &mut self,
        mut is_out: impl FnMut(&WaitingCall<T>) -> bool,
        mut out: impl FnMut(WaitingCall<T>),
    ) {
        // Most often there are none, and a look is cheaper than moving all calls.
        if !self.calls.iter().any(&mut is_out) {
            return;
        }
        for waiting in std::mem::take(&mut self.calls) {
            match is_out(&waiting) {
                true => {
                    self.message_bytes -= waiting.call.message_len();
                    out(waiting);
                }
                false => self.calls.push_back(waiting),
            }
        }
    }
}

/// One-way calls that wait together.
#[derive(Debug)]
pub(crate) enum OneWayItem {
    /// A single call.
    Message(NewCall),
    /// Calls that are packed already, with the deadline of all of them.
    Batch(OneWayBatch, Option<Instant>),
}

impl OneWayItem {
    fn len(&self) -> usize {
        match self {
            Self::Message(_) => 1,
            Self::Batch(batch, _) => batch.len(),
        }
    }

    fn message_bytes(&self) -> usize {
        match self {
            Self::Message(call) => call.message_len(),
            Self::Batch(batch, _) => batch.message_bytes(),
        }
    }

    /// Adds each of the calls to a list.
    fn unpack(self, calls: &mut Vec<NewCall>) {
        let (batch, deadline) = match self {
            Self::Message(call) => return calls.push(call),
            Self::Batch(batch, deadline) => (batch, deadline),
        };
        let unpacked = batch.into_calls();
        calls.extend(unpacked.map(|message| NewCall::of_batch(message, deadline)));
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Message(call) => call.deadline,
            Self::Batch(_, deadline) => *deadline,
        }
    }
}

impl<T> Default for CallQueue<T> {
    fn default() -> Self {
        Self {
            calls: VecDeque::new(),
            message_bytes: 0,
        }
    }
}

impl<T> Default for WaitingCalls<T> {
    fn default() -> Self {
        Self {
            queues: Default::default(),
            enqueued: 0,
            one_way: VecDeque::new(),
            one_way_calls: 0,
            one_way_bytes: 0,
        }
    }
}

impl<T> WaitingCalls<T> {
    /// Calls and one-way calls that wait.
    pub(crate) fn len(&self) -> usize {
        let [outer, nested] = &self.queues;
        outer.calls.len() + nested.calls.len() + self.one_way_calls
    }

    /// Calls that wait in this queue.
    pub(crate) fn calls_in(&self, queue: CallOrigin) -> usize {
        self.queues[queue as usize].calls.len()
    }

    /// One-way calls that wait.
    pub(crate) fn one_way_calls(&self) -> usize {
        self.one_way_calls
    }

    /// The message bytes of the calls in a queue.
    pub(crate) fn bytes_in(&self, queue: CallOrigin) -> usize {
        self.queues[queue as usize].message_bytes
    }

    /// The message bytes of one-way calls.
    pub(crate) fn one_way_bytes(&self) -> usize {
        self.one_way_bytes
    }

    /// Queues a call. Returns when it will have waited too long.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        call: NewCall,
        token: T,
        stall_timeout: Duration,
    ) -> Instant {
        self.enqueued += 1;
        let queue = &mut self.queues[CallOrigin::of(call.depth) as usize];
        queue.message_bytes += call.message_len();
        let ends = call.deadline.unwrap_or_else(|| after(now, stall_timeout));
        queue.calls.push_back(WaitingCall {
            call,
            token,
            number: self.enqueued,
            ends,
        });
        ends
    }

    pub(crate) fn push_one_way(&mut self, one_way: OneWayItem) {
        self.one_way_bytes += one_way.message_bytes();
        self.one_way_calls += one_way.len();
        self.one_way.push_back(one_way);
    }

    /// Of the first call in each queue, if `may_leave` returns true for it, takes the one that came
    /// earlier.
    pub(crate) fn pop_if(&mut self, may_leave: impl Fn(&NewCall) -> bool) -> Option<(NewCall, T)> {
        let firsts = self.queues.iter_mut().filter(|queue| {
            let first = queue.calls.front();
            first.is_some_and(|first| may_leave(&first.call))
        });
        let queue = firsts.min_by_key(|queue| queue.calls.front().map(|first| first.number))?;
        let WaitingCall { call, token, .. } = queue.calls.pop_front()?;
        queue.message_bytes -= call.message_len();
        Some((call, token))
    }

    /// The one-way calls that are next.
    pub(crate) fn first_one_way(&self) -> Option<&OneWayItem> {
        self.one_way.front()
    }

    /// Takes the one-way calls that are next: a single call, or the calls of a batch that may begin with
    /// `shared_credit`, which must be above zero.
    pub(crate) fn pop_one_way(&mut self, shared_credit: i64) -> Option<OneWayItem> {
        let popped = match self.one_way.front_mut()? {
            OneWayItem::Batch(batch, deadline) => {
                let some = OneWayItem::Batch(batch.take_within(shared_credit), *deadline);
                if batch.is_empty() {
                    self.one_way.pop_front();
                }
                some
            }
            OneWayItem::Message(_) => self.one_way.pop_front()?,
        };
        self.one_way_bytes -= popped.message_bytes();
        self.one_way_calls -= popped.len();
        Some(popped)
    }

    /// Drops the calls for whose token `is` returns true.
    pub(crate) fn cancel(&mut self, mut is: impl FnMut(&T) -> bool) {
        for queue in &mut self.queues {
            queue.take_if(|waiting| is(&waiting.token), drop);
        }
    }

    /// Takes the calls that are too deep to wait for a slot: they came before the hello, and found no
    /// free slot after it.
    pub(crate) fn take_deep(&mut self, out: impl FnMut(WaitingCall<T>)) {
        let queue = &mut self.queues[CallOrigin::Nested as usize];
        queue.take_if(|waiting| waiting.call.depth > MAX_WAITING_DEPTH, out);
    }

    /// Takes out what has waited too long, and passes the calls to `late`. Returns the earliest time at
    /// which another one will have.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        mut late: impl FnMut(WaitingCall<T>),
    ) -> Option<Instant> {
        for queue in &mut self.queues {
            queue.take_if(|waiting| waiting.ends <= now, &mut late);
        }
        let (calls, bytes) = (&mut self.one_way_calls, &mut self.one_way_bytes);
        self.one_way.retain(|one_way| {
            let keep = one_way.deadline().is_none_or(|at| at > now);
            if !keep {
                *calls -= one_way.len();
                *bytes -= one_way.message_bytes();
            }
            keep
        });
        let calls = self.queues.iter().flat_map(|queue| &queue.calls);
        let calls = calls.map(|waiting| waiting.ends);
        let one_way = self.one_way.iter().filter_map(OneWayItem::deadline);
        calls.chain(one_way).min()
    }

    /// Takes the one-way calls in the order in which they came.
    pub(crate) fn take_one_way(&mut self) -> Vec<NewCall> {
        let mut calls = Vec::new();
        while let Some(item) = self.pop_one_way(i64::MAX) {
            item.unpack(&mut calls);
        }
        calls
    }

    /// Takes all calls in the order in which they came, and drops those that are one-way.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = T> {
        let queues = std::mem::take(self).queues;
        let mut calls: Vec<_> = queues.into_iter().flat_map(|queue| queue.calls).collect();
        calls.sort_by_key(|waiting| waiting.number);
        calls.into_iter().map(|waiting| waiting.token)
    }
}
