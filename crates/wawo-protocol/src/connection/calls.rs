//! The calls in flight of both roles: ours, whose caller this side is, and theirs, whose callee it is.
//!
//! Each role has its slots, which the ids of calls name, and the credit that all of its calls share: one
//! for the direction that is sent (our requests, our replies), and one for the direction that is
//! received (their replies, their requests).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    call::{Call, RecvCredit, RecvHalf, SendCredit, SendHalf},
    connection::timeout_cause::TimeoutCause,
    error::PeerMisbehaved,
    id::{CallId, Side},
    limits::Limits,
};

/// All calls in flight. `A` is the part of a call that only a caller keeps, `B` that of a callee.
#[derive(Debug)]
pub(crate) struct CallSlots<A, B> {
    side: Side,
    pub(crate) ours: RoleCalls<A>,
    pub(crate) theirs: RoleCalls<B>,
    /// Calls with message bytes, or an end, that wait to be sent. A call stands in one queue at most,
    /// and once: here, or among the blocked calls of its role.
    queue: VecDeque<CallId>,
}

/// The calls in which this side has one role, by slot. A caller uses free slots again, the one that was
/// freed last first, and adds a slot only when none is free. So ids leave no gaps, and both sides agree
/// on the ids that have ever been used.
#[derive(Debug)]
pub(crate) struct RoleCalls<R> {
    side: Side,
    slots: Vec<Option<Entry<R>>>,
    /// Empty slots that this side may choose.
    free: Vec<u32>,
    in_flight: usize,
    /// Calls that have begun over the life of the connection, one-way messages included.
    begun: u64,
    pub(crate) credit: SharedCredit,
}

/// A call in flight.
#[derive(Debug)]
pub(crate) struct Entry<R> {
    pub(crate) call: Call,
    /// The part that only this role keeps.
    pub(crate) role: R,
}

/// The credit that all calls of a role share.
#[derive(Debug)]
pub(crate) struct SharedCredit {
    pub(crate) send: SendCredit,
    pub(crate) recv: RecvCredit,
    /// The setting that `recv` began with.
    setting: &'static str,
    /// Calls whose next message waits for `send`. Their `is_queued` stays set.
    pub(crate) blocked: VecDeque<CallId>,
}

impl<A, B> CallSlots<A, B> {
    pub(crate) fn new(side: Side, limits: &Limits) -> Self {
        let (least, requests) = (Limits::MINIMUM, limits.request_credit_bytes);
        let replies = limits.reply_credit_bytes;
        let ours = SharedCredit::new(least.request_credit_bytes, replies, "reply_credit_bytes");
        let theirs = SharedCredit::new(least.reply_credit_bytes, requests, "request_credit_bytes");
        Self {
            side,
            ours: RoleCalls::new(side, ours),
            theirs: RoleCalls::new(side.other(), theirs),
            queue: VecDeque::new(),
        }
    }

    /// Whether this side started the call.
    #[inline]
    pub(crate) fn is_ours(&self, id: CallId) -> bool {
        id.side() == self.side
    }

    /// A call of either role, with the credit of its role.
    #[inline]
    pub(crate) fn get(&mut self, id: CallId) -> (Option<&mut Call>, &mut SharedCredit) {
        match self.is_ours(id) {
            true => self.ours.get_with_credit(id),
            false => self.theirs.get_with_credit(id),
        }
    }

    /// The send half of a call, while it lasts.
    #[inline]
    pub(crate) fn send_half(&mut self, id: CallId) -> Option<(&mut SendHalf, &mut SharedCredit)> {
        let (call, credit) = self.get(id);
        Some((call?.send_half.as_deref_mut()?, credit))
    }

    pub(crate) fn recv_half(&mut self, id: CallId) -> Option<&mut RecvHalf> {
        self.get(id).0?.recv_half.as_deref_mut()
    }

    /// The call that a packet refers to; `None` if it is over, which the sender of the packet may not
    /// have known.
    pub(crate) fn find(
        &mut self,
        id: CallId,
        kind: &'static str,
    ) -> Result<(Option<&mut Call>, &mut SharedCredit), PeerMisbehaved> {
        let (is_ours, slots) = (self.is_ours(id), self.theirs.slots());
        let (call, credit) = self.get(id);
        let is_one_way = call.as_ref().is_some_and(|call| call.is_one_way);
        let has_none = match is_ours {
            // The callee itself ends our calls, so it sends nothing for one that is over, nor for a
            // one-way call, which has no reply.
            true => call.is_none() || is_one_way,
            false => id.index() >= slots,
        };
        if has_none {
            return Err(PeerMisbehaved::NoSuchCall { kind, call: id });
        }
        if is_one_way && kind != "message" {
            return Err(PeerMisbehaved::call_state(kind, id, "which is one-way"));
        }
        Ok((call, credit))
    }

    /// The ids of all calls.
    pub(crate) fn ids(&self) -> Vec<CallId> {
        let ours = self.ours.iter().map(|(id, _)| id);
        ours.chain(self.theirs.iter().map(|(id, _)| id)).collect()
    }

    /// Puts a call into the queue of those that have something to send, if it has.
    pub(crate) fn enqueue(&mut self, id: CallId) {
        if let Some((send_half, _)) = self.send_half(id)
            && !send_half.is_idle()
            && !send_half.is_queued
        {
            send_half.is_queued = true;
            self.queue.push_back(id);
        }
    }

    /// The next call that has something to send.
    pub(crate) fn dequeue(&mut self) -> Option<CallId> {
        self.queue.pop_front()
    }

    /// Puts a call that has more to send at the end of the queue.
    pub(crate) fn requeue(&mut self, id: CallId) {
        self.queue.push_back(id);
    }

    /// Takes a call that is over out of the queue that it stands in.
    pub(crate) fn leave_queue(&mut self, id: CallId) {
        self.get(id).1.blocked.retain(|other| *other != id);
        self.queue.retain(|other| *other != id);
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Adds `bytes` to the shared credit of our requests, and queues the calls that waited for it.
    pub(crate) fn grant_requests(&mut self, bytes: u32) -> Result<(), PeerMisbehaved> {
        self.queue.append(&mut self.ours.credit.blocked);
        self.ours.credit.send.grant(bytes)
    }

    /// Adds `bytes` to the shared credit of our replies, and queues the calls that waited for it.
    pub(crate) fn grant_replies(&mut self, bytes: u32) -> Result<(), PeerMisbehaved> {
        self.queue.append(&mut self.theirs.credit.blocked);
        self.theirs.credit.send.grant(bytes)
    }
}

impl<R> RoleCalls<R> {
    fn new(side: Side, credit: SharedCredit) -> Self {
        Self {
            side,
            slots: Vec::new(),
            free: Vec::new(),
            in_flight: 0,
            begun: 0,
            credit,
        }
    }

    /// Counts calls, or one-way messages, that begin.
    #[inline]
    pub(crate) fn count_begun(&mut self, calls: usize) {
        self.begun += calls as u64;
    }

    /// Calls that have begun over the life of the connection.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    /// Calls in flight.
    pub(crate) fn len(&self) -> usize {
        self.in_flight
    }

    /// The number of ids that have ever been used.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn get(&self, id: CallId) -> Option<&Entry<R>> {
        self.slots.get(id.index())?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: CallId) -> Option<&mut Entry<R>> {
        self.slots.get_mut(id.index())?.as_mut()
    }

    fn get_with_credit(&mut self, id: CallId) -> (Option<&mut Call>, &mut SharedCredit) {
        let entry = self.slots.get_mut(id.index()).and_then(Option::as_mut);
        (entry.map(|entry| &mut entry.call), &mut self.credit)
    }

    /// Puts a call into a free slot of our choice, and returns its id.
    #[inline]
    pub(crate) fn insert(&mut self, call: Call, role: R) -> CallId {
        let id = |index| CallId::new(self.side, index);
        self.in_flight += 1;
        if let Some(index) = self.free.pop() {
            self.slots[index as usize] = Some(Entry { call, role });
            return id(index);
        }
        self.slots.push(Some(Entry { call, role }));
        id(self.slots.len() as u32 - 1)
    }

    /// Puts a call into the slot that the other side chose, which is free, or the next new one.
    #[inline]
    pub(crate) fn insert_at(&mut self, id: CallId, call: Call, role: R) {
        self.in_flight += 1;
        match self.slots.get_mut(id.index()) {
            Some(slot) => *slot = Some(Entry { call, role }),
            None => self.slots.push(Some(Entry { call, role })),
        }
    }

    /// Counts a slot that the other side chose as used, for a call that is not served.
    pub(crate) fn use_slot(&mut self, id: CallId) {
        if id.index() == self.slots.len() {
            self.slots.push(None);
        }
    }

    /// Drops a call that is over, and frees the credit that it holds. If this side chose the slot,
    /// [`release`](Self::release) must follow.
    #[inline]
    pub(crate) fn remove(&mut self, id: CallId) {
        // The call is dropped where it is: moving it out first would cost more.
        if let Some(slot) = self.slots.get_mut(id.index())
            && let Some(entry) = slot
        {
            self.credit.recv.free(entry.call.free_all());
            *slot = None;
            self.in_flight -= 1;
        }
    }

    /// Makes the slot of a removed call free for [`insert`](Self::insert) again.
    pub(crate) fn release(&mut self, id: CallId) {
        self.free.push(id.index() as u32);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (CallId, &Entry<R>)> {
        let slots = self.slots.iter().enumerate();
        let id = |index| CallId::new(self.side, index as u32);
        slots.filter_map(move |(index, slot)| slot.as_ref().map(|entry| (id(index), entry)))
    }

    /// Takes all calls out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Entry<R>> {
        self.free.clear();
        self.in_flight = 0;
        std::mem::take(&mut self.slots).into_iter().flatten()
    }

    /// Returns the calls whose time is up, with the cause, and the earliest time at which another one's
    /// will be.
    pub(crate) fn due(
        &self,
        now: Instant,
        stall_timeout: Duration,
    ) -> (Vec<(CallId, TimeoutCause)>, Option<Instant>) {
        let (mut due, mut next) = (Vec::new(), None);
        for (id, Entry { call, .. }) in self.iter() {
            let send_half = call.send_half.as_deref();
            match TimeoutCause::earliest(call.deadline, send_half, stall_timeout) {
                Some((at, cause)) if at <= now => due.push((id, cause)),
                Some((at, _)) => next = Some(next.map_or(at, |next: Instant| next.min(at))),
                None => {}
            }
        }
        (due, next)
    }
}

impl SharedCredit {
    fn new(send: u32, recv: u32, setting: &'static str) -> Self {
        Self {
            send: SendCredit::new(send),
            recv: RecvCredit::new(recv),
            setting,
            blocked: VecDeque::new(),
        }
    }

    /// Takes the cost of a received message that begins out of the receive credit.
    pub(crate) fn pay(&mut self, cost: u64) -> Result<(), PeerMisbehaved> {
        let paid = self.recv.pay(cost).then_some(());
        paid.ok_or(PeerMisbehaved::OverSharedCredit(self.setting))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{RoleCalls, SharedCredit};
    use crate::{
        call::{Call, State},
        id::{CallId, Side},
    };

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn slots_are_used_again_and_grow_one_at_a_time() {
        let id = |index| CallId::new(Side::Accepting, index);
        let call = || Call::new(State::STARTED, Instant::now(), None);
        let mut calls = RoleCalls::new(Side::Accepting, SharedCredit::new(1, 1, ""));
        assert_eq!(calls.insert(call(), 'a'), id(0));
        assert_eq!(calls.insert(call(), 'b'), id(1));
        calls.remove(id(0));
        calls.remove(id(0));
        assert_eq!((calls.len(), calls.slots()), (1, 2));
        calls.release(id(0));
        assert_eq!(calls.insert(call(), 'c'), id(0));
        assert_eq!(calls.insert(call(), 'd'), id(2));
        let roles: String = calls.iter().map(|(_, entry)| entry.role).collect();
        assert_eq!(roles, "cbd");
        assert_eq!(calls.drain().count(), 3);
        assert_eq!(calls.len(), 0);
    }
}
