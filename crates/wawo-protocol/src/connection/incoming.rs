//! The calls that the other side starts.
//!
//! ```text
//!  call packet ──► Opening ─────► In flight ─────► over: whatever still comes for the id is
//!                    first message    our end             ignored until it is used again
//!                    is whole
//! ```
//!
//! A call ends with our end packet, or our last message, whatever the state of the caller's
//! direction: it stops sending when it hears of it. While the other side does not read what we
//! write, ends wait with their calls, which so keep their slots.

use std::time::Instant;

use bytes::Bytes;

use crate::{
    call::{MESSAGE_COST_BYTES, MessageLimits, RecvHalf, RecvOutcome, SendHalf, add_credit, cost},
    code::Code,
    connection::{
        Connection, Event, InboundCall,
        start::metadata_bytes,
        timeout_cause::{TheirDeadline, TimeoutCause, earlier, requested_timeout},
    },
    error::PeerMisbehaved,
    id::CallId,
    metadata::Metadata,
    packet::{Call, Chunk, End},
    time::after,
};

/// A call of theirs.
#[derive(Debug)]
pub(crate) struct TheirCall {
    deadline: TheirDeadline,
    /// What to tell the driver once the first message is whole.
    opening: Option<Box<InboundCall>>,
    /// A one-way message in chunks.
    one_way: bool,
    /// The caller's direction has ended.
    finished: bool,
    /// The driver has said its last word, and only what is still to be sent keeps the call.
    pub(crate) ended: bool,
    /// A stream in either direction, which counts under `max_streams`.
    is_stream: bool,
    /// Its first message with its metadata, in bytes, which it keeps while it lasts.
    opening_bytes: u64,
    /// What of its first message was not consumed yet; this costs no credit of all requests.
    first_unread: u64,
    /// What its further messages cost of the credit of all requests and is not freed yet.
    held: u64,
    /// The part of `waiting_reply_bytes` that is its reply.
    pub(crate) waiting_reply_bytes: u64,
    /// What our reply may begin with: its caller may have granted more before it.
    pub(crate) credit: u32,
    /// Metadata of a reply that waits, whole, for its turn.
    pub(crate) unopened: Option<Box<Metadata>>,
    /// `None` if all came in one packet.
    pub(crate) recv_half: Option<Box<RecvHalf>>,
    /// `None` until our reply begins, and if it was a single packet.
    pub(crate) send_half: Option<Box<SendHalf>>,
}

impl<T> Connection<T> {
    pub(crate) fn handle_call(
        &mut self,
        now: Instant,
        call: Call,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        if let Some(id) = call.call {
            self.check_new_id(id)?;
        }
        self.flood_guard.reset();
        let cost = match &call.chunk {
            Some(chunk) if call.one_way => {
                self.check_one_way(chunk.message_len())?;
                self.pay_request(chunk, metadata_bytes(&call.metadata))?
            }
            _ => 0,
        };
        let deadline = self.deadline_at(now, call.timeout_ms);
        let deadline = TheirDeadline::new(now, deadline, call.timeout_ms);
        if self.draining_here {
            // Its sender counts calls, so it knows from our drain packet that this one is
            // refused. The slot counts as used.
            self.request_recv_credit.free(cost);
            if let Some(id) = call.call.filter(|id| id.index() == self.theirs.slots()) {
                self.theirs
                    .insert_at(id.index(), TheirCall::new(deadline, false, true));
                self.theirs.remove_at(id.index());
            }
            return Ok(None);
        }
        self.calls_accepted += 1;
        let called = InboundCall {
            call: call.call.filter(|_| !call.one_way),
            service: call.service,
            method: call.method,
            deadline: deadline.at,
            metadata: call.metadata,
            message: None,
            end: false,
            cost,
        };
        self.open_theirs(call.call, called, call.chunk, deadline)
    }

    /// Begins a call with what came in its first packet.
    fn open_theirs(
        &mut self,
        id: Option<CallId>,
        called: InboundCall,
        chunk: Option<Chunk>,
        deadline: TheirDeadline,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        let one_way = called.call.is_none();
        let finished = chunk.as_ref().is_some_and(|chunk| chunk.end);
        let Some(id) = id else {
            // A whole one-way message.
            return Ok(Some(Event::Called(InboundCall {
                message: Some(chunk.map_or_else(Bytes::new, |chunk| chunk.bytes)),
                end: true,
                ..called
            })));
        };
        if !one_way {
            self.watch_deadline(deadline.at);
        }
        let index = id.index();
        let call = TheirCall {
            credit: self.peer.initial_credit_bytes,
            ..TheirCall::new(deadline, one_way, finished)
        };
        self.theirs.insert_at(index, call);
        if !one_way && !self.admit_opening(id, &called, chunk.as_ref()) {
            return Ok(None);
        }
        match chunk {
            None => {
                let admitted = self.admit_stream(id);
                Ok(admitted.then(|| self.called_by_stream(id, called)))
            }
            Some(chunk) if finished && self.is_plain(&chunk) => {
                Ok(Some(Event::Called(InboundCall {
                    message: Some(chunk.bytes),
                    end: true,
                    ..called
                })))
            }
            Some(chunk) => {
                if let Some(theirs) = self.theirs.get_mut(index) {
                    theirs.opening = Some(Box::new(called));
                }
                self.receive_theirs(id, chunk, false)
            }
        }
    }

    /// Counts what a call begins with, which it keeps. If that is too much with all others, it is
    /// answered unserved, and is over: it must not wait, since what it waited for might wait for it.
    fn admit_opening(&mut self, id: CallId, called: &InboundCall, chunk: Option<&Chunk>) -> bool {
        let length = chunk.map_or(0, Chunk::message_len);
        if length > self.config.limits().max_message_bytes as usize {
            // It is refused for that.
            return true;
        }
        if !self.admit_replies(id) {
            return false;
        }
        let bytes = (length + metadata_bytes(&called.metadata)) as u64;
        let (before, max) = (self.opening_bytes, self.config.max_opening_bytes());
        if before + bytes > max as u64 {
            let text = format!(
                "a call that begins with {bytes} bytes, where those in flight have {before}; \
                 the callee takes at most {max} (max_opening_bytes)"
            );
            let end = Self::end_packet(id, Code::ResourceExhausted, text);
            self.end(End {
                refused: true,
                ..end
            });
            return false;
        }
        self.opening_bytes += bytes;
        if let Some(theirs) = self.theirs.get_mut(id.index()) {
            theirs.opening_bytes = bytes;
            theirs.first_unread = chunk.map_or(0, |_| cost(length));
        }
        true
    }

    /// Counts a call as a stream; one too many is answered, and is over.
    pub(crate) fn admit_stream(&mut self, id: CallId) -> bool {
        let max = self.config.max_streams();
        let Some(theirs) = self.theirs.get_mut(id.index()) else {
            return false;
        };
        if theirs.is_stream {
            return true;
        }
        if self.their_streams < max {
            theirs.is_stream = true;
            self.their_streams += 1;
            let default = self.peer_default_timeout;
            theirs.deadline = theirs.deadline.of_stream(default, &self.config);
            let deadline = theirs.deadline.at;
            self.watch_deadline(deadline);
            return true;
        }
        let text = format!("{max} streams are open already (max_streams)");
        let end = Self::end_packet(id, Code::ResourceExhausted, text);
        // One whose requests are a stream has not been served; one whose reply is, has.
        let refused = !theirs.finished;
        self.end(End { refused, ..end });
        false
    }

    /// Whether a whole message needs no account of credit: the common case by far.
    fn is_plain(&self, chunk: &Chunk) -> bool {
        let limits = self.config.limits();
        let most = limits.initial_credit_bytes.min(limits.max_message_bytes);
        chunk.bytes.len() <= most as usize
    }

    pub(crate) fn check_new_id(&self, id: CallId) -> Result<(), PeerMisbehaved> {
        if id.side() == self.side {
            return Err(PeerMisbehaved::WrongSide {
                kind: "call",
                call: id,
            });
        }
        let max = self.config.limits().max_calls;
        if id.index() >= max as usize {
            return Err(PeerMisbehaved::TooManyCalls { call: id, max });
        }
        if id.index() > self.theirs.slots() {
            return Err(PeerMisbehaved::CallIdSkipped(id));
        }
        if self.theirs.get(id.index()).is_some() {
            return Err(PeerMisbehaved::CallInFlight(id));
        }
        Ok(())
    }

    /// Takes the cost of a message that begins out of what was granted for requests.
    fn pay_request(&mut self, chunk: &Chunk, metadata: usize) -> Result<u64, PeerMisbehaved> {
        let cost = cost(chunk.message_len() + metadata);
        match self.request_recv_credit.pay(cost) {
            true => Ok(cost),
            false => Err(PeerMisbehaved::OverSharedCredit("request_credit_bytes")),
        }
    }

    fn check_one_way(&self, length: usize) -> Result<(), PeerMisbehaved> {
        let max = self.config.limits().max_message_bytes;
        match length <= max as usize {
            true => Ok(()),
            false => Err(PeerMisbehaved::OneWayTooLarge { length, max }),
        }
    }

    /// A one-way message was served: what it cost, [`InboundCall::cost`], goes back in time.
    pub fn one_way_served(&mut self, cost: u64) {
        self.request_recv_credit.free(cost);
    }

    /// When a call of theirs ends that begins now, as long as nothing shows that it is a stream.
    pub(crate) fn deadline_at(&self, now: Instant, timeout_ms: Option<u32>) -> Option<Instant> {
        match timeout_ms {
            // It is no longer than the clock can count.
            None => self.usual_timeout.map(|timeout| now + timeout),
            Some(_) => {
                let timeout = earlier(
                    requested_timeout(timeout_ms, None),
                    self.config.max_timeout(),
                );
                timeout.map(|timeout| after(now, timeout))
            }
        }
    }

    /// When a call of theirs ends if its reply is a stream: perhaps another time than
    /// [`InboundCall::deadline`], if [`Config::max_stream_time`](crate::Config::max_stream_time) is set.
    /// `None` if it then has no deadline, or if it is over.
    pub fn stream_deadline(&self, call: CallId) -> Option<Instant> {
        let deadline = self.theirs.get(call.index())?.deadline;
        deadline
            .of_stream(self.peer_default_timeout, &self.config)
            .at
    }

    pub(crate) fn handle_their_message(
        &mut self,
        id: CallId,
        chunk: Chunk,
        continues: bool,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        self.find_theirs(id, "message")?;
        let cost = match continues {
            true => 0,
            false => self.pay_request(&chunk, 0)?,
        };
        let Some(theirs) = self.theirs.get_mut(id.index()) else {
            self.request_recv_credit.free(cost);
            self.flood_guard.count_idle(&self.config)?;
            return Ok(None);
        };
        if theirs.finished {
            return Err(PeerMisbehaved::CallState {
                kind: "message",
                call: id,
                state: "whose requests have ended",
            });
        }
        theirs.finished = chunk.end;
        theirs.held += cost;
        self.flood_guard.reset();
        self.receive_theirs(id, chunk, continues)
    }

    fn receive_theirs(
        &mut self,
        id: CallId,
        chunk: Chunk,
        continues: bool,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        let limits = *self.config.limits();
        let message_limits = MessageLimits::from(&*self.config);
        let Some(theirs) = self.theirs.get_mut(id.index()) else {
            return Ok(None);
        };
        // A one-way message has paid for all of its chunks.
        let initial_credit = match theirs.one_way {
            true => limits.max_message_bytes,
            false => limits.initial_credit_bytes,
        };
        let recv_half = theirs
            .recv_half
            .get_or_insert_with(|| Box::new(RecvHalf::new(initial_credit)));
        let received = recv_half.receive(
            id,
            chunk,
            continues,
            message_limits,
            self.buffer_pool.at(self.now),
        )?;
        self.grant_call(id);
        let Some(theirs) = self.theirs.get_mut(id.index()) else {
            return Ok(None);
        };
        match received {
            RecvOutcome::Partly => Ok(None),
            RecvOutcome::TooLarge { total } => {
                let max = limits.max_message_bytes;
                let text = format!(
                    "a message of {total} bytes; the callee takes at most {max} (max_message_bytes)"
                );
                let is_known = theirs.is_known_to_driver();
                self.end_now(Self::end_packet(id, Code::ResourceExhausted, text));
                Ok(is_known.then_some(Event::Cancelled(id)))
            }
            RecvOutcome::Message { message, end } => {
                if theirs.ended {
                    // The reply waits for its turn, and nobody reads on: a caller that says all
                    // that it has before it reads must come to its end.
                    self.consume(id, usize::MAX, usize::MAX);
                    return Ok(None);
                }
                let opening = theirs.opening.take();
                // A one-way call is over with its message, whether that says so or not.
                let end = end || theirs.one_way;
                if theirs.one_way {
                    self.remove_theirs(id);
                }
                Ok(self.their_message(id, opening, message, end))
            }
        }
    }

    fn their_message(
        &mut self,
        id: CallId,
        opening: Option<Box<InboundCall>>,
        message: Bytes,
        end: bool,
    ) -> Option<Event<T>> {
        match opening {
            Some(called) => {
                let called = InboundCall {
                    message: Some(message),
                    end,
                    ..*called
                };
                match end {
                    true => Some(Event::Called(called)),
                    false => {
                        let admitted = self.admit_stream(id);
                        admitted.then(|| self.called_by_stream(id, called))
                    }
                }
            }
            None => {
                if end {
                    self.events.push_back(Event::Finished(id));
                }
                Some(Event::Message { call: id, message })
            }
        }
    }

    /// A call whose requests are a stream, which may have another deadline than others.
    fn called_by_stream(&self, id: CallId, called: InboundCall) -> Event<T> {
        Event::Called(InboundCall {
            deadline: self.stream_deadline(id),
            ..called
        })
    }

    /// The caller has no more requests.
    pub(crate) fn handle_their_end(
        &mut self,
        end: &End,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        let id = end.call;
        let theirs = self.find_theirs(id, "end")?;
        let Some(theirs) = theirs.filter(|theirs| !theirs.ended) else {
            self.flood_guard.count_idle(&self.config)?;
            return Ok(None);
        };
        let wrong = |state| PeerMisbehaved::CallState {
            kind: "end",
            call: id,
            state,
        };
        if theirs.finished {
            return Err(wrong("whose requests have ended"));
        }
        if theirs.opening.is_some() || theirs.is_partly_received() {
            return Err(wrong("whose message is not complete"));
        }
        let silent = end.text.is_empty() && end.details.is_empty() && end.metadata.is_empty();
        if end.code != Code::Ok || end.refused || !silent {
            return Err(wrong("from its caller, who has no status to give"));
        }
        theirs.finished = true;
        self.flood_guard.reset();
        Ok(Some(Event::Finished(id)))
    }

    pub(crate) fn handle_cancel(
        &mut self,
        now: Instant,
        id: CallId,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        if id.side() == self.side {
            return Err(PeerMisbehaved::WrongSide {
                kind: "cancel",
                call: id,
            });
        }
        let Some(theirs) = self.find_theirs(id, "cancel")? else {
            self.flood_guard.count_idle(&self.config)?;
            return Ok(None);
        };
        let is_known = theirs.is_known_to_driver();
        self.flood_guard.count_cancel(now, &self.config)?;
        self.end_now(Self::end_packet(id, Code::Cancelled, ""));
        Ok(is_known.then_some(Event::Cancelled(id)))
    }

    pub(crate) fn handle_call_credit(
        &mut self,
        id: CallId,
        bytes: u32,
    ) -> Result<(), PeerMisbehaved> {
        if id.side() == self.side {
            return self.grant_ours(id, bytes);
        }
        let Some(theirs) = self.find_theirs(id, "credit")? else {
            return self.flood_guard.count_idle(&self.config);
        };
        match &mut theirs.send_half {
            Some(send_half) => send_half.grant(bytes)?,
            None => theirs.credit = add_credit(theirs.credit, bytes)?,
        }
        self.enqueue(id);
        Ok(())
    }

    /// A call of theirs that a packet refers to; `None` if it is over, which its sender may not
    /// have known.
    fn find_theirs(
        &mut self,
        id: CallId,
        kind: &'static str,
    ) -> Result<Option<&mut TheirCall>, PeerMisbehaved> {
        if id.index() >= self.theirs.slots() {
            return Err(PeerMisbehaved::NoSuchCall { kind, call: id });
        }
        let found = self.theirs.get_mut(id.index());
        if let Some(theirs) = &found
            && theirs.one_way
            && kind != "message"
        {
            return Err(PeerMisbehaved::CallState {
                kind,
                call: id,
                state: "which is one-way",
            });
        }
        Ok(found)
    }

    /// A call of theirs is over: its slot is free, and what it held.
    pub(crate) fn remove_theirs(&mut self, id: CallId) -> Option<TheirCall> {
        let theirs = self.theirs.remove_at(id.index())?;
        if theirs.is_stream {
            self.their_streams -= 1;
        }
        self.request_recv_credit.free(theirs.held);
        self.opening_bytes -= theirs.opening_bytes;
        self.waiting_reply_bytes -= theirs.waiting_reply_bytes;
        if theirs
            .send_half
            .as_ref()
            .is_some_and(|send_half| send_half.is_queued)
        {
            self.leave_queue(id);
        }
        Some(theirs)
    }

    /// The application has taken so many messages of a stream, with so many bytes in all.
    pub fn consume(&mut self, call: CallId, messages: usize, bytes: usize) {
        let costs = (messages as u64).saturating_mul(MESSAGE_COST_BYTES);
        let cost = costs.saturating_add(bytes as u64);
        let recv_half = match call.side() == self.side {
            true => self.free_ours(call, cost),
            false => self.free_theirs(call, cost),
        };
        if let Some(recv_half) = recv_half {
            recv_half.consume(bytes);
        }
        if !self.is_closed() {
            self.grant_call(call);
        }
    }

    /// What comes of a call of theirs that needs credit of its own.
    pub(crate) fn their_recv_half(&mut self, id: CallId) -> Option<&mut RecvHalf> {
        let theirs = self.theirs.get_mut(id.index());
        let theirs = theirs.filter(|theirs| !theirs.one_way)?;
        theirs.recv_half.as_deref_mut()
    }

    fn free_theirs(&mut self, id: CallId, cost: u64) -> Option<&mut RecvHalf> {
        let theirs = self.theirs.get_mut(id.index());
        // The id of a one-way call is known to nobody: it is meant for a call before it.
        let theirs = theirs.filter(|theirs| !theirs.one_way)?;
        let first = cost.min(theirs.first_unread);
        theirs.first_unread -= first;
        let cost = (cost - first).min(theirs.held);
        theirs.held -= cost;
        self.request_recv_credit.free(cost);
        theirs.recv_half.as_deref_mut()
    }

    /// Ends what is due; returns the earliest deadline that is left.
    pub(crate) fn expire_theirs(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut due = Vec::new();
        let (other, stall_timeout) = (self.side.other(), self.config.stall_timeout());
        for (index, theirs) in self.theirs.iter_mut().filter(|(_, call)| !call.one_way) {
            match TimeoutCause::earliest(
                theirs.deadline.at,
                theirs.send_half.as_deref(),
                stall_timeout,
            ) {
                Some((at, why)) if at <= now => {
                    let (deadline, is_stream) = (theirs.deadline, theirs.is_stream);
                    let text = why.text(|| deadline.text(is_stream, &self.config));
                    let end = Self::end_packet(CallId::new(other, index), why.code(), text);
                    due.push((end, theirs.is_known_to_driver()));
                }
                Some((at, _)) => next = Some(next.map_or(at, |next| next.min(at))),
                None => {}
            }
        }
        for (end, is_known) in due {
            let id = end.call;
            self.end_now(end);
            self.events.extend(is_known.then_some(Event::Expired(id)));
        }
        next
    }
}

impl TheirCall {
    fn new(deadline: TheirDeadline, one_way: bool, finished: bool) -> Self {
        Self {
            deadline,
            opening: None,
            one_way,
            finished,
            ended: false,
            is_stream: false,
            opening_bytes: 0,
            first_unread: 0,
            held: 0,
            waiting_reply_bytes: 0,
            credit: 0,
            unopened: None,
            recv_half: None,
            send_half: None,
        }
    }

    /// A call that came in one packet, with a message of so many bytes.
    pub(crate) fn fast(deadline: TheirDeadline, message_bytes: u64, credit: u32) -> Self {
        Self {
            opening_bytes: message_bytes,
            first_unread: cost(message_bytes as usize),
            credit,
            ..Self::new(deadline, false, true)
        }
    }

    /// What takes in further messages, if the driver hears of them; with what they cost so far.
    pub(crate) fn recv_half_for_batch(&mut self) -> Option<(&mut RecvHalf, &mut u64)> {
        if !self.is_known_to_driver() || self.finished || self.one_way || self.is_partly_received()
        {
            return None;
        }
        Some((self.recv_half.as_deref_mut()?, &mut self.held))
    }

    /// Whether the driver has heard of the call and not ended it.
    fn is_known_to_driver(&self) -> bool {
        self.opening.is_none() && !self.ended
    }

    fn is_partly_received(&self) -> bool {
        let recv_half = self.recv_half.as_ref();
        recv_half.is_some_and(|recv_half| recv_half.is_partly_received())
    }
}
