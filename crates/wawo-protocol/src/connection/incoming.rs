//! The calls that the other side starts.
//!
//! ```text
//!  call packet ──► Opening ─────► In flight ─────► over: whatever still comes for the id is
//!                    first message    our end             ignored until it is used again
//!                    is whole
//! ```
//!
//! A call ends with our end packet, or our last message, whatever the state of the caller's
//! direction: it stops sending when it hears of it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    call::{Next, Received, Receiving, Sending},
    code::Code,
    connection::{
        Called, Connection, Event, NotStarted, ONE_WAY_COST_BYTES, outgoing::check_metadata,
    },
    error::PeerMisbehaved,
    id::CallId,
    metadata::Metadata,
    packet::{BodyFlags, Call, Chunk, End, Packet, put_chunk, put_reply},
};

/// A call of theirs.
#[derive(Debug)]
pub(crate) struct TheirCall {
    deadline: Option<Instant>,
    /// What to tell the driver once the first message is whole.
    opening: Option<Box<Called>>,
    /// A one-way message in chunks.
    one_way: bool,
    /// The caller's direction has ended.
    finished: bool,
    /// The driver has said its last word, and only what is still to be sent keeps the call.
    answered: bool,
    /// `None` if all came in one packet.
    receiving: Option<Box<Receiving>>,
    /// `None` until our reply begins, and if it was a single packet.
    sending: Option<Box<Sending>>,
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
        if call.one_way {
            self.pay_one_way(call.chunk.as_ref())?;
        }
        if self.draining_here {
            // Its sender counts calls, so it knows from our drain packet that this one is
            // refused. The slot counts as used.
            if let Some(id) = call.call.filter(|id| id.index() == self.theirs.slots()) {
                self.theirs
                    .insert_at(id.index(), TheirCall::new(None, false, true));
                self.theirs.remove_at(id.index());
            }
            return Ok(None);
        }
        self.calls_accepted += 1;
        let deadline = self.deadline_of(now, call.timeout_ms);
        let called = Called {
            call: call.call.filter(|_| !call.one_way),
            service: call.service,
            method: call.method,
            deadline,
            metadata: call.metadata,
            message: None,
            end: false,
        };
        self.open_theirs(call.call, called, call.chunk)
    }

    /// Begins a call with what came in its first packet.
    fn open_theirs(
        &mut self,
        id: Option<CallId>,
        called: Called,
        chunk: Option<Chunk>,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        let one_way = called.call.is_none();
        let deadline = called.deadline;
        let finished = chunk.as_ref().is_some_and(|chunk| chunk.end);
        let Some(id) = id else {
            // A whole one-way message.
            let bytes = chunk.map_or_else(Bytes::new, |chunk| chunk.bytes);
            self.check_one_way(bytes.len())?;
            return Ok(Some(Event::Called(Called {
                message: Some(bytes),
                end: true,
                ..called
            })));
        };
        if !one_way {
            self.watch_deadline(deadline);
        }
        let index = id.index();
        self.theirs
            .insert_at(index, TheirCall::new(deadline, one_way, finished));
        match chunk {
            None => Ok(Some(Event::Called(called))),
            Some(chunk) if finished && self.is_plain(&chunk) => Ok(Some(Event::Called(Called {
                message: Some(chunk.bytes),
                end: true,
                ..called
            }))),
            Some(chunk) => {
                if let Some(theirs) = self.theirs.get_mut(index) {
                    theirs.opening = Some(Box::new(called));
                }
                self.receive_theirs(id, chunk, false)
            }
        }
    }

    /// Whether a whole message needs no account of credit: the common case by far.
    fn is_plain(&self, chunk: &Chunk) -> bool {
        let limits = &self.config.limits;
        let most = limits.initial_credit_bytes.min(limits.max_message_bytes);
        chunk.bytes.len() <= most as usize
    }

    fn check_new_id(&self, id: CallId) -> Result<(), PeerMisbehaved> {
        if id.side() == self.side {
            return Err(PeerMisbehaved::WrongSide {
                kind: "call",
                call: id,
            });
        }
        let max = self.config.limits.max_calls;
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

    fn pay_one_way(&mut self, chunk: Option<&Chunk>) -> Result<(), PeerMisbehaved> {
        let length = chunk.map_or(0, |chunk| match chunk.total {
            Some(total) => total as usize,
            None => chunk.bytes.len(),
        });
        self.check_one_way(length)?;
        if self.one_way_granted <= 0 {
            return Err(PeerMisbehaved::OverOneWayCredit);
        }
        self.one_way_granted -= i64::from(ONE_WAY_COST_BYTES) + length as i64;
        Ok(())
    }

    fn check_one_way(&self, length: usize) -> Result<(), PeerMisbehaved> {
        let max = self.config.limits.max_message_bytes;
        match length <= max as usize {
            true => Ok(()),
            false => Err(PeerMisbehaved::OneWayTooLarge { length, max }),
        }
    }

    /// A one-way message with so many bytes was served: its credit goes back, in time.
    pub fn one_way_served(&mut self, message_bytes: usize) {
        // Both parts are bounded by what was granted, which fits.
        self.one_way_taken += ONE_WAY_COST_BYTES + message_bytes as u32;
    }

    /// Grants again what was taken, when it is worth a packet.
    pub(crate) fn grant_one_way(&mut self) {
        let least = self.config.limits.one_way_credit_bytes / 2;
        if self.one_way_taken >= least && !self.is_closed() {
            let bytes = std::mem::take(&mut self.one_way_taken);
            self.one_way_granted += i64::from(bytes);
            Packet::Credit { call: None, bytes }.put(&mut self.output);
        }
    }

    fn deadline_of(&self, now: Instant, timeout_ms: Option<u32>) -> Option<Instant> {
        let timeout = match timeout_ms {
            Some(0) => None,
            Some(millis) => Some(Duration::from_millis(millis.into())),
            None => self.peer_default_timeout,
        };
        timeout.map(|timeout| now + timeout)
    }

    pub(crate) fn handle_their_message(
        &mut self,
        id: CallId,
        chunk: Chunk,
        continues: bool,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        let theirs = self.find_theirs(id, "message")?;
        let Some(theirs) = theirs.filter(|theirs| !theirs.answered) else {
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
        self.receive_theirs(id, chunk, continues)
    }

    fn receive_theirs(
        &mut self,
        id: CallId,
        chunk: Chunk,
        continues: bool,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        let limits = self.config.limits;
        let Some(theirs) = self.theirs.get_mut(id.index()) else {
            return Ok(None);
        };
        // A one-way message has paid for all of its chunks.
        let window = match theirs.one_way {
            true => limits.max_message_bytes,
            false => limits.initial_credit_bytes,
        };
        let receiving = theirs
            .receiving
            .get_or_insert_with(|| Box::new(Receiving::new(window)));
        let received = receiving.receive(id, chunk, continues, limits.max_message_bytes)?;
        if !theirs.one_way
            && let Some(bytes) = receiving.grant()
        {
            let call = Some(id);
            Packet::Credit { call, bytes }.put(&mut self.output);
        }
        match received {
            Received::Partly => Ok(None),
            Received::TooLarge { total } => {
                let max = limits.max_message_bytes;
                let text = format!(
                    "a message of {total} bytes; this side takes at most {max} (max_message_bytes)"
                );
                let told = theirs.concerns_driver();
                self.end(Self::end_packet(id, Code::ResourceExhausted, text));
                Ok(told.then_some(Event::Cancelled(id)))
            }
            Received::Message { message, end } => {
                let opening = theirs.opening.take();
                if theirs.one_way {
                    self.theirs.remove_at(id.index());
                }
                Ok(Some(self.their_message(id, opening, message, end)))
            }
        }
    }

    fn their_message(
        &mut self,
        id: CallId,
        opening: Option<Box<Called>>,
        message: Bytes,
        end: bool,
    ) -> Event<T> {
        match opening {
            Some(called) => Event::Called(Called {
                message: Some(message),
                end,
                ..*called
            }),
            None => {
                if end {
                    self.events.push_back(Event::Finished(id));
                }
                Event::Message { call: id, message }
            }
        }
    }

    /// The caller has no more requests.
    pub(crate) fn handle_their_end(
        &mut self,
        end: &End,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        let id = end.call;
        let theirs = self.find_theirs(id, "end")?;
        let Some(theirs) = theirs.filter(|theirs| !theirs.answered) else {
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
        if end.code != Code::Ok || !silent {
            return Err(wrong("from its caller, who has no status to give"));
        }
        theirs.finished = true;
        Ok(Some(Event::Finished(id)))
    }

    pub(crate) fn handle_cancel(&mut self, id: CallId) -> Result<Option<Event<T>>, PeerMisbehaved> {
        if id.side() == self.side {
            return Err(PeerMisbehaved::WrongSide {
                kind: "cancel",
                call: id,
            });
        }
        let Some(theirs) = self.find_theirs(id, "cancel")? else {
            return Ok(None);
        };
        let told = theirs.concerns_driver();
        self.end(Self::end_packet(id, Code::Cancelled, ""));
        Ok(told.then_some(Event::Cancelled(id)))
    }

    pub(crate) fn handle_credit(&mut self, id: CallId, bytes: u32) -> Result<(), PeerMisbehaved> {
        if id.side() == self.side {
            return self.grant_ours(id, bytes);
        }
        let Some(theirs) = self.find_theirs(id, "credit")? else {
            return Ok(());
        };
        if let Some(sending) = &mut theirs.sending {
            sending.grant(bytes)?;
            self.line_up_theirs(id);
        }
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

    /// Answers a call of theirs with one message, and so ends it. Does nothing if the call is
    /// over.
    pub fn reply(&mut self, call: CallId, metadata: Metadata, message: Bytes) {
        self.begin_reply(call, metadata, Some(message), true);
    }

    /// Begins the reply to a call of theirs, which is a stream. Does nothing if the call is over.
    pub fn open_reply(&mut self, call: CallId, metadata: Metadata) {
        self.begin_reply(call, metadata, None, false);
    }

    fn begin_reply(&mut self, id: CallId, metadata: Metadata, message: Option<Bytes>, end: bool) {
        if self.is_closed() || self.theirs.get(id.index()).is_none() {
            return;
        }
        let length = message.as_ref().map_or(0, Bytes::len);
        if let Err(reason) = self.check_reply(&metadata, length) {
            let text = format!("the reply has {reason}");
            return self.end(Self::end_packet(id, Code::ResourceExhausted, text));
        }
        let room = self.chunk_room(metadata.encoded_len());
        let credit = self.peer.initial_credit_bytes;
        let (first, sending) = Sending::open(message, end, credit, room);
        put_reply(&mut self.output, id, &metadata, first);
        match (self.theirs.get_mut(id.index()), sending) {
            (Some(theirs), Some(sending)) => {
                theirs.sending = Some(sending);
                theirs.answered = end;
                self.line_up_theirs(id);
            }
            _ => {
                self.theirs.remove_at(id.index());
            }
        }
    }

    fn check_reply(&self, metadata: &Metadata, length: usize) -> Result<(), NotStarted> {
        if length > self.peer.max_message_bytes as usize {
            return Err(NotStarted::MessageTooLarge {
                length,
                max: self.peer.max_message_bytes,
            });
        }
        check_metadata(metadata, &self.peer)
    }

    /// Sends the next message of a stream, in a call of either side; `end` if it is the last
    /// request. Does nothing if the direction is over.
    ///
    /// Returns whether there is room for another one now; if not, [`Event::Writable`] follows.
    ///
    /// # Errors
    ///
    /// If the message is larger than the other side takes.
    pub fn send_message(
        &mut self,
        call: CallId,
        message: Bytes,
        end: bool,
    ) -> Result<bool, NotStarted> {
        self.check_reply(&Metadata::new(), message.len())?;
        let room = self.chunk_room(0);
        let ours = call.side() == self.side;
        let sending = match ours {
            true => self.our_sending(call),
            false => self.their_sending(call),
        };
        let Some(sending) = sending else {
            return Ok(true);
        };
        if !sending.spend(message.len(), room) {
            sending.push(message, end);
            match ours {
                true => self.line_up_ours(call),
                false => self.queued_theirs(call, end),
            }
            return Ok(false);
        }
        put_chunk(&mut self.output, call, message, BodyFlags::whole(end));
        if end {
            self.direction_ended(call);
        }
        Ok(true)
    }

    /// Ends the requests of a call of ours, after what is still to be sent. Does nothing if they
    /// have ended.
    pub fn finish(&mut self, call: CallId) {
        let end = Self::end_packet(call, Code::Ok, "");
        match self.our_sending(call) {
            None => {}
            Some(sending) if sending.is_idle() => {
                Packet::End(end).put(&mut self.output);
                self.our_direction_ended(call);
            }
            Some(sending) => sending.finish(end),
        }
    }

    /// Ends a call of theirs with a status. A good one follows what is still to be sent; a bad
    /// one takes its place. Does nothing if the call is over.
    pub fn end(&mut self, mut end: End) {
        let id = end.call;
        if self.is_closed() || self.theirs.get(id.index()).is_none() {
            return;
        }
        self.fit(&mut end);
        if end.code == Code::Ok
            && let Some(sending) = self.their_sending(id)
            && !sending.is_idle()
        {
            sending.finish(end);
            return self.queued_theirs(id, true);
        }
        Packet::End(end).put(&mut self.output);
        self.theirs.remove_at(id.index());
    }

    /// Cuts an end to the limits of the other side: a status must always arrive.
    fn fit(&self, end: &mut End) {
        const MAX_TEXT_BYTES: usize = 4096;
        if end.text.len() > MAX_TEXT_BYTES {
            let whole = (0..=MAX_TEXT_BYTES).rev();
            let cut = whole.into_iter().find(|&at| end.text.is_char_boundary(at));
            end.text.truncate(cut.unwrap_or(0));
        }
        if check_metadata(&end.metadata, &self.peer).is_err() {
            end.metadata = Metadata::new();
        }
        let room = self.chunk_room(end.metadata.encoded_len());
        if end.text.len() + end.details.len() > room {
            end.details = Bytes::new();
        }
    }

    /// The application has taken message bytes of a stream.
    pub fn consume(&mut self, call: CallId, bytes: usize) {
        let receiving = match call.side() == self.side {
            true => self.our_receiving(call),
            false => {
                let theirs = self.theirs.get_mut(call.index());
                theirs.and_then(|theirs| theirs.receiving.as_deref_mut())
            }
        };
        let granted = receiving.and_then(|receiving| {
            receiving.consume(bytes);
            receiving.grant()
        });
        if let Some(bytes) = granted.filter(|_| !self.is_closed()) {
            let call = Some(call);
            Packet::Credit { call, bytes }.put(&mut self.output);
        }
    }

    /// Ends what is due; returns the earliest deadline that is left.
    pub(crate) fn expire_theirs(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut due = Vec::new();
        let other = self.side.other();
        for (index, theirs) in self.theirs.iter_mut() {
            match theirs.deadline.filter(|_| !theirs.one_way) {
                Some(deadline) if deadline <= now => {
                    due.push((CallId::new(other, index), theirs.concerns_driver()));
                }
                Some(deadline) => next = Some(next.map_or(deadline, |next| next.min(deadline))),
                None => {}
            }
        }
        for (id, told) in due {
            let text = "the deadline passed before the call was answered";
            self.end(Self::end_packet(id, Code::DeadlineExceeded, text));
            self.events.extend(told.then_some(Event::Expired(id)));
        }
        next
    }

    fn their_sending(&mut self, id: CallId) -> Option<&mut Sending> {
        self.theirs.get_mut(id.index())?.sending.as_deref_mut()
    }

    fn direction_ended(&mut self, call: CallId) {
        match call.side() == self.side {
            true => self.our_direction_ended(call),
            false => {
                self.theirs.remove_at(call.index());
            }
        }
    }

    /// Something of the driver's waits to be sent in a call of theirs.
    fn queued_theirs(&mut self, id: CallId, last: bool) {
        if let Some(theirs) = self.theirs.get_mut(id.index()) {
            theirs.answered |= last;
        }
        self.line_up_theirs(id);
    }

    fn line_up_theirs(&mut self, id: CallId) {
        if let Some(sending) = self.their_sending(id)
            && !sending.is_idle()
            && !sending.in_line
        {
            sending.in_line = true;
            self.sending.push_back(id);
        }
    }

    /// Sends the next chunk of a call of theirs; `true` if there may be more.
    pub(crate) fn send_theirs(&mut self, id: CallId) -> bool {
        let room = self.chunk_room(0);
        let Some(sending) = self.their_sending(id) else {
            return false;
        };
        match sending.next(room) {
            Next::Chunk(bytes, flags) => {
                put_chunk(&mut self.output, id, bytes, flags);
                if flags.end {
                    self.theirs.remove_at(id.index());
                }
                !flags.end
            }
            Next::End(end) => {
                Packet::End(end).put(&mut self.output);
                self.theirs.remove_at(id.index());
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

impl TheirCall {
    fn new(deadline: Option<Instant>, one_way: bool, finished: bool) -> Self {
        Self {
            deadline,
            opening: None,
            one_way,
            finished,
            answered: false,
            receiving: None,
            sending: None,
        }
    }

    /// Whether the driver has heard of the call and not ended it.
    fn concerns_driver(&self) -> bool {
        self.opening.is_none() && !self.answered
    }

    fn is_partly_received(&self) -> bool {
        let receiving = self.receiving.as_ref();
        receiving.is_some_and(|receiving| receiving.is_partly_received())
    }
}
