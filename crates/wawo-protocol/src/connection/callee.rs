//! The callee's part: the calls of the other side, from their first packet to their end.
//!
//! ```text
//!  call packet ──► Opening ─────► In flight ─────► over: packets that still come for the id are
//!                    first message    our end             ignored until it is used again
//!                    is whole
//! ```
//!
//! A call ends with our end packet, or our last message, whatever the state of the caller's direction:
//! the caller stops sending when it receives that. While the other side does not read, our end packets
//! wait, and their calls keep their slots.

use std::time::Instant;

use bytes::Bytes;

use crate::{
    call::{Call, State, Step, add_credit},
    code::Code,
    connection::{
        calls::Entry,
        event::{Event, InboundCall},
        load::Share,
        machine::Connection,
        role::Callee,
        timeout_cause::callee_text,
    },
    error::PeerMisbehaved,
    id::CallId,
    message::cost,
    packet::{self, Chunk, End},
};

impl<T> Connection<T> {
    pub(super) fn handle_call(
        &mut self,
        now: Instant,
        call: packet::Call,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        if let Some(id) = call.call {
            self.check_new_id(id)?;
        }
        self.flood_guard.reset();
        let cost = match &call.chunk {
            Some(chunk) if call.one_way => {
                self.pay_one_way(chunk.message_len(), call.metadata.block_bytes())?
            }
            _ => 0,
        };
        if self.state.is_draining_here() {
            // The caller counts its calls, so it knows from our drain packet that this one is refused:
            // no packet has to say so. The slot counts as used, as the caller has used it.
            self.calls.theirs.credit.recv.free(cost);
            if let Some(id) = call.call {
                self.calls.theirs.use_slot(id);
            }
            return Ok(None);
        }
        self.calls.theirs.count_begun(1);
        let (timeouts, timeout_ms) = (&self.their_timeouts, call.timeout_ms);
        let mut called = InboundCall {
            call: call.call.filter(|_| !call.one_way),
            service: call.service,
            method: call.method,
            deadline: timeouts.deadline(now, timeout_ms, &self.config),
            metadata: call.metadata,
            message: None,
            end: false,
            cost,
        };
        if let Some(id) = call.call {
            return self.open_theirs(now, id, called, timeout_ms, call.chunk);
        }
        // A whole one-way message.
        let message = call.chunk.map_or_else(Bytes::new, |chunk| chunk.bytes);
        (called.message, called.end) = (Some(message), true);
        Ok(Some(Event::Called(called)))
    }

    /// Begins a call that has an id, with the message that came in its first packet.
    fn open_theirs(
        &mut self,
        now: Instant,
        id: CallId,
        mut called: InboundCall,
        timeout_ms: Option<u32>,
        chunk: Option<Chunk>,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        let length = chunk.as_ref().map(Chunk::message_len);
        let state = match &chunk {
            None => State::STREAMING,
            Some(chunk) if chunk.end && self.needs_no_credit(chunk.bytes.len()) => State::WHOLE,
            Some(_) => State::OPENING,
        };
        let mut call = Call::new(state, now, called.deadline);
        call.is_one_way = called.call.is_none();
        if call.is_one_way {
            call.deadline = None;
        }
        let admitted = self.admit_opening(&called, length.unwrap_or(0));
        let share = admitted.as_ref().copied().unwrap_or_default();
        self.insert_theirs(id, call, length, timeout_ms, share);
        if let Err(overload) = admitted {
            // The refused call must end at once: calls in flight may wait for it, and would never end.
            self.end_overloaded(id, Some(&called), overload, true);
            return Ok(None);
        }
        let Some(chunk) = chunk else {
            return Ok(self.called_by_stream(id, called));
        };
        if state == State::WHOLE {
            (called.message, called.end) = (Some(chunk.bytes), true);
            return Ok(Some(Event::Called(called)));
        }
        if let Some(theirs) = self.calls.theirs.get_mut(id) {
            theirs.role.opening = Some(Box::new(called));
        }
        self.receive(now, id, chunk, false)
    }

    /// Begins a call that came in one packet, with a message and no metadata. `None` if the call breaks
    /// a rule or a limit; then no state has changed, and the caller can treat the packet as any other.
    #[inline]
    pub(super) fn open_whole(
        &mut self,
        now: Instant,
        id: CallId,
        length: usize,
        timeout_ms: Option<u32>,
        deadline: Option<Instant>,
    ) -> Option<()> {
        if !self.needs_no_credit(length) || self.check_new_id(id).is_err() {
            return None;
        }
        let share = self.load.add_call(length as u64, &self.config).ok()?;
        let call = Call::new(State::WHOLE, now, deadline);
        self.insert_theirs(id, call, Some(length), timeout_ms, share);
        Some(())
    }

    /// Puts a call into its slot, with the length of its first message, if one has begun.
    #[inline]
    fn insert_theirs(
        &mut self,
        id: CallId,
        mut call: Call,
        length: Option<usize>,
        timeout_ms: Option<u32>,
        share: Share,
    ) {
        if let Some(length) = length {
            call.hold_first(length);
        }
        self.watch_deadline(call.deadline);
        let callee = Callee {
            opening: None,
            timeout_ms,
            reply_credit: self.peer.initial_credit_bytes,
            share,
        };
        self.calls.theirs.insert_at(id, call, callee);
    }

    /// Whether a whole first message of this length is within all limits: the common case by far.
    #[inline]
    pub(super) fn needs_no_credit(&self, length: usize) -> bool {
        let limits = self.config.limits();
        length <= limits.initial_credit_bytes.min(limits.max_message_bytes) as usize
    }

    #[inline]
    fn check_new_id(&self, id: CallId) -> Result<(), PeerMisbehaved> {
        let (kind, max) = ("call", self.config.limits().max_calls);
        if self.calls.is_ours(id) {
            return Err(PeerMisbehaved::WrongSide { kind, call: id });
        }
        if id.index() >= max as usize {
            return Err(PeerMisbehaved::TooManyCalls { call: id, max });
        }
        if id.index() > self.calls.theirs.slots() {
            return Err(PeerMisbehaved::CallIdSkipped(id));
        }
        if self.calls.theirs.get(id).is_some() {
            return Err(PeerMisbehaved::CallInFlight(id));
        }
        Ok(())
    }

    /// Takes the cost of a one-way message out of the shared credit of requests, and returns it.
    #[inline]
    pub(super) fn pay_one_way(
        &mut self,
        length: usize,
        metadata_bytes: usize,
    ) -> Result<u64, PeerMisbehaved> {
        let max = self.config.limits().max_message_bytes;
        if length > max as usize {
            return Err(PeerMisbehaved::OneWayTooLarge { length, max });
        }
        let cost = cost(length + metadata_bytes);
        self.calls.theirs.credit.pay(cost)?;
        Ok(cost)
    }

    /// Says that a one-way message was served: its [cost](InboundCall::cost) will be granted to the
    /// other side again.
    pub fn one_way_served(&mut self, cost: u64) {
        self.calls.theirs.credit.recv.free(cost);
    }

    /// The deadline of a call of theirs if its reply is a stream. It differs from
    /// [`InboundCall::deadline`] if [`Config::max_stream_time`](crate::Config::max_stream_time) is set.
    /// `None` if the call has no deadline as a stream, or if it is over.
    pub fn stream_deadline(&self, call: CallId) -> Option<Instant> {
        let Entry { call, role } = self.calls.theirs.get(call)?;
        let timeouts = &self.their_timeouts;
        timeouts.stream_deadline(call, role.timeout_ms, &self.config)
    }

    /// Records that a call of theirs, which came as a stream, is of a method with one message each way:
    /// only its message and its end came apart, so it has the deadline of such calls, which is returned.
    pub fn bound_as_unary(&mut self, call: CallId) -> Option<Instant> {
        let Entry { call, role } = self.calls.theirs.get_mut(call)?;
        let timeouts = &self.their_timeouts;
        let deadline = timeouts.deadline(call.began, role.timeout_ms, &self.config);
        call.deadline = deadline;
        self.watch_deadline(deadline);
        deadline
    }

    /// Handles a request message that is whole.
    pub(super) fn take_request(
        &mut self,
        id: CallId,
        message: Bytes,
        end: bool,
    ) -> Option<Event<T>> {
        let Entry { call, role } = self.calls.theirs.get_mut(id)?;
        if call.state.is_ended_here() {
            // This side has ended the call, its reply waits to be sent, and nobody reads the requests.
            // They still free their credit, so that a caller that sends all its requests before it reads
            // can finish, and then read the reply.
            self.consume(id, usize::MAX, usize::MAX);
            return None;
        }
        let (opening, is_one_way) = (role.opening.take(), call.is_one_way);
        if is_one_way {
            self.remove_theirs(id);
        }
        let Some(called) = opening else {
            if end {
                self.events.push_back(Event::Finished(id));
            }
            return Some(Event::Message { call: id, message });
        };
        let mut called = *called;
        // A one-way call is over with its message, with or without the `END` flag.
        (called.message, called.end) = (Some(message), end || is_one_way);
        match called.end {
            true => Some(Event::Called(called)),
            false => self.called_by_stream(id, called),
        }
    }

    /// The event for a call whose requests are a stream, with the deadline that streams have. `None` if
    /// there are too many streams.
    fn called_by_stream(&mut self, id: CallId, mut called: InboundCall) -> Option<Event<T>> {
        if !self.admit_stream(id, Some(&called)) {
            return None;
        }
        called.deadline = self.stream_deadline(id);
        Some(Event::Called(called))
    }

    /// Whether the driver knows the call, and has not ended it.
    pub(super) fn is_served(&self, id: CallId) -> bool {
        let theirs = self.calls.theirs.get(id);
        theirs.is_some_and(|theirs| theirs.call.state.is_served())
    }

    /// Handles the packet that says that the caller sends no more requests.
    pub(super) fn handle_their_end(
        &mut self,
        end: &End,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        let (kind, id) = ("end", end.call);
        let (call, _) = self.calls.find(id, kind)?;
        let Some(call) = call.filter(|call| !call.state.is_ended_here()) else {
            self.flood_guard.count_idle(&self.config)?;
            return Ok(None);
        };
        let wrong = |state| PeerMisbehaved::call_state(kind, id, state);
        call.state.take(Step::End).map_err(wrong)?;
        if call.is_partly_received() {
            return Err(wrong("whose message is not complete"));
        }
        let is_silent = end.text.is_empty() && end.details.is_empty() && end.metadata.is_empty();
        if end.code != Code::Ok || end.refused || !is_silent {
            return Err(wrong("from its caller, who has no status to give"));
        }
        self.flood_guard.reset();
        Ok(Some(Event::Finished(id)))
    }

    pub(super) fn handle_cancel(
        &mut self,
        now: Instant,
        id: CallId,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        let kind = "cancel";
        if self.calls.is_ours(id) {
            return Err(PeerMisbehaved::WrongSide { kind, call: id });
        }
        if self.calls.find(id, kind)?.0.is_none() {
            self.flood_guard.count_idle(&self.config)?;
            return Ok(None);
        }
        let is_served = self.is_served(id);
        self.flood_guard.count_cancel(now, &self.config)?;
        self.end_now(Self::end_packet(id, Code::Cancelled, ""));
        Ok(is_served.then_some(Event::Cancelled(id)))
    }

    /// Adds to the credit with which our reply, which has not begun, will begin.
    pub(super) fn grant_reply(&mut self, id: CallId, bytes: u32) -> Result<(), PeerMisbehaved> {
        if let Some(theirs) = self.calls.theirs.get_mut(id) {
            let role = &mut theirs.role;
            role.reply_credit = add_credit(role.reply_credit, bytes)?;
        }
        Ok(())
    }

    /// Removes a call of theirs that is over: frees its slot, and the memory and credit that it held.
    #[inline]
    pub(super) fn remove_theirs(&mut self, id: CallId) {
        let Some(Entry { call, role }) = self.calls.theirs.get(id) else {
            return;
        };
        self.load.remove(&role.share);
        let is_queued = call.is_queued();
        self.calls.theirs.remove(id);
        if is_queued {
            self.calls.leave_queue(id);
        }
    }

    /// Ends the calls of theirs whose time is up; returns the earliest time at which another one's will
    /// be.
    pub(super) fn expire_theirs(&mut self, now: Instant) -> Option<Instant> {
        let (due, next) = self.calls.theirs.due(now, self.config.stall_timeout());
        for (id, cause) in due {
            let Some(Entry { call, role }) = self.calls.theirs.get(id) else {
                continue;
            };
            let text = cause.text(|| callee_text(call, role.share.is_stream(), &self.config));
            let is_served = call.state.is_served();
            let code = cause.code();
            self.end_now(Self::end_packet(id, code, text));
            self.events
                .extend(is_served.then_some(Event::Stopped(id, code)));
        }
        next
    }
}
