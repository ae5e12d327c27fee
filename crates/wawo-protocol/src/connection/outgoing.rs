//! The calls of ours, from their start to their end.
//!
//! ```text
//!  start_call ──► Waiting ──────────► In flight ──────────────► over (the id is free)
//!                   │   a slot, hello    │    their end               ▲
//!                   │                    └─► Cancelled ───────────────┘
//!                   ▼ deadline, cancel       deadline, cancel         their end
//!                 over
//! ```
//!
//! How a call begins, and what it waits for, is in `start.rs` and `waiting_calls.rs`.
//!
//! A call that was cancelled keeps its id until the other side's end has come, so that nothing
//! that is still under way can be taken for a later call.

use std::time::Instant;

use bytes::Bytes;

use crate::{
    call::{MessageLimits, Next, RecvHalf, RecvOutcome, SendHalf, cost},
    code::Code,
    config::Config,
    connection::{
        CallOutcome, Connection, DEADLINE_STEP, DeadlineSource, Event, Refusal,
        timeout_cause::TimeoutCause,
    },
    error::PeerMisbehaved,
    id::CallId,
    metadata::Metadata,
    packet::{Chunk, End, Packet, Reply, put_chunk},
    time::after,
};

/// A call of ours that has an id.
#[derive(Debug)]
pub(crate) struct OurCall<T> {
    /// `None` once the call was cancelled: only the other side's end is awaited.
    pub(crate) token: Option<T>,
    terms: CallTerms,
    /// When it was sent.
    began: Instant,
    /// Where the call began in all that this connection has sent.
    position: u64,
    /// How many calls were sent before it, and itself.
    ordinal: u64,
    /// A one-way message in chunks: nothing comes back, and the last chunk ends it.
    one_way: bool,
    replied: bool,
    /// Metadata of a reply whose first message is not whole yet.
    opening: Option<Metadata>,
    /// What of its first reply was not consumed yet; this costs no credit of all replies.
    first_unread: u64,
    /// What its further replies cost of the credit of all replies and is not freed yet.
    held: u64,
    /// `None` when our direction has ended.
    pub(crate) send_half: Option<Box<SendHalf>>,
    /// `None` until more than a single packet comes.
    pub(crate) recv_half: Option<Box<RecvHalf>>,
}

/// The facts of a call of ours that hold from its start to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallTerms {
    pub(crate) deadline: Option<Instant>,
    pub(crate) deadline_source: DeadlineSource,
    /// More than one request may go out.
    pub(crate) streams_requests: bool,
    /// No handler makes it, and somebody waits for it.
    pub(crate) is_outer: bool,
}

impl<T> Connection<T> {
    /// A slot for a call that is the next in the output. Without a token it is one-way.
    pub(crate) fn take_id(
        &mut self,
        token: Option<T>,
        terms: CallTerms,
        send_half: Option<Box<SendHalf>>,
    ) -> CallId {
        let one_way = token.is_none();
        self.outer_calls += usize::from(terms.is_outer);
        let index = self.ours.insert(OurCall {
            token,
            terms,
            began: self.now,
            position: self.output.position(),
            ordinal: self.calls_sent,
            one_way,
            replied: false,
            opening: None,
            first_unread: 0,
            held: 0,
            send_half,
            recv_half: None,
        });
        CallId::new(self.side, index)
    }

    /// Cancels a call: the other side is told, and its token comes back now instead of at the
    /// end. `None` if the call is over already.
    pub fn cancel(&mut self, call: CallId) -> Option<T> {
        let closed = self.is_closed();
        let ours = self.ours.get_mut(call.index())?;
        let token = ours.token.take()?;
        self.reply_recv_credit.free(std::mem::take(&mut ours.held));
        // Nothing follows the cancel, not even credit.
        ours.recv_half = None;
        let send_half = ours.send_half.take();
        if send_half.is_some_and(|send_half| send_half.is_queued) {
            self.leave_queue(call);
        }
        if !closed {
            Packet::Cancel(call).put(&mut self.output);
        }
        Some(token)
    }

    /// The token of a call of ours that is in flight.
    pub fn token(&mut self, call: CallId) -> Option<&mut T> {
        self.ours.get_mut(call.index())?.token.as_mut()
    }

    /// Takes all calls that have not ended, for when the connection is over: each token, and
    /// whether any byte of its call was given to the transport, or still will be.
    pub fn take_calls(&mut self) -> Vec<(T, bool)> {
        let output = &self.output;
        let sent = self.ours.drain().filter_map(|call| {
            // Of what still waits in the output, all or nothing will be written.
            let sent = !output.is_empty() || output.has_written_past(call.position);
            call.token.map(|token| (token, sent))
        });
        let mut calls: Vec<_> = sent.collect();
        // Calls that ended when the connection did, before the driver heard of it.
        calls.extend(self.events.drain(..).filter_map(|event| match event {
            Event::Ended(ended) => Some((ended.token, ended.sent)),
            Event::Refused(token, _) => Some((token, false)),
            _ => None,
        }));
        calls.extend(self.waiting.clear().map(|token| (token, false)));
        calls
    }

    pub(crate) fn handle_reply(
        &mut self,
        now: Instant,
        reply: Reply,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        let id = reply.call;
        if id.side() != self.side {
            return Err(PeerMisbehaved::WrongSide {
                kind: "reply",
                call: id,
            });
        }
        let ours = find(&mut self.ours, id, "reply")?;
        if ours.replied {
            return Err(PeerMisbehaved::CallState {
                kind: "reply",
                call: id,
                state: "whose reply has begun already",
            });
        }
        ours.replied = true;
        let Some(chunk) = reply.chunk else {
            let wanted = ours.token.is_some();
            return Ok(wanted.then_some(Event::Replied {
                call: id,
                metadata: reply.metadata,
                message: None,
            }));
        };
        ours.opening = Some(reply.metadata);
        ours.first_unread = cost(chunk.message_len());
        self.receive_ours(now, id, chunk, false)
    }

    /// Takes the cost of a reply that begins out of what was granted.
    fn pay_reply(&mut self, id: CallId, chunk: &Chunk) -> Result<(), PeerMisbehaved> {
        let cost = cost(chunk.message_len());
        if !self.reply_recv_credit.pay(cost) {
            return Err(PeerMisbehaved::OverSharedCredit("reply_credit_bytes"));
        }
        match self.ours.get_mut(id.index()) {
            Some(ours) if ours.token.is_some() => ours.held += cost,
            // Nobody will read it.
            _ => self.reply_recv_credit.free(cost),
        }
        Ok(())
    }

    pub(crate) fn handle_our_message(
        &mut self,
        now: Instant,
        id: CallId,
        chunk: Chunk,
        continues: bool,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        if !find(&mut self.ours, id, "message")?.replied {
            return Err(PeerMisbehaved::CallState {
                kind: "message",
                call: id,
                state: "whose reply has not begun",
            });
        }
        if !continues {
            self.pay_reply(id, &chunk)?;
        }
        self.receive_ours(now, id, chunk, continues)
    }

    /// Takes message bytes of a reply. The driver hears of the reply with its first message.
    fn receive_ours(
        &mut self,
        now: Instant,
        id: CallId,
        chunk: Chunk,
        continues: bool,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        self.flood_guard.reset();
        let limits = MessageLimits::from(&*self.config);
        let initial_credit = self.config.limits().initial_credit_bytes;
        let ours = find(&mut self.ours, id, "message")?;
        if ours.token.is_none() {
            // Nobody wants it: only its end matters.
            if chunk.end {
                self.remove_ours(now, id);
            }
            return Ok(None);
        }
        let recv_half = ours
            .recv_half
            .get_or_insert_with(|| Box::new(RecvHalf::new(initial_credit)));
        let last = chunk.end;
        let received = recv_half.receive(id, chunk, continues, limits, self.buffer_pool.at(now))?;
        self.grant_call(id);
        let ours = find(&mut self.ours, id, "message")?;
        match received {
            RecvOutcome::Partly => Ok(None),
            RecvOutcome::TooLarge { total } => Ok(self.refuse_reply(now, id, total, last)),
            RecvOutcome::Message { message, end } => {
                let metadata = ours.opening.take();
                if end {
                    let metadata = metadata.unwrap_or_default();
                    let end = Self::end_packet(id, Code::Ok, "");
                    return Ok(self.end_ours(now, End { metadata, ..end }, Some(message)));
                }
                Ok(Some(match metadata {
                    Some(metadata) => Event::Replied {
                        call: id,
                        metadata,
                        message: Some(message),
                    },
                    None => Event::Message { call: id, message },
                }))
            }
        }
    }

    /// A reply with a message over our limit: the call ends here, and there if it has not.
    fn refuse_reply(
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
            true => self.remove_ours(now, id)?.token?,
            false => self.cancel(id)?,
        };
        let code = Code::ResourceExhausted;
        Some(Event::Ended(CallOutcome::here(
            token,
            Some(id),
            code,
            text,
            true,
        )))
    }

    pub(crate) fn handle_our_end(
        &mut self,
        now: Instant,
        end: End,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        let ours = find(&mut self.ours, end.call, "end")?;
        let recv_half = ours.recv_half.as_ref().filter(|_| ours.token.is_some());
        let cut_off = recv_half.is_some_and(|recv_half| recv_half.is_partly_received());
        let state = if ours.replied && end.refused {
            "which cannot be refused after its reply has begun"
        } else if cut_off && end.code == Code::Ok {
            "whose message is not complete"
        } else {
            return Ok(self.end_ours(now, end, None));
        };
        Err(PeerMisbehaved::CallState {
            kind: "end",
            call: end.call,
            state,
        })
    }

    fn end_ours(&mut self, now: Instant, end: End, message: Option<Bytes>) -> Option<Event<T>> {
        let ours = self.remove_ours(now, end.call)?;
        let text = match ours.is_own_deadline(now, &end) {
            true => ours.deadline_text(&self.config),
            false => end.text,
        };
        Some(Event::Ended(CallOutcome {
            token: ours.token?,
            call: Some(end.call),
            message,
            code: end.code,
            metadata: end.metadata,
            text,
            details: end.details,
            sent: true,
            ended_by_peer: true,
            refused: end.refused,
        }))
    }

    /// A call of ours is over: its slot is free, and what it held.
    pub(crate) fn remove_ours(&mut self, now: Instant, id: CallId) -> Option<OurCall<T>> {
        let ours = self.take_ours(id);
        if self.calls_waiting() > 0 {
            self.admit_waiting(now);
        }
        ours
    }

    fn take_ours(&mut self, id: CallId) -> Option<OurCall<T>> {
        let ours = self.ours.remove(id.index())?;
        self.outer_calls -= usize::from(ours.terms.is_outer);
        self.reply_recv_credit.free(ours.held);
        if ours
            .send_half
            .as_ref()
            .is_some_and(|send_half| send_half.is_queued)
        {
            self.leave_queue(id);
        }
        Some(ours)
    }

    /// The other side serves only its first `accepted` calls: the others may go elsewhere.
    pub(crate) fn refuse_after(&mut self, accepted: u64) -> Vec<Event<T>> {
        let late =
            |(index, call): (u32, &mut OurCall<T>)| (call.ordinal > accepted).then_some(index);
        let late: Vec<u32> = self.ours.iter_mut().filter_map(late).collect();
        let side = self.side;
        let late = late
            .into_iter()
            .filter_map(|index| self.take_ours(CallId::new(side, index)));
        let tokens = late.filter_map(|call| call.token);
        let mut tokens: Vec<T> = tokens.collect();
        tokens.extend(self.waiting.clear());
        let refused = |token| Event::Refused(token, Refusal::Draining);
        tokens.into_iter().map(refused).collect()
    }

    /// Ends what is due; returns the earliest deadline that is left.
    pub(crate) fn expire_ours(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut due = Vec::new();
        let stall_timeout = self.config.stall_timeout();
        for (index, ours) in self
            .ours
            .iter_mut()
            .filter(|(_, call)| call.token.is_some())
        {
            match TimeoutCause::earliest(
                ours.terms.deadline,
                ours.send_half.as_deref(),
                stall_timeout,
            ) {
                Some((at, why)) if at <= now => {
                    let text = why.text(|| ours.deadline_text(&self.config));
                    due.push((CallId::new(self.side, index), why.code(), text));
                }
                Some((at, _)) => next = Some(next.map_or(at, |next| next.min(at))),
                None => {}
            }
        }
        for (id, code, text) in due {
            let token = self.cancel(id);
            // It is in the output at least, and will be written.
            let ended = token.map(|token| CallOutcome::here(token, Some(id), code, text, true));
            self.events.extend(ended.map(Event::Ended));
        }
        next
    }

    pub(crate) fn grant_ours(&mut self, id: CallId, bytes: u32) -> Result<(), PeerMisbehaved> {
        let ours = find(&mut self.ours, id, "credit")?;
        if let Some(send_half) = &mut ours.send_half {
            send_half.grant(bytes)?;
            self.enqueue(id);
        }
        Ok(())
    }

    /// The send half of a call of ours, while it lasts.
    pub(crate) fn our_send_half(&mut self, id: CallId) -> Option<&mut SendHalf> {
        self.ours.get_mut(id.index())?.send_half.as_deref_mut()
    }

    /// What comes of a call of ours.
    pub(crate) fn our_recv_half(&mut self, id: CallId) -> Option<&mut RecvHalf> {
        self.ours.get_mut(id.index())?.recv_half.as_deref_mut()
    }

    /// A part of what the replies of a call cost is no longer held.
    pub(crate) fn free_ours(&mut self, id: CallId, cost: u64) -> Option<&mut RecvHalf> {
        let ours = self.ours.get_mut(id.index())?;
        let first = cost.min(ours.first_unread);
        ours.first_unread -= first;
        let cost = (cost - first).min(ours.held);
        ours.held -= cost;
        self.reply_recv_credit.free(cost);
        ours.recv_half.as_deref_mut()
    }

    pub(crate) fn our_direction_ended(&mut self, id: CallId) {
        let Some(ours) = self.ours.get_mut(id.index()) else {
            return;
        };
        ours.send_half = None;
        if ours.one_way {
            self.ours.remove(id.index());
        }
    }

    /// Sends the next chunk of a call of ours.
    pub(crate) fn send_ours(&mut self, id: CallId) {
        let room = self.chunk_room(0);
        let ours = self.ours.get_mut(id.index());
        let Some(send_half) = ours.and_then(|ours| ours.send_half.as_deref_mut()) else {
            return;
        };
        send_half.is_queued = false;
        match send_half.next(room, &mut self.request_send_credit) {
            Next::Chunk(bytes, flags) => {
                send_half.is_queued = !flags.end;
                put_chunk(&mut self.output, id, bytes, flags);
                match flags.end {
                    true => self.our_direction_ended(id),
                    false => self.send_queue.push_back(id),
                }
            }
            Next::Batch(messages) => {
                send_half.is_queued = true;
                self.output.link_or_copy(messages.into_packets());
                self.send_queue.push_back(id);
            }
            Next::End(end) => {
                Packet::End(end).put(&mut self.output);
                self.our_direction_ended(id);
            }
            next @ (Next::NeedsCallCredit | Next::NeedsSharedCredit) => {
                let until = after(send_half.stall(self.now), self.config.stall_timeout());
                if matches!(next, Next::NeedsSharedCredit) {
                    send_half.is_queued = true;
                    self.blocked_requests.push_back(id);
                }
                self.watch_deadline(Some(until));
            }
            Next::Idle => self.events.push_back(Event::Writable(id)),
        }
    }
}

impl<T> OurCall<T> {
    /// Whether this end comes from the callee's clock, for the deadline that this side gave the call:
    /// the callee leaves the text to us. A handler may end a call with the same code and no text long
    /// before that; clocks differ by less than a thousandth.
    #[inline]
    fn is_own_deadline(&self, now: Instant, end: &End) -> bool {
        end.code == Code::DeadlineExceeded && self.has_reached_deadline(now, end)
    }

    #[cold]
    fn has_reached_deadline(&self, now: Instant, end: &End) -> bool {
        let Some(deadline) = self.terms.deadline.filter(|_| end.text.is_empty()) else {
            return false;
        };
        let given = deadline.saturating_duration_since(self.began);
        deadline <= after(now, DEADLINE_STEP + given / 1000)
    }

    /// How it has passed its deadline, in words.
    fn deadline_text(&self, config: &Config) -> String {
        let is_sending = self.terms.streams_requests && self.send_half.is_some();
        let is_under_way = self.replied || is_sending;
        let deadline = self.terms.deadline.filter(|_| is_under_way);
        let under_way = deadline.map(|at| at.saturating_duration_since(self.began));
        self.terms.deadline_source.passed(under_way, config)
    }

    /// Whether somebody waits for its reply, nothing of which has come, and all is sent.
    pub(crate) fn expects_fast_reply(&self) -> bool {
        self.token.is_some()
            && !self.replied
            && self.recv_half.is_none()
            && self.send_half.is_none()
    }

    /// What takes in further replies, if the driver hears of them; with what they cost so far.
    pub(crate) fn recv_half_for_batch(&mut self) -> Option<(&mut RecvHalf, &mut u64)> {
        let recv_half = self.recv_half.as_deref_mut()?;
        let is_read = self.token.is_some() && self.opening.is_none();
        let is_whole = !recv_half.is_partly_received();
        (is_read && is_whole && self.replied).then_some((recv_half, &mut self.held))
    }
}

impl<T> CallOutcome<T> {
    /// A call that ends by our own doing.
    pub(crate) fn here(
        token: T,
        call: Option<CallId>,
        code: Code,
        text: String,
        sent: bool,
    ) -> Self {
        Self {
            token,
            call,
            message: None,
            code,
            metadata: Metadata::new(),
            text,
            details: Bytes::new(),
            sent,
            ended_by_peer: false,
            refused: false,
        }
    }
}

fn find<'a, T>(
    ours: &'a mut crate::call::Table<OurCall<T>>,
    call: CallId,
    kind: &'static str,
) -> Result<&'a mut OurCall<T>, PeerMisbehaved> {
    let found = ours.get_mut(call.index()).filter(|ours| !ours.one_way);
    found.ok_or(PeerMisbehaved::NoSuchCall { kind, call })
}
