//! Calls and replies as most of them are: one packet with one message and no metadata. They are
//! read without the steps, and the copies, that all other packets need.

use std::{ops::Range, time::Instant};

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    call::cost,
    connection::{
        Connection, InboundCall, State, incoming::TheirCall, timeout_cause::TheirDeadline,
    },
    id::CallId,
    packet::{self, FastCall, HEADER_BYTES},
};

impl<T> Connection<T> {
    /// The next call, if it comes right now and is a plain one. Anything else, and whatever breaks
    /// a rule, is left to [`poll_event`](Self::poll_event). If `copy` does not copy the message, it
    /// shares the buffer of the input.
    pub fn poll_call(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        copy: impl FnOnce(&[u8]) -> Option<Bytes>,
    ) -> Option<InboundCall> {
        if self.state != State::Open || self.draining_here || !self.events.is_empty() {
            return None;
        }
        let fast = packet::fast_call(input, self.config.limits())?;
        let deadline = self.deadline_at(now, fast.timeout_ms);
        let cost = match fast.call {
            None => self.open_fast_one_way(&fast)?,
            Some(id) => {
                self.open_fast(now, id, &fast, deadline)?;
                0
            }
        };
        self.calls_accepted += 1;
        let message = fast.message_at..fast.end;
        let message = self.take_fast(now, input, message, copy);
        Some(InboundCall {
            call: fast.call,
            service: fast.service,
            method: fast.method,
            deadline,
            metadata: Default::default(),
            message: Some(message),
            end: true,
            cost,
        })
    }

    /// The next reply that ends a call of ours, if it comes right now and is a plain one: the
    /// token of the call, and the message. Anything else, and whatever breaks a rule, is left to
    /// [`poll_event`](Self::poll_event).
    pub fn poll_reply(&mut self, now: Instant, input: &mut BytesMut) -> Option<(T, Bytes)> {
        if self.state != State::Open || !self.events.is_empty() {
            return None;
        }
        let limits = self.config.limits();
        let (id, end) = packet::fast_reply(input, limits)?;
        let most = limits.initial_credit_bytes.min(limits.max_message_bytes) as usize;
        let is_ours = id.side() == self.side && end - HEADER_BYTES <= most;
        if !is_ours || !self.ours.get(id.index())?.expects_fast_reply() {
            return None;
        }
        let token = self.remove_ours(now, id)?.token?;
        Some((
            token,
            self.take_fast(now, input, HEADER_BYTES..end, |_| None),
        ))
    }

    /// Takes the first packet off, which ends with its message, and gives the message.
    fn take_fast(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        message: Range<usize>,
        copy: impl FnOnce(&[u8]) -> Option<Bytes>,
    ) -> Bytes {
        self.now = now;
        self.health.record_input(now);
        self.flood_guard.reset();
        self.partial_since = None;
        let copied = copy(&input[message.clone()]);
        self.unread = input.len() - message.end;
        match copied {
            Some(copied) => {
                input.advance(message.end);
                copied
            }
            None => {
                let mut packet = input.split_to(message.end);
                packet.advance(message.start);
                packet.freeze()
            }
        }
    }

    /// What it cost; `None` if it may not come.
    fn open_fast_one_way(&mut self, fast: &FastCall) -> Option<u64> {
        let max = self.config.limits().max_message_bytes as usize;
        if fast.message_len() > max || self.request_recv_credit.available() <= 0 {
            return None;
        }
        let cost = cost(fast.message_len());
        self.request_recv_credit.pay(cost);
        Some(cost)
    }

    fn open_fast(
        &mut self,
        now: Instant,
        id: CallId,
        fast: &FastCall,
        deadline: Option<Instant>,
    ) -> Option<()> {
        let (limits, bytes) = (self.config.limits(), fast.message_len() as u64);
        let most = limits.initial_credit_bytes.min(limits.max_message_bytes);
        let opening = self.opening_bytes + bytes;
        let is_in_bounds =
            bytes <= most.into() && opening <= self.config.max_opening_bytes() as u64;
        if !is_in_bounds || self.has_many_replies() || self.check_new_id(id).is_err() {
            return None;
        }
        self.watch_deadline(deadline);
        self.opening_bytes = opening;
        let deadline = TheirDeadline::new(now, deadline, fast.timeout_ms);
        let call = TheirCall::fast(deadline, bytes, self.peer.initial_credit_bytes);
        self.theirs.insert_at(id.index(), call);
        Some(())
    }
}
