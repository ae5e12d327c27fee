//! How calls of ours begin: at once, or when the limits of the other side have room.

use std::time::Instant;

use crate::{
    call::{SendHalf, cost},
    code::Code,
    connection::{
        CallOutcome, Connection, DEADLINE_STEP, DeadlineSource, Event, NewCall, Refusal, State,
        outgoing::CallTerms,
        waiting_calls::{CallOrigin, MAX_WAITING_DEPTH, OneWayItem},
    },
    hello,
    id::{CallId, MethodId, ServiceId},
    limits::Limits,
    metadata::Metadata,
    packet::{CallHeader, OneWayBatch, put_call},
    time::after,
};

/// What became of a call that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is no third possibility")]
pub enum StartedCall {
    /// It is in the output.
    Sent(CallId),
    /// It waits for the other side's limits. [`Connection::poll_event`] tells how it goes on.
    Waiting,
}

impl<T> Connection<T> {
    /// Starts a call. `token` comes back when it is over, in [`Event::Ended`] or
    /// [`Event::Refused`], or from [`take_calls`](Self::take_calls).
    ///
    /// # Errors
    ///
    /// If it certainly cannot be served; gives the token back.
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
            return Ok(StartedCall::Sent(self.send_call(now, call, token)));
        }
        // Before the hello it does not wait for other calls.
        if call.depth > MAX_WAITING_DEPTH && self.state == State::Open {
            return Err((token, self.no_slot(&call)));
        }
        let stall_timeout = self.config.stall_timeout();
        let ends = self.waiting.push(now, call, token, stall_timeout);
        self.watch_deadline(Some(ends));
        Ok(StartedCall::Waiting)
    }

    fn no_slot(&self, call: &NewCall) -> Refusal {
        Refusal::NoSlot {
            max_calls: self.peer.max_calls,
            depth: call.depth,
        }
    }

    /// Sends a one-way message, or lets it wait for credit. Nothing tells whether it arrives.
    ///
    /// # Errors
    ///
    /// If it certainly cannot be served.
    pub fn send_one_way(&mut self, now: Instant, call: NewCall) -> Result<(), Refusal> {
        self.now = now;
        self.check_new(&call, self.waiting.one_way_calls())?;
        if self.waiting.one_way_calls() == 0 && self.has_room_for(&call) {
            self.send_one_way_now(now, call);
            return Ok(());
        }
        self.watch_deadline(call.deadline);
        self.waiting.push_one_way(OneWayItem::Message(call));
        Ok(())
    }

    /// Sends one-way calls, each as [`send_one_way`](Self::send_one_way) would with the default
    /// timeout from now on. Tells `refused` of those that certainly cannot be served.
    pub fn send_one_way_batch(
        &mut self,
        now: Instant,
        batch: OneWayBatch,
        mut refused: impl FnMut(ServiceId, MethodId, Refusal),
    ) {
        self.now = now;
        let deadline = self
            .config
            .default_timeout()
            .map(|timeout| after(now, timeout));
        if self.fits_as_packed(&batch) {
            if self.waiting.one_way_calls() == 0 && self.one_way_credit() > batch.cost() as i64 {
                return self.put_one_way_batch(now, batch, deadline);
            }
            self.watch_deadline(deadline);
            self.waiting
                .push_one_way(OneWayItem::Batch(batch, deadline));
            return self.admit_one_way(now);
        }
        for (service, method, message) in batch.into_calls() {
            let call = NewCall {
                service,
                method,
                deadline,
                deadline_source: DeadlineSource::DefaultTimeout,
                depth: 0,
                metadata: Metadata::new(),
                message: Some(message.into()),
                end: true,
                one_way: true,
            };
            if let Err(reason) = self.send_one_way(now, call) {
                refused(service, method, reason);
            }
        }
    }

    /// Whether all of them may leave in the packets that they are, now or when there is credit.
    fn fits_as_packed(&self, batch: &OneWayBatch) -> bool {
        let is_open = self.state == State::Open && !self.draining_there;
        let room = self.chunk_room(0).min(self.peer.max_message_bytes as usize);
        let waiting = self.waiting.one_way_calls() + batch.len();
        is_open && batch.largest() <= room && waiting <= self.config.max_waiting_calls()
    }

    /// One-way calls may begin while this is above zero: a quarter of the credit is left to calls,
    /// which somebody waits for.
    fn one_way_credit(&self) -> i64 {
        self.request_send_credit.available() - i64::from(self.peer.request_credit_bytes / 4)
    }

    /// Sends a batch as the packets that they are.
    fn put_one_way_batch(&mut self, now: Instant, batch: OneWayBatch, deadline: Option<Instant>) {
        self.calls_sent += batch.len() as u64;
        self.request_send_credit.spend(batch.cost());
        let default = self
            .config
            .default_timeout()
            .map(|timeout| after(now, timeout));
        // That much late is on time; beyond it, each has to say how much time it has left.
        let late = deadline.filter(|at| Some(after(*at, DEADLINE_STEP)) < default);
        let timeout = late.and_then(|at| self.timeout_on_wire(now, Some(at)));
        self.output.link_or_copy(batch.into_packets(timeout));
    }

    fn check_new(&self, call: &NewCall, waiting: usize) -> Result<(), Refusal> {
        if self.is_closed() {
            return Err(Refusal::Closed);
        }
        if self.draining_there {
            return Err(Refusal::Draining);
        }
        if waiting >= self.config.max_waiting_calls() {
            return Err(Refusal::Full(waiting));
        }
        if self.state == State::Open {
            check_sizes(call, &self.peer)?;
        }
        Ok(())
    }

    /// Whether the other side's limits let this call begin now.
    fn has_room_for(&self, call: &NewCall) -> bool {
        let length = call.message_len();
        // Before their hello, only what every side must accept may go out. What a stream goes on
        // with is not known yet.
        let early = self.state != State::Open;
        if early && (!call.end || check_sizes(call, &Limits::MINIMUM).is_err()) {
            return false;
        }
        let slot = self.ours.len() < self.peer.max_calls as usize;
        if call.one_way {
            let room = self.chunk_room(metadata_bytes(&call.metadata));
            return self.one_way_credit() > 0 && (slot || length <= room);
        }
        slot && (call.depth > 0 || self.outer_calls < self.outer_slots())
    }

    /// How many calls that no handler makes may be in flight. They leave some slots to the calls of
    /// handlers: these may be what they wait for, on whatever way around.
    fn outer_slots(&self) -> usize {
        let max = self.peer.max_calls as usize;
        max - max / NESTED_SHARE
    }

    fn send_call(&mut self, now: Instant, call: NewCall, token: T) -> CallId {
        self.calls_sent += 1;
        let room = self.chunk_room(metadata_bytes(&call.metadata));
        let credit = self.peer.initial_credit_bytes;
        let terms = call.terms();
        let (first, send_half) = SendHalf::open(call.message, call.end, credit, room);
        let id = self.take_id(Some(token), terms, send_half);
        let header = CallHeader {
            call: Some(id),
            service: call.service,
            method: call.method,
            timeout_ms: self.timeout_on_wire(now, call.deadline),
            one_way: false,
        };
        put_call(&mut self.output, header, &call.metadata, first);
        self.enqueue(id);
        id
    }

    fn send_one_way_now(&mut self, now: Instant, call: NewCall) {
        self.calls_sent += 1;
        let terms = call.terms();
        let bytes = call.message.unwrap_or_default();
        let metadata = metadata_bytes(&call.metadata);
        self.request_send_credit.spend(cost(bytes.len() + metadata));
        let room = self.chunk_room(metadata);
        let mut header = CallHeader {
            call: None,
            service: call.service,
            method: call.method,
            timeout_ms: self.timeout_on_wire(now, call.deadline),
            one_way: true,
        };
        // It leaves as a whole, or not at all.
        let terms = CallTerms {
            deadline: None,
            ..terms
        };
        // It has paid as a whole, and needs no credit of its call.
        let (first, send_half) = SendHalf::open(Some(bytes), true, u32::MAX, room);
        if send_half.is_some() {
            let id = self.take_id(None, terms, send_half);
            header.call = Some(id);
        }
        put_call(&mut self.output, header, &call.metadata, first);
        if let Some(id) = header.call {
            self.enqueue(id);
        }
    }

    /// The timeout for the wire: nothing if it is the default that our hello announced.
    fn timeout_on_wire(&self, now: Instant, deadline: Option<Instant>) -> Option<u32> {
        // Nearly always the case, and said without a division.
        if deadline
            == self
                .config
                .default_timeout()
                .map(|timeout| after(now, timeout))
        {
            return None;
        }
        let default = self.config.default_timeout().map(hello::timeout_to_wire);
        let left = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(now);
            hello::timeout_to_wire(left)
        });
        // Zero on the wire is "no deadline", which needs no words if it is the default.
        (left != default).then(|| left.unwrap_or(0))
    }

    /// Sends what waits, as far as the limits of the other side allow.
    pub(crate) fn admit_waiting(&mut self, now: Instant) {
        if self.state != State::Open {
            return;
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        while let Some((call, token)) = waiting.pop_if(|call| self.may_leave(call)) {
            let event = match check_sizes(&call, &self.peer) {
                Ok(()) => Event::Started(self.send_call(now, call, token)),
                Err(reason) => Event::Refused(token, reason),
            };
            self.events.push_back(event);
        }
        self.waiting = waiting;
        self.admit_one_way(now);
    }

    /// Refuses the calls that waited for the hello, and may not wait for a slot.
    pub(crate) fn refuse_deep(&mut self) {
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
                    self.send_one_way_now(now, call);
                }
                // Nobody waits to hear that it cannot be served.
                Some(OneWayItem::Message(_)) => {}
                None => break,
            }
        }
    }

    /// Whether a call that waits does so no longer: it can be sent, or never.
    fn may_leave(&self, call: &NewCall) -> bool {
        self.has_room_for(call) || check_sizes(call, &self.peer).is_err()
    }

    /// Cancels the waiting calls whose token `is` it.
    pub fn cancel_waiting(&mut self, is: impl FnMut(&T) -> bool) {
        self.waiting.cancel(is);
    }

    /// Ends what is due; returns the earliest time that is left.
    pub(crate) fn expire_waiting(&mut self, now: Instant) -> Option<Instant> {
        let (events, config) = (&mut self.events, &self.config);
        let (stall_timeout, max_calls) = (config.stall_timeout(), self.peer.max_calls);
        self.waiting.expire(now, stall_timeout, |waiting| {
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

/// One slot in 16 is left to the calls that handlers make. Few slots hold up other calls little; of the
/// 64 that every side takes, these are 4.
const NESTED_SHARE: usize = 16;

/// The length of the metadata block of a packet, which has none if there is no metadata.
pub(crate) fn metadata_bytes(metadata: &Metadata) -> usize {
    match metadata.is_empty() {
        true => 0,
        false => metadata.encoded_len(),
    }
}

fn check_sizes(call: &NewCall, limits: &Limits) -> Result<(), Refusal> {
    let length = call.message_len();
    if length > limits.max_message_bytes as usize {
        return Err(Refusal::MessageTooLarge {
            length,
            max: limits.max_message_bytes,
        });
    }
    check_metadata(&call.metadata, limits)
}

/// Whether metadata keeps the limits of the other side.
pub(crate) fn check_metadata(metadata: &Metadata, limits: &Limits) -> Result<(), Refusal> {
    let (entries, bytes) = (metadata.len(), metadata_bytes(metadata));
    if entries > limits.max_metadata_entries as usize || bytes > limits.max_metadata_bytes as usize
    {
        return Err(Refusal::MetadataTooLarge {
            entries,
            bytes,
            max_entries: limits.max_metadata_entries,
            max_bytes: limits.max_metadata_bytes,
        });
    }
    Ok(())
}
