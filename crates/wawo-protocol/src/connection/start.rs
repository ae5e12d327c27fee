//! Starts the calls of this side: at once, or when the limits of the other side have room.

use std::time::Instant;

use crate::{
    call::{Call, SendHalf, State},
    code::Code,
    connection::{
        event::{CallOutcome, Event, NewCall},
        fit,
        machine::Connection,
        refusal::Refusal,
        role::Caller,
        timers::DEADLINE_STEP,
        waiting_calls::{CallOrigin, MAX_WAITING_DEPTH, OneWayItem},
    },
    hello,
    id::{CallId, MethodId, ServiceId},
    limits::Limits,
    message::cost,
    packet::{CallHeader, OneWayBatch, put_call},
    time::after,
};

/// The state of a call that was just started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is no third possibility")]
pub enum StartedCall {
    /// The call is in the output.
    Sent(CallId),
    /// The call waits for room under the other side's limits. Its next event says how it goes on:
    /// [`Event::Started`], [`Event::Ended`] or [`Event::Refused`].
    Waiting,
}

impl<T> Connection<T> {
    /// Starts a call. `token` comes back when it is over, in [`Event::Ended`] or
    /// [`Event::Refused`], or from [`take_calls`](Self::take_calls).
    ///
    /// # Errors
    ///
    /// If the call certainly cannot be served. The token comes back with the error.
    pub fn start_call(
        &mut self,
        now: Instant,
        call: NewCall,
        token: T,
    ) -> Result<StartedCall, (T, Refusal)> {
        self.now = now;
        let waiting = self.waiting.calls_in(CallOrigin::of(call.depth));
        if let Err(reason) = self.check_new(&call, waiting) {
            return Err((token, reason));
        }
        if waiting == 0 && self.has_room_for(&call) {
            self.watch_deadline(call.deadline);
            let id = self.send_now(now, call, Some(token));
            // A call with a token always has an id.
            return Ok(id.map_or(StartedCall::Waiting, StartedCall::Sent));
        }
        // Before the hello, a call waits for the hello and not for other calls, so a deep one may wait
        // too.
        if call.depth > MAX_WAITING_DEPTH && self.state.is_open() {
            let (max_calls, depth) = (self.peer.max_calls, call.depth);
            return Err((token, Refusal::NoSlot { max_calls, depth }));
        }
        let stall_timeout = self.config.stall_timeout();
        let ends = self.waiting.push(now, call, token, stall_timeout);
        self.watch_deadline(Some(ends));
        Ok(StartedCall::Waiting)
    }

    /// Sends a one-way message, or lets it wait for credit. No event says whether it arrives.
    ///
    /// # Errors
    ///
    /// If the message certainly cannot be served.
    pub fn send_one_way(&mut self, now: Instant, call: NewCall) -> Result<(), Refusal> {
        self.now = now;
        self.check_new(&call, self.waiting.one_way_calls())?;
        if self.waiting.one_way_calls() == 0 && self.has_room_for(&call) {
            self.send_now(now, call, None);
            return Ok(());
        }
        self.watch_deadline(call.deadline);
        self.waiting.push_one_way(OneWayItem::Message(call));
        Ok(())
    }

    /// Sends one-way calls, each as [`send_one_way`](Self::send_one_way) would with the default
    /// timeout from now on. Calls `refused` for those that certainly cannot be served.
    pub fn send_one_way_batch(
        &mut self,
        now: Instant,
        batch: OneWayBatch,
        mut refused: impl FnMut(ServiceId, MethodId, Refusal),
    ) {
        self.now = now;
        let deadline = self.default_deadline(now);
        if self.fits_as_packed(&batch) {
            self.waiting
                .push_one_way(OneWayItem::Batch(batch, deadline));
            self.admit_one_way(now);
            if self.waiting.one_way_calls() > 0 {
                self.watch_deadline(deadline);
            }
            return;
        }
        for (service, method, message) in batch.into_calls() {
            let call = NewCall::of_batch((service, method, message), deadline);
            if let Err(reason) = self.send_one_way(now, call) {
                refused(service, method, reason);
            }
        }
    }

    /// Whether all messages of the batch fit into the other side's limits as they are packed, now or
    /// when there is credit.
    fn fits_as_packed(&self, batch: &OneWayBatch) -> bool {
        let is_open = self.state.is_open() && !self.state.is_draining_there();
        let room = self.chunk_room(0).min(self.peer.max_message_bytes as usize);
        let waiting = self.waiting.one_way_calls() + batch.len();
        is_open && batch.largest() <= room && waiting <= self.config.max_waiting_calls()
    }

    /// The credit that one-way calls may take; one may begin while it is above zero. A quarter of the
    /// shared credit is left to calls, for whose reply somebody waits.
    fn one_way_credit(&self) -> i64 {
        self.calls.ours.credit.send.available() - i64::from(self.peer.request_credit_bytes / 4)
    }

    /// Sends a batch as it is packed.
    fn put_one_way_batch(&mut self, now: Instant, batch: OneWayBatch, deadline: Option<Instant>) {
        self.calls.ours.count_begun(batch.len());
        self.calls.ours.credit.send.spend(batch.cost());
        let default = self.default_deadline(now);
        // A batch that has waited for no more than one step keeps the default timeout. The packets of a
        // later one say how much time is left.
        let late = deadline.filter(|at| Some(after(*at, DEADLINE_STEP)) < default);
        let timeout = late.and_then(|at| self.timeout_on_wire(now, Some(at)));
        self.output.link_or_copy(batch.into_packets(timeout));
    }

    fn check_new(&self, call: &NewCall, waiting: usize) -> Result<(), Refusal> {
        if self.is_closed() {
            return Err(Refusal::Closed);
        }
        if self.state.is_draining_there() {
            return Err(Refusal::Draining);
        }
        if waiting >= self.config.max_waiting_calls() {
            return Err(Refusal::Full(waiting));
        }
        if self.state.is_open() {
            check_sizes(call, &self.peer)?;
        }
        Ok(())
    }

    /// Whether the other side's limits let this call begin now.
    fn has_room_for(&self, call: &NewCall) -> bool {
        let length = call.message_len();
        if !self.state.is_open() && !self.may_be_early(call) {
            return false;
        }
        let slot = self.calls.ours.len() < self.peer.max_calls as usize;
        if call.one_way {
            let room = self.chunk_room(call.metadata.block_bytes());
            return self.one_way_credit() > 0 && (slot || length <= room);
        }
        // Calls made by no handler leave some slots to the calls of handlers: a call in flight may wait
        // for one of those, and would never end if it found no slot.
        let max = self.peer.max_calls as usize;
        slot && (call.depth > 0 || self.outer_calls < max - max / NESTED_SHARE)
    }

    /// Whether a call may be sent before the hello of the other side: this side has said hello, and the
    /// call is one that every side must accept. Of a call with a stream of requests that is not known,
    /// since its further messages are still to come.
    #[cold]
    fn may_be_early(&self, call: &NewCall) -> bool {
        !self.state.is_silent() && call.end && check_sizes(call, &Limits::MINIMUM).is_ok()
    }

    /// Sends a call; without a token it is one-way. Returns its id; a one-way call has one only if it
    /// leaves in chunks.
    fn send_now(&mut self, now: Instant, mut call: NewCall, token: Option<T>) -> Option<CallId> {
        self.calls.ours.count_begun(1);
        let (is_one_way, metadata) = (token.is_none(), call.metadata.block_bytes());
        let (mut credit, mut deadline) = (self.peer.initial_credit_bytes, call.deadline);
        if is_one_way {
            let cost = cost(call.message_len() + metadata);
            self.calls.ours.credit.send.spend(cost);
            call.message.get_or_insert_default();
            // A one-way call has paid its whole cost, so it needs no credit of its own. It has no
            // deadline once it has begun, so that its message leaves whole.
            (credit, deadline) = (u32::MAX, None);
        }
        let (position, ordinal) = (self.output.position(), self.calls.ours.begun());
        let caller = Caller::new(&call, token, position, ordinal);
        let room = self.chunk_room(metadata);
        let (first, send_half) = SendHalf::open(call.message, call.end, credit, room);
        let has_more = send_half.is_some();
        let id = (has_more || !is_one_way).then(|| {
            let mut in_flight = Call::new(State::STARTED, self.now, deadline);
            (in_flight.is_one_way, in_flight.send_half) = (is_one_way, send_half);
            self.outer_calls += usize::from(caller.is_outer);
            self.calls.ours.insert(in_flight, caller)
        });
        let header = CallHeader {
            call: id,
            service: call.service,
            method: call.method,
            timeout_ms: self.timeout_on_wire(now, call.deadline),
            one_way: is_one_way,
        };
        put_call(&mut self.output, header, &call.metadata, first);
        if let Some(id) = id.filter(|_| has_more) {
            self.calls.enqueue(id);
        }
        id
    }

    /// The deadline of a call that begins now and sets none.
    #[inline]
    fn default_deadline(&self, now: Instant) -> Option<Instant> {
        let timeout = self.config.default_timeout();
        timeout.map(|timeout| after(now, timeout))
    }

    /// The timeout to put into a call packet; `None` if it is the default that our hello announced.
    fn timeout_on_wire(&self, now: Instant, deadline: Option<Instant>) -> Option<u32> {
        // Nearly every call has the default, and this test needs no division.
        if deadline == self.default_deadline(now) {
            return None;
        }
        let default = self.config.default_timeout().map(hello::timeout_to_wire);
        let left = deadline.map(|at| hello::timeout_to_wire(at.saturating_duration_since(now)));
        // Zero on the wire means "no deadline"; if that is the default too, nothing is sent.
        (left != default).then(|| left.unwrap_or(0))
    }

    /// Sends waiting calls, as far as the limits of the other side allow.
    pub(crate) fn admit_waiting(&mut self, now: Instant) {
        if !self.state.is_open() {
            return;
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        while let Some((call, token)) = waiting.pop_if(|call| self.may_leave(call)) {
            let event = match check_sizes(&call, &self.peer) {
                Ok(()) => self.send_now(now, call, Some(token)).map(Event::Started),
                Err(reason) => Some(Event::Refused(token, reason)),
            };
            self.events.extend(event);
        }
        self.waiting = waiting;
        self.admit_one_way(now);
    }

    /// Sends the calls that have waited for the hellos, and refuses those that are too deep to wait for a
    /// slot.
    pub(crate) fn admit_first(&mut self, now: Instant) {
        self.admit_waiting(now);
        if self.state.is_open() {
            self.refuse_deep();
        }
    }

    fn refuse_deep(&mut self) {
        let (events, max_calls) = (&mut self.events, self.peer.max_calls);
        self.waiting.take_deep(|waiting| {
            let depth = waiting.call.depth;
            let reason = Refusal::NoSlot { max_calls, depth };
            events.push_back(Event::Refused(waiting.token, reason));
        });
    }

    fn admit_one_way(&mut self, now: Instant) {
        while let Some(first) = self.waiting.first_one_way() {
            let may_leave = match first {
                OneWayItem::Message(call) => self.may_leave(call),
                OneWayItem::Batch(..) => self.one_way_credit() > 0,
            };
            if !may_leave {
                break;
            }
            match self.waiting.pop_one_way(self.one_way_credit()) {
                Some(OneWayItem::Batch(batch, deadline)) => {
                    self.put_one_way_batch(now, batch, deadline)
                }
                Some(OneWayItem::Message(call)) if check_sizes(&call, &self.peer).is_ok() => {
                    self.send_now(now, call, None);
                }
                // Nobody waits for the outcome of a one-way message that cannot be served.
                Some(OneWayItem::Message(_)) => {}
                None => break,
            }
        }
    }

    /// Whether a waiting call may leave its queue: it can be sent now, or can never be sent.
    fn may_leave(&self, call: &NewCall) -> bool {
        self.has_room_for(call) || check_sizes(call, &self.peer).is_err()
    }

    /// Cancels the waiting calls for whose token `is` returns true.
    pub fn cancel_waiting(&mut self, is: impl FnMut(&T) -> bool) {
        self.waiting.cancel(is);
    }

    /// Ends the calls that have waited too long; returns the earliest time at which another one will
    /// have.
    pub(crate) fn expire_waiting(&mut self, now: Instant) -> Option<Instant> {
        let (events, config) = (&mut self.events, &self.config);
        let (stall_timeout, max_calls) = (config.stall_timeout(), self.peer.max_calls);
        self.waiting.expire(now, |waiting| {
            let (code, text) = match waiting.call.deadline {
                Some(_) => {
                    let setting = waiting.call.deadline_source.describe(config);
                    let text = "the deadline passed before the call could be sent";
                    (Code::DeadlineExceeded, format!("{text} ({setting})"))
                }
                None => {
                    let text = format!(
                        "the peer, which takes {max_calls} calls at a time (its max_calls), had no \
                         room for the call within {stall_timeout:?} (stall_timeout)"
                    );
                    (Code::ResourceExhausted, text)
                }
            };
            let ended = CallOutcome::here(waiting.token, None, code, text, false);
            events.push_back(Event::Ended(ended));
        })
    }
}

/// One slot in this many is left to the calls that handlers make. One in 16 takes little from the other
/// calls; of the 64 slots that every side must offer, it is 4.
const NESTED_SHARE: usize = 16;

fn check_sizes(call: &NewCall, limits: &Limits) -> Result<(), Refusal> {
    fit::check(call.message_len(), &call.metadata, limits)
}
