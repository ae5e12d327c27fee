//! The calls that this side starts.
//!
//! ```text
//!  start_call ──► Waiting ──────────► In flight ──────────────► over (the id is free)
//!                   │   a slot, hello    │    their end               ▲
//!                   │                    └─► Given up ────────────────┘
//!                   ▼ deadline, forget       deadline, cancel         their end
//!                 over
//! ```
//!
//! A call that was given up keeps its id until the other side's end has come, so that nothing
//! that is still under way can be taken for a later call.

use std::time::Instant;

use bytes::Bytes;

use crate::{
    call::{Next, Received, Receiving, Sending},
    code::Code,
    config::Limits,
    connection::{Connection, Ended, Event, NewCall, NotStarted, ONE_WAY_COST_BYTES, Phase},
    error::PeerMisbehaved,
    hello,
    id::CallId,
    metadata::Metadata,
    packet::{CallHead, Chunk, End, Packet, Reply, put_call, put_chunk},
};

/// A call of ours that has an id.
#[derive(Debug)]
pub(crate) struct OurCall<T> {
    /// `None` once the call was given up: only the other side's end is awaited.
    token: Option<T>,
    deadline: Option<Instant>,
    /// Where the call began in all that this connection has sent.
    position: u64,
    /// How many calls were sent before it, and itself.
    ordinal: u64,
    /// A one-way message in chunks: nothing comes back, and the last chunk ends it.
    one_way: bool,
    replied: bool,
    /// Metadata of a reply whose first message is not whole yet.
    opening: Option<Metadata>,
    /// `None` when our direction has ended.
    sending: Option<Box<Sending>>,
    /// `None` until more than a single packet comes.
    receiving: Option<Box<Receiving>>,
}

/// A call without an id yet. One-way calls have no token.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    call: NewCall,
    token: Option<T>,
}

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
    ) -> Result<StartedCall, (T, NotStarted)> {
        if let Err(reason) = self.check_new(&call, self.waiting.len()) {
            return Err((token, reason));
        }
        self.watch_deadline(call.deadline);
        if self.waiting.is_empty() && self.has_room_for(&call) {
            return Ok(StartedCall::Sent(self.send_call(now, call, Some(token))));
        }
        let token = Some(token);
        self.waiting.push_back(Waiting { call, token });
        Ok(StartedCall::Waiting)
    }

    /// Sends a one-way message, or lets it wait for credit. Nothing tells whether it arrives.
    ///
    /// # Errors
    ///
    /// If it certainly cannot be served.
    pub fn send_one_way(&mut self, now: Instant, call: NewCall) -> Result<(), NotStarted> {
        self.check_new(&call, self.waiting_one_way.len())?;
        if self.waiting_one_way.is_empty() && self.has_room_for(&call) {
            self.send_one_way_now(now, call);
            return Ok(());
        }
        self.watch_deadline(call.deadline);
        self.waiting_one_way
            .push_back(Waiting { call, token: None });
        Ok(())
    }

    fn check_new(&self, call: &NewCall, waiting: usize) -> Result<(), NotStarted> {
        if self.is_closed() {
            return Err(NotStarted::Closed);
        }
        if self.draining_there {
            return Err(NotStarted::Draining);
        }
        if waiting >= self.config.max_waiting_calls {
            return Err(NotStarted::Full(waiting));
        }
        if self.phase == Phase::Open {
            check_sizes(call, &self.peer)?;
        }
        Ok(())
    }

    /// Whether the other side's limits let this call begin now.
    fn has_room_for(&self, call: &NewCall) -> bool {
        let length = call.message.as_ref().map_or(0, Bytes::len);
        // Before their hello, only what every side must accept may go out. What a stream goes on
        // with is not known yet.
        let early = self.phase != Phase::Open;
        if early && (!call.end || check_sizes(call, &Limits::MINIMUM).is_err()) {
            return false;
        }
        let slot = self.ours.len() < self.peer.max_calls as usize;
        match call.one_way {
            false => slot,
            true => {
                let metadata = metadata_bytes(&call.metadata);
                self.one_way_credit > 0 && (slot || length <= self.chunk_room(metadata))
            }
        }
    }

    fn send_call(&mut self, now: Instant, call: NewCall, token: Option<T>) -> CallId {
        self.calls_sent += 1;
        let position = self.output.position();
        let room = self.chunk_room(metadata_bytes(&call.metadata));
        let credit = self.peer.initial_credit_bytes;
        let (first, sending) = Sending::open(call.message, call.end, credit, room);
        let index = self.ours.insert(OurCall {
            token,
            deadline: call.deadline,
            position,
            ordinal: self.calls_sent,
            one_way: false,
            replied: false,
            opening: None,
            sending,
            receiving: None,
        });
        let id = CallId::new(self.side, index);
        let head = CallHead {
            call: Some(id),
            service: call.service,
            method: call.method,
            timeout_ms: self.timeout_on_wire(now, call.deadline),
            one_way: false,
        };
        put_call(&mut self.output, head, &call.metadata, first);
        self.line_up_ours(id);
        id
    }

    fn send_one_way_now(&mut self, now: Instant, call: NewCall) {
        self.calls_sent += 1;
        let bytes = call.message.unwrap_or_default();
        self.one_way_credit -= i64::from(ONE_WAY_COST_BYTES) + bytes.len() as i64;
        let room = self.chunk_room(metadata_bytes(&call.metadata));
        let mut head = CallHead {
            call: None,
            service: call.service,
            method: call.method,
            timeout_ms: self.timeout_on_wire(now, call.deadline),
            one_way: true,
        };
        // The credit for one-way calls is paid as a whole, so none is needed for chunks.
        let (first, sending) = Sending::open(Some(bytes), true, u32::MAX, room);
        if sending.is_some() {
            let index = self.ours.insert(OurCall {
                token: None,
                deadline: None,
                position: self.output.position(),
                ordinal: self.calls_sent,
                one_way: true,
                replied: false,
                opening: None,
                sending,
                receiving: None,
            });
            head.call = Some(CallId::new(self.side, index));
        }
        put_call(&mut self.output, head, &call.metadata, first);
        if let Some(id) = head.call {
            self.line_up_ours(id);
        }
    }

    /// The timeout for the wire: nothing if it is the default that our hello announced.
    fn timeout_on_wire(&self, now: Instant, deadline: Option<Instant>) -> Option<u32> {
        let default = self.config.default_timeout.map(hello::timeout_to_wire);
        let left = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(now);
            hello::timeout_to_wire(left)
        });
        // Zero on the wire is "no deadline", which needs no words if it is the default.
        (left != default).then(|| left.unwrap_or(0))
    }

    /// Sends what waits, as far as the limits of the other side allow.
    pub(crate) fn admit_waiting(&mut self, now: Instant) {
        while let Some(waiting) = self.next_admitted() {
            let Waiting { call, token } = waiting;
            if let Err(reason) = check_sizes(&call, &self.peer) {
                self.events
                    .extend(token.map(|token| Event::Refused(token, reason)));
                continue;
            }
            match call.one_way {
                true => self.send_one_way_now(now, call),
                false => {
                    let id = self.send_call(now, call, token);
                    self.events.push_back(Event::Started(id));
                }
            }
        }
    }

    fn next_admitted(&mut self) -> Option<Waiting<T>> {
        if self.phase != Phase::Open {
            return None;
        }
        let fits = |waiting: &Waiting<T>| {
            check_sizes(&waiting.call, &self.peer).is_err() || self.has_room_for(&waiting.call)
        };
        if self.waiting.front().is_some_and(fits) {
            return self.waiting.pop_front();
        }
        if self.waiting_one_way.front().is_some_and(fits) {
            return self.waiting_one_way.pop_front();
        }
        None
    }

    /// Gives up a call: the other side is told, and its token comes back now instead of at the
    /// end. `None` if the call is over already.
    pub fn cancel(&mut self, call: CallId) -> Option<T> {
        let ours = self.ours.get_mut(call.index())?;
        let token = ours.token.take()?;
        ours.sending = None;
        Packet::Cancel(call).put(&mut self.output);
        Some(token)
    }

    /// Gives up the waiting calls whose token `is` it.
    pub fn forget(&mut self, mut is: impl FnMut(&T) -> bool) {
        self.waiting
            .retain(|waiting| !waiting.token.as_ref().is_some_and(&mut is));
    }

    /// The token of a call of ours that is in flight.
    pub fn token(&mut self, call: CallId) -> Option<&mut T> {
        self.ours.get_mut(call.index())?.token.as_mut()
    }

    /// Takes all calls that have not ended, for when the connection is over: each token, and
    /// whether any byte of its call was given to the transport, or is before our close packet and
    /// so still will be.
    pub fn take_calls(&mut self) -> Vec<(T, bool)> {
        let (output, says_goodbye) = (&self.output, self.says_goodbye);
        let sent = self.ours.drain().filter_map(|call| {
            let sent = says_goodbye || output.has_written_past(call.position);
            call.token.map(|token| (token, sent))
        });
        let mut calls: Vec<_> = sent.collect();
        let waiting = self.waiting.drain(..);
        calls.extend(waiting.filter_map(|waiting| waiting.token.map(|token| (token, false))));
        self.waiting_one_way.clear();
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
        self.receive_ours(now, id, chunk, false)
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
        let Limits {
            max_message_bytes,
            initial_credit_bytes,
            ..
        } = self.config.limits;
        let ours = find(&mut self.ours, id, "message")?;
        if ours.token.is_none() {
            // Nobody wants it: only its end matters.
            if chunk.end {
                self.remove_ours(now, id);
            }
            return Ok(None);
        }
        let receiving = ours
            .receiving
            .get_or_insert_with(|| Box::new(Receiving::new(initial_credit_bytes)));
        let received = receiving.receive(id, chunk, continues, max_message_bytes)?;
        if let Some(bytes) = receiving.grant() {
            let call = Some(id);
            Packet::Credit { call, bytes }.put(&mut self.output);
        }
        match received {
            Received::Partly => Ok(None),
            Received::TooLarge { total } => Ok(self.refuse_reply(id, total)),
            Received::Message { message, end } => {
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

    /// A reply with a message over our limit: the call ends here, and there.
    fn refuse_reply(&mut self, id: CallId, total: usize) -> Option<Event<T>> {
        let max = self.config.limits.max_message_bytes;
        let text = format!(
            "the reply has a message of {total} bytes; \
             this side takes at most {max} (max_message_bytes)"
        );
        let token = self.cancel(id)?;
        let code = Code::ResourceExhausted;
        Some(Event::Ended(Ended::here(token, Some(id), code, text, true)))
    }

    pub(crate) fn handle_our_end(
        &mut self,
        now: Instant,
        end: End,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        find(&mut self.ours, end.call, "end")?;
        Ok(self.end_ours(now, end, None))
    }

    fn end_ours(&mut self, now: Instant, end: End, message: Option<Bytes>) -> Option<Event<T>> {
        let ours = self.remove_ours(now, end.call)?;
        Some(Event::Ended(Ended {
            token: ours.token?,
            call: Some(end.call),
            message,
            code: end.code,
            metadata: end.metadata,
            text: end.text,
            details: end.details,
            sent: true,
            answered: true,
        }))
    }

    fn remove_ours(&mut self, now: Instant, id: CallId) -> Option<OurCall<T>> {
        let ours = self.ours.remove(id.index());
        if self.calls_waiting() > 0 {
            self.admit_waiting(now);
        }
        ours
    }

    pub(crate) fn handle_one_way_credit(
        &mut self,
        now: Instant,
        bytes: u32,
    ) -> Result<(), PeerMisbehaved> {
        self.one_way_credit += i64::from(bytes);
        if self.one_way_credit > 2 * i64::from(crate::config::MAX_LIMIT) {
            return Err(PeerMisbehaved::CreditOverflow);
        }
        self.admit_waiting(now);
        Ok(())
    }

    /// The other side serves only its first `accepted` calls: the others may go elsewhere.
    pub(crate) fn refuse_after(&mut self, accepted: u64) -> Vec<Event<T>> {
        let late =
            |(index, call): (u32, &mut OurCall<T>)| (call.ordinal > accepted).then_some(index);
        let late: Vec<u32> = self.ours.iter_mut().filter_map(late).collect();
        let late = late
            .into_iter()
            .filter_map(|index| self.ours.remove(index as usize));
        let tokens = late.filter_map(|call| call.token);
        let mut tokens: Vec<T> = tokens.collect();
        tokens.extend(self.waiting.drain(..).filter_map(|waiting| waiting.token));
        self.waiting_one_way.clear();
        let refused = |token| Event::Refused(token, NotStarted::Draining);
        tokens.into_iter().map(refused).collect()
    }

    /// Ends what is due; returns the earliest deadline that is left.
    pub(crate) fn expire_ours(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for (index, ours) in self.ours.iter_mut() {
            let Some(deadline) = ours.deadline.filter(|_| ours.token.is_some()) else {
                continue;
            };
            if deadline > now {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
                continue;
            }
            let id = CallId::new(self.side, index);
            Packet::Cancel(id).put(&mut self.output);
            ours.sending = None;
            // Even if no byte of it was written yet, it leaves before its cancel, and is served.
            let token = ours.token.take();
            self.events
                .extend(token.map(|token| expired(token, Some(id), true)));
        }
        next
    }

    pub(crate) fn expire_waiting(&mut self, now: Instant) -> Option<Instant> {
        let events = &mut self.events;
        let mut next = None;
        let mut keep = |waiting: &mut Waiting<T>| {
            let Some(deadline) = waiting.call.deadline else {
                return true;
            };
            if deadline > now {
                next = Some(next.map_or(deadline, |next: Instant| next.min(deadline)));
                return true;
            }
            let token = waiting.token.take();
            events.extend(token.map(|token| expired(token, None, false)));
            false
        };
        self.waiting.retain_mut(&mut keep);
        self.waiting_one_way.retain_mut(&mut keep);
        next
    }

    pub(crate) fn grant_ours(&mut self, id: CallId, bytes: u32) -> Result<(), PeerMisbehaved> {
        let ours = find(&mut self.ours, id, "credit")?;
        if let Some(sending) = &mut ours.sending {
            sending.grant(bytes)?;
            self.line_up_ours(id);
        }
        Ok(())
    }

    /// The sending half of a call of ours, while it lasts.
    pub(crate) fn our_sending(&mut self, id: CallId) -> Option<&mut Sending> {
        self.ours.get_mut(id.index())?.sending.as_deref_mut()
    }

    pub(crate) fn our_receiving(&mut self, id: CallId) -> Option<&mut Receiving> {
        self.ours.get_mut(id.index())?.receiving.as_deref_mut()
    }

    pub(crate) fn our_direction_ended(&mut self, id: CallId) {
        let Some(ours) = self.ours.get_mut(id.index()) else {
            return;
        };
        ours.sending = None;
        if ours.one_way {
            self.ours.remove(id.index());
        }
    }

    pub(crate) fn line_up_ours(&mut self, id: CallId) {
        if let Some(sending) = self.our_sending(id)
            && !sending.is_idle()
            && !sending.in_line
        {
            sending.in_line = true;
            self.sending.push_back(id);
        }
    }

    /// Sends the next chunk of a call of ours; `true` if there may be more.
    pub(crate) fn send_ours(&mut self, id: CallId) -> bool {
        let room = self.chunk_room(0);
        let Some(sending) = self.our_sending(id) else {
            return false;
        };
        match sending.next(room) {
            Next::Chunk(bytes, flags) => {
                put_chunk(&mut self.output, id, bytes, flags);
                if flags.end {
                    self.our_direction_ended(id);
                }
                !flags.end
            }
            Next::End(end) => {
                Packet::End(end).put(&mut self.output);
                self.our_direction_ended(id);
                false
            }
            Next::Blocked => {
                sending.in_line = false;
                false
            }
            Next::Idle => {
                sending.in_line = false;
                self.events.push_back(Event::Writable(id));
                false
            }
        }
    }
}

impl<T> Ended<T> {
    /// A call that ends by our own doing.
    fn here(token: T, call: Option<CallId>, code: Code, text: String, sent: bool) -> Self {
        Self {
            token,
            call,
            message: None,
            code,
            metadata: Metadata::new(),
            text,
            details: Bytes::new(),
            sent,
            answered: false,
        }
    }
}

fn expired<T>(token: T, call: Option<CallId>, sent: bool) -> Event<T> {
    let text = match sent {
        true => "no reply before the deadline",
        false => "the deadline passed before the call could be sent",
    };
    let code = Code::DeadlineExceeded;
    Event::Ended(Ended::here(token, call, code, text.to_owned(), sent))
}

fn find<'a, T>(
    ours: &'a mut crate::call::Table<OurCall<T>>,
    call: CallId,
    kind: &'static str,
) -> Result<&'a mut OurCall<T>, PeerMisbehaved> {
    let found = ours.get_mut(call.index()).filter(|ours| !ours.one_way);
    found.ok_or(PeerMisbehaved::NoSuchCall { kind, call })
}

fn metadata_bytes(metadata: &Metadata) -> usize {
    match metadata.is_empty() {
        true => 0,
        false => metadata.encoded_len(),
    }
}

fn check_sizes(call: &NewCall, limits: &Limits) -> Result<(), NotStarted> {
    let length = call.message.as_ref().map_or(0, Bytes::len);
    if length > limits.max_message_bytes as usize {
        return Err(NotStarted::MessageTooLarge {
            length,
            max: limits.max_message_bytes,
        });
    }
    check_metadata(&call.metadata, limits)
}

/// Whether metadata keeps the limits of the other side.
pub(crate) fn check_metadata(metadata: &Metadata, limits: &Limits) -> Result<(), NotStarted> {
    let (entries, bytes) = (metadata.len(), metadata_bytes(metadata));
    if entries > limits.max_metadata_entries as usize || bytes > limits.max_metadata_bytes as usize
    {
        return Err(NotStarted::MetadataTooLarge {
            entries,
            bytes,
            max_entries: limits.max_metadata_entries,
            max_bytes: limits.max_metadata_bytes,
        });
    }
    Ok(())
}
