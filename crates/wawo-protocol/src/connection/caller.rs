//! The caller's part: the calls of this side, from their first packet to their end.
//!
//! ```text
//!  start_call ──► Waiting ──────────► In flight ──────────────► over (the id is free)
//!                   │   a slot, hello    │    their end               ▲
//!                   │                    └─► Cancelled ───────────────┘
//!                   ▼ deadline, cancel       deadline, cancel         their end
//!                 over
//! ```
//!
//! How a call begins, and why it waits before that, is in `start.rs` and `waiting_calls.rs`.
//!
//! A call that was cancelled keeps its id until the other side's end packet has come; else packets
//! that are still under way would be taken for those of a later call with the same id.

use std::time::Instant;

use bytes::Bytes;

use crate::{
    call::{Call, Step},
    code::Code,
    connection::{
        calls::Entry,
        event::{CallOutcome, Event, NewCall},
        machine::Connection,
        refusal::Refusal,
        timers::DEADLINE_STEP,
    },
    error::PeerMisbehaved,
    id::CallId,
    packet::{End, Packet, Reply},
    time::after,
};

impl<T> Connection<T> {
    /// Cancels a call: tells the other side, and returns the token now instead of when the call
    /// ends. `None` if the call is over already.
    pub fn cancel(&mut self, call: CallId) -> Option<T> {
        let closed = self.is_closed();
        let ours = self.calls.ours.get_mut(call)?;
        let token = ours.role.token.take()?;
        let in_flight = &mut ours.call;
        in_flight.state.advance(Step::Cancel);
        in_flight.deadline = None;
        // No packet of the call may follow the cancel packet, not even credit.
        in_flight.recv_half = None;
        let freed = in_flight.free_all();
        let is_queued = in_flight.is_queued();
        in_flight.send_half = None;
        self.calls.ours.credit.recv.free(freed);
        if is_queued {
            self.calls.leave_queue(call);
        }
        if !closed {
            Packet::Cancel(call).put(&mut self.output);
        }
        Some(token)
    }

    /// The token of a call of ours that is in flight.
    pub fn token(&mut self, call: CallId) -> Option<&mut T> {
        self.calls.ours.get_mut(call)?.role.token.as_mut()
    }

    /// Takes the one-way calls that wait for credit, when the connection is over and before
    /// [`take_calls`](Self::take_calls): no byte of them was sent.
    pub fn take_one_way(&mut self) -> Vec<NewCall> {
        self.waiting.take_one_way()
    }

    /// Takes all calls that have not ended, when the connection is over: each token, and whether
    /// any byte of its call was given to the transport, or still will be.
    pub fn take_calls(&mut self) -> Vec<(T, bool)> {
        let output = &self.output;
        let sent = self.calls.ours.drain().filter_map(|Entry { role, .. }| {
            // Output that still waits is written as a whole or not at all. So while any waits, each
            // call may yet be sent, and counts as sent.
            let sent = !output.is_empty() || output.written() > role.position;
            role.token.map(|token| (token, sent))
        });
        let mut calls: Vec<_> = sent.collect();
        // Calls that ended together with the connection, and whose events the driver has not got.
        calls.extend(self.events.drain(..).filter_map(|event| match event {
            Event::Ended(ended) => Some((ended.token, ended.sent)),
            Event::Refused(token, _) => Some((token, false)),
            _ => None,
        }));
        calls.extend(self.waiting.clear().map(|token| (token, false)));
        calls
    }

    /// Handles the packet that begins the reply to a call of ours.
    pub(super) fn handle_reply(
        &mut self,
        now: Instant,
        reply: Reply,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        let (id, kind) = (reply.call, "reply");
        if !self.calls.is_ours(id) {
            return Err(PeerMisbehaved::WrongSide { kind, call: id });
        }
        let (call, _) = self.calls.find(id, kind)?;
        let step = match &reply.chunk {
            Some(_) => Step::Begin,
            None => Step::BeginEmpty,
        };
        let step = call.map_or(Ok(()), |call| call.state.take(step));
        step.map_err(|state| PeerMisbehaved::call_state(kind, id, state))?;
        let Some(ours) = self.calls.ours.get_mut(id) else {
            return Ok(None);
        };
        let Some(chunk) = reply.chunk else {
            self.flood_guard.reset();
            let is_wanted = ours.role.token.is_some();
            return Ok(is_wanted.then_some(Event::Replied {
                call: id,
                metadata: reply.metadata,
                message: None,
            }));
        };
        ours.role.opening = Some(reply.metadata);
        ours.call.hold_first(chunk.message_len());
        self.receive(now, id, chunk, false)
    }

    /// Handles a reply message that is whole. The driver gets the event for the reply with its
    /// first message.
    pub(super) fn take_reply(
        &mut self,
        now: Instant,
        id: CallId,
        message: Bytes,
        end: bool,
    ) -> Option<Event<T>> {
        let ours = self.calls.ours.get_mut(id)?;
        let metadata = ours.role.opening.take();
        if end {
            let metadata = metadata.unwrap_or_default();
            let end = Self::end_packet(id, Code::Ok, "");
            return self.end_ours(now, End { metadata, ..end }, Some(message));
        }
        Some(match metadata {
            Some(metadata) => Event::Replied {
                call: id,
                metadata,
                message: Some(message),
            },
            None => Event::Message { call: id, message },
        })
    }

    /// Ends a call of ours because a reply message is over our limit, and cancels it at the other
    /// side unless that has ended it.
    pub(super) fn refuse_reply(
        &mut self,
        now: Instant,
        id: CallId,
        total: usize,
        last: bool,
    ) -> Option<Event<T>> {
        let max = self.config.limits().max_message_bytes;
        let text = format!(
            "the reply has a message of {total} bytes; \
             the caller takes at most {max} (max_message_bytes)"
        );
        let token = match last {
            true => self.remove_ours(now, id)?,
            false => self.cancel(id)?,
        };
        let code = Code::ResourceExhausted;
        let outcome = CallOutcome::here(token, Some(id), code, text, true);
        Some(Event::Ended(outcome))
    }

    pub(super) fn handle_our_end(
        &mut self,
        now: Instant,
        end: End,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        let (kind, id) = ("end", end.call);
        let Some(call) = self.calls.find(id, kind)?.0 else {
            return Ok(None);
        };
        let state = if call.state.has_begun() && end.refused {
            "which cannot be refused after its reply has begun"
        } else if call.is_partly_received() && end.code == Code::Ok {
            "whose message is not complete"
        } else {
            self.flood_guard.reset();
            return Ok(self.end_ours(now, end, None));
        };
        Err(PeerMisbehaved::call_state(kind, id, state))
    }

    fn end_ours(&mut self, now: Instant, end: End, message: Option<Bytes>) -> Option<Event<T>> {
        let Entry { call, role } = self.calls.ours.get(end.call)?;
        let text = match is_own_deadline(call, now, &end) {
            true => role.deadline_text(call, &self.config),
            false => end.text,
        };
        let token = self.remove_ours(now, end.call)?;
        Some(Event::Ended(CallOutcome {
            message,
            metadata: end.metadata,
            details: end.details,
            ended_by_peer: true,
            refused: end.refused,
            ..CallOutcome::here(token, Some(end.call), end.code, text, true)
        }))
    }

    /// Ends a call of ours whose whole reply came in one packet, and returns its token. `None`, and
    /// no change, if the call does not expect such a reply.
    #[inline]
    pub(super) fn end_with_reply(&mut self, now: Instant, id: CallId) -> Option<T> {
        let call = &self.calls.ours.get(id)?.call;
        let expects = call.state.is_awaiting() && call.send_half.is_none() && !call.is_one_way;
        match expects {
            true => self.remove_ours(now, id),
            false => None,
        }
    }

    /// Removes a call of ours that is over, returns its token, and gives its slot to a call that
    /// waits.
    pub(super) fn remove_ours(&mut self, now: Instant, id: CallId) -> Option<T> {
        let token = self.take_ours(id);
        if self.calls_waiting() > 0 {
            self.admit_waiting(now);
        }
        token
    }

    /// Drops a call of ours that is over. Returns its token, unless that was taken before.
    pub(super) fn take_ours(&mut self, id: CallId) -> Option<T> {
        let Entry { call, role } = self.calls.ours.get_mut(id)?;
        let (token, is_queued) = (role.token.take(), call.is_queued());
        self.outer_calls -= usize::from(role.is_outer);
        self.calls.ours.remove(id);
        self.calls.ours.release(id);
        if is_queued {
            self.calls.leave_queue(id);
        }
        token
    }

    /// Refuses our calls after the first `accepted`, which the other side will not serve: they may
    /// be sent elsewhere.
    pub(super) fn refuse_after(&mut self, accepted: u64) {
        let ours = self.calls.ours.iter();
        let late = ours.filter(|(_, entry)| entry.role.ordinal > accepted);
        let late: Vec<_> = late.map(|(id, _)| id).collect();
        let tokens = late.into_iter().filter_map(|id| self.take_ours(id));
        let mut tokens: Vec<_> = tokens.collect();
        tokens.extend(self.waiting.clear());
        let refused = |token| Event::Refused(token, Refusal::Draining);
        self.events.extend(tokens.into_iter().map(refused));
    }

    /// Ends the calls of ours whose time is up; returns the earliest time at which another one's
    /// will be.
    pub(super) fn expire_ours(&mut self, now: Instant) -> Option<Instant> {
        let (due, next) = self.calls.ours.due(now, self.config.stall_timeout());
        for (id, cause) in due {
            let Some(Entry { call, role }) = self.calls.ours.get(id) else {
                continue;
            };
            let text = cause.text(|| role.deadline_text(call, &self.config));
            let token = self.cancel(id);
            // The call counts as sent: it is in the output at least, and will be written.
            let ended =
                token.map(|token| CallOutcome::here(token, Some(id), cause.code(), text, true));
            self.events.extend(ended.map(Event::Ended));
        }
        next
    }
}

/// Whether the callee ended the call because the deadline that this side gave it has passed. Then
/// the end has no text, which this side adds, as it knows the setting. A handler may end a call
/// with the same code and no text long before the deadline, so the time is checked too; clocks of
/// two machines run at rates that differ by less than a thousandth.
#[inline]
fn is_own_deadline(call: &Call, now: Instant, end: &End) -> bool {
    end.code == Code::DeadlineExceeded && has_reached_deadline(call, now, end)
}

#[cold]
fn has_reached_deadline(call: &Call, now: Instant, end: &End) -> bool {
    let Some(deadline) = call.deadline.filter(|_| end.text.is_empty()) else {
        return false;
    };
    let given = deadline.saturating_duration_since(call.began);
    deadline <= after(now, DEADLINE_STEP + given / 1000)
}
