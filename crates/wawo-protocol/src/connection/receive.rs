//! Handles the packets of the other side, and its messages in a call of either role.

use std::time::Instant;

use crate::{
    call::{RecvHalf, RecvOutcome, Step},
    connection::{event::Event, machine::Connection, state, timeout_cause::TheirTimeouts},
    error::{ConnectionError, PeerMisbehaved},
    hello::Hello,
    id::{CallId, Side},
    limits::Limits,
    message::{MESSAGE_COST_BYTES, cost},
    packet::{Chunk, CreditOf, Packet},
    relocation::Relocation,
};

/// The least credit, in bytes, that is worth a packet; a packet with less counts as one that carries
/// nothing (docs/protocol.md, "Credit").
const SMALL_CREDIT_BYTES: u32 = 1024;

impl<T> Connection<T> {
    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        packet: Packet,
    ) -> Result<Option<Event<T>>, ConnectionError> {
        if let Packet::Close { code, text } = packet {
            return Err(ConnectionError::closed_by_peer(code, &text));
        }
        let is_hello = matches!(packet, Packet::Hello(_));
        let event = match self.state.expects_hello() && !is_hello {
            true => Err(PeerMisbehaved::HelloMissing(packet.kind())),
            false => self.handle_open_packet(now, packet),
        };
        event.map_err(ConnectionError::PeerMisbehaved)
    }

    // Out of line: most calls take the fast path, and the loop that finds nothing more to read after it
    // would cost them some 40 instructions more.
    #[inline(never)]
    fn handle_open_packet(
        &mut self,
        now: Instant,
        packet: Packet,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        match packet {
            Packet::Hello(hello) => self.handle_hello(now, hello).map(Some),
            Packet::Ping(data) => {
                let max = self.config.max_early_pings();
                self.health.handle_ping(now, max)?;
                Packet::Pong(data).put(&mut self.output);
                Ok(None)
            }
            Packet::Pong(data) => self.health.handle_pong(data).map(|()| None),
            Packet::Drain { accepted } => self.handle_drain(accepted),
            Packet::Call(call) => self.handle_call(now, call),
            Packet::Reply(reply) => self.handle_reply(now, reply),
            Packet::Message {
                call,
                chunk,
                continues,
            } => self.handle_message(now, call, chunk, continues),
            Packet::End(end) => match self.calls.is_ours(end.call) {
                true => self.handle_our_end(now, end),
                false => self.handle_their_end(&end),
            },
            Packet::Cancel(call) => self.handle_cancel(now, call),
            Packet::Credit { of, bytes } => self.handle_credit(now, of, bytes).map(|()| None),
            Packet::Move(relocation) => self.handle_move(relocation),
            Packet::Unknown(_) => self.flood_guard.count_idle(&self.config).map(|()| None),
            // A close packet was handled above, before all others.
            Packet::Close { .. } => Ok(None),
        }
    }

    fn handle_hello(
        &mut self,
        now: Instant,
        hello: Box<Hello>,
    ) -> Result<Event<T>, PeerMisbehaved> {
        if !self.state.take(state::Step::Hello) {
            return Err(PeerMisbehaved::HelloTwice);
        }
        // The minimum was granted from the start, and no side may announce less, so the difference is not
        // negative.
        let (least, takes) = (Limits::MINIMUM, &hello.limits);
        let requests = takes.request_credit_bytes - least.request_credit_bytes;
        self.calls.grant_requests(requests)?;
        let replies = takes.reply_credit_bytes - least.reply_credit_bytes;
        self.calls.grant_replies(replies)?;
        if hello.role == Some(self.state.side()) {
            return Err(PeerMisbehaved::SameRole(self.state.side()));
        }
        self.health.slow_down(hello.keep_alive, &self.config);
        self.peer = hello.limits;
        self.their_timeouts = TheirTimeouts::new(hello.default_timeout, &self.config);
        self.admit_first(now);
        Ok(Event::Opened(hello))
    }

    fn handle_drain(&mut self, accepted: u64) -> Result<Option<Event<T>>, PeerMisbehaved> {
        if !self.state.take(state::Step::DrainThere) {
            self.flood_guard.count_idle(&self.config)?;
        }
        self.refuse_after(accepted);
        Ok(Some(Event::Draining))
    }

    /// A request to move counts as a packet that carries nothing: no side needs many of them. The
    /// accepting side has nowhere to move.
    fn handle_move(&mut self, relocation: Relocation) -> Result<Option<Event<T>>, PeerMisbehaved> {
        self.flood_guard.count_idle(&self.config)?;
        let is_connecting = self.state.side() == Side::Connecting;
        Ok(is_connecting.then_some(Event::Move(relocation)))
    }

    fn handle_credit(
        &mut self,
        now: Instant,
        of: CreditOf,
        bytes: u32,
    ) -> Result<(), PeerMisbehaved> {
        let mut is_idle = bytes < SMALL_CREDIT_BYTES;
        match of {
            CreditOf::Call(call) => is_idle |= !self.handle_call_credit(call, bytes)?,
            CreditOf::Requests => {
                self.calls.grant_requests(bytes)?;
                self.admit_waiting(now);
            }
            CreditOf::Replies => self.calls.grant_replies(bytes)?,
        }
        match is_idle {
            true => self.flood_guard.count_idle(&self.config),
            false => Ok(()),
        }
    }

    /// Grants credit to a call. Returns `false` if the call is over.
    fn handle_call_credit(&mut self, id: CallId, bytes: u32) -> Result<bool, PeerMisbehaved> {
        let is_ours = self.calls.is_ours(id);
        let Some(call) = self.calls.find(id, "credit")?.0 else {
            return Ok(false);
        };
        match &mut call.send_half {
            Some(send_half) => send_half.grant(bytes)?,
            // A caller whose requests have ended needs no credit.
            None if is_ours => {}
            None => self.grant_reply(id, bytes)?,
        }
        self.calls.enqueue(id);
        Ok(true)
    }

    fn handle_message(
        &mut self,
        now: Instant,
        id: CallId,
        chunk: Chunk,
        continues: bool,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        let kind = "message";
        let (call, credit) = self.calls.find(id, kind)?;
        let cost = match continues {
            true => 0,
            false => cost(chunk.message_len()),
        };
        if let Some(call) = &call {
            let mut state = call.state;
            let step = state.take(Step::Message);
            step.map_err(|state| PeerMisbehaved::call_state(kind, id, state))?;
        }
        if !continues {
            credit.pay(cost)?;
        }
        let is_over = call.is_none();
        match call {
            Some(call) if !call.state.is_cancelled() => call.hold(cost),
            // Nobody will read the message, so it costs nothing.
            _ => credit.recv.free(cost),
        }
        if is_over {
            self.flood_guard.count_idle(&self.config)?;
            return Ok(None);
        }
        self.receive(now, id, chunk, continues)
    }

    /// Takes the message bytes of a packet of a call.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        id: CallId,
        chunk: Chunk,
        continues: bool,
    ) -> Result<Option<Event<T>>, PeerMisbehaved> {
        self.flood_guard.reset();
        let limits = self.config.limits();
        let (is_ours, last) = (self.calls.is_ours(id), chunk.end);
        let Some(call) = self.calls.get(id).0 else {
            return Ok(None);
        };
        if call.state.is_cancelled() {
            // The call was cancelled, so nobody wants the message: only the end of the direction matters.
            if last {
                self.remove_ours(now, id);
            }
            return Ok(None);
        }
        // A one-way message has paid for all of its chunks when it began, so its call needs no credit.
        let initial_credit = match call.is_one_way {
            true => limits.max_message_bytes,
            false => limits.initial_credit_bytes,
        };
        let recv_half = &mut call.recv_half;
        let recv_half = recv_half.get_or_insert_with(|| Box::new(RecvHalf::new(initial_credit)));
        let pool = self.buffer_pool.at(now);
        let outcome = recv_half.receive(id, chunk, continues, &self.config, pool)?;
        if let RecvOutcome::Message { end, .. } = outcome {
            let step = if end { Step::Last } else { Step::Whole };
            call.state.advance(step);
        }
        self.grant_call(id);
        Ok(match (outcome, is_ours) {
            (RecvOutcome::Partly, _) => None,
            (RecvOutcome::Message { message, end }, true) => self.take_reply(now, id, message, end),
            (RecvOutcome::Message { message, end }, false) => self.take_request(id, message, end),
            (RecvOutcome::TooLarge { total }, true) => self.refuse_reply(now, id, total, last),
            (RecvOutcome::TooLarge { total }, false) => self.refuse_request(id, total),
        })
    }

    /// Says that the application has taken `messages` messages of a stream, with `bytes` bytes in all, so
    /// that the other side is granted more.
    pub fn consume(&mut self, call: CallId, messages: usize, bytes: usize) {
        let costs = (messages as u64).saturating_mul(MESSAGE_COST_BYTES);
        let cost = costs.saturating_add(bytes as u64);
        let (in_flight, credit) = self.calls.get(call);
        // No driver knows the id of a one-way call, so the driver means an earlier call with this id,
        // which is over.
        if let Some(in_flight) = in_flight.filter(|in_flight| !in_flight.is_one_way) {
            credit.recv.free(in_flight.free(cost));
            if let Some(recv_half) = &mut in_flight.recv_half {
                recv_half.consume(bytes);
            }
        }
        if !self.is_closed() {
            self.grant_call(call);
        }
    }

    /// Grants a direction of a call the credit that is due. While the output is full, the grant waits: a
    /// peer that does not read must not make us write more.
    pub(super) fn grant_call(&mut self, id: CallId) {
        if self.is_full() {
            self.has_withheld = true;
            return;
        }
        let (call, _) = self.calls.get(id);
        let recv_half = call.filter(|call| !call.is_one_way);
        let recv_half = recv_half.and_then(|call| call.recv_half.as_deref_mut());
        if let Some(bytes) = recv_half.and_then(RecvHalf::grant) {
            let of = CreditOf::Call(id);
            Packet::Credit { of, bytes }.put(&mut self.output);
        }
    }

    /// Grants calls the credit that was withheld while the output was full.
    pub(super) fn grant_withheld(&mut self) {
        if std::mem::take(&mut self.has_withheld) {
            for id in self.calls.ids() {
                self.grant_call(id);
            }
        }
    }

    /// Grants the shared credit that was freed, in both roles.
    pub(super) fn grant_shared_credit(&mut self) {
        let (ours, theirs) = (&mut self.calls.ours.credit, &mut self.calls.theirs.credit);
        for (of, credit) in [(CreditOf::Requests, theirs), (CreditOf::Replies, ours)] {
            if let Some(bytes) = credit.recv.grant() {
                Packet::Credit { of, bytes }.put(&mut self.output);
            }
        }
    }
}
