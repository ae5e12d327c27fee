//! The state of one connection: packets and time in, bytes and events out.

mod congestion;
mod direct_read;
mod event;
mod fast_path;
mod fit;
mod flood;
mod health;
mod incoming;
mod outgoing;
mod progress;
mod reply;
mod send;
mod start;
mod state;
mod timeout_cause;
mod waiting_calls;
mod waiting_replies;

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::BytesMut;

pub use crate::connection::{
    event::{CallOutcome, Event, InboundCall, NewCall, Refusal},
    send::SentCount,
    start::StartedCall,
    timeout_cause::DeadlineSource,
};
use crate::{
    call::{BufferPool, MESSAGE_COST_BYTES, RecvCredit, RecvHalf, SendCredit, Table, cost},
    code::{CloseCode, Code},
    config::Config,
    connection::{
        direct_read::DirectRead, flood::FloodGuard, health::Health, incoming::TheirCall,
        outgoing::OurCall, state::State, timeout_cause::earlier, waiting_calls::WaitingCalls,
    },
    error::{ConnectionError, PeerMisbehaved},
    hello::Hello,
    id::{CallId, Side},
    limits::Limits,
    output::Output,
    packet::{self, Batch, CreditOf, HEADER_BYTES, PREFACE, Packet},
    time::{after, countable},
};

/// The protocol state of one connection, seen from one side.
///
/// It does no I/O and has no clock. Whoever owns it, a *driver*:
///
/// 1. appends what the transport received to a buffer, and calls [`poll_event`](Self::poll_event)
///    with it until that returns `None`;
/// 2. acts on each event, and calls methods like [`start_call`](Self::start_call) and
///    [`reply`](Self::reply);
/// 3. calls [`fill_output`](Self::fill_output), and gives the transport what
///    [`output`](Self::output) holds;
/// 4. comes back when bytes arrive or leave, or at [`poll_timeout`](Self::poll_timeout), then
///    with [`handle_timeout`](Self::handle_timeout).
///
/// `T` is the driver's token for a call that this side starts; it comes back, once, with the
/// event that ends the call.
///
/// ```text
///            preface, hello sent         hello received         drain()            close packet
///  new() ──► Handshake ────────────────► Open ────────────────► (draining) ──────► Closed
///                │ calls may be sent, within the limits that every side must accept  ▲
///                └────────────── violation, timeout, close() ────────────────────────┘
/// ```
#[derive(Debug)]
pub struct Connection<T> {
    side: Side,
    config: Arc<Config>,
    state: State,
    /// What the other side takes: the minimum until its hello is here.
    peer: Limits,
    peer_default_timeout: Option<std::time::Duration>,
    /// The time for calls of theirs that carry no timeout, as nearly all do: at most
    /// [`FOREVER`](crate::time::FOREVER).
    usual_timeout: Option<std::time::Duration>,
    output: Output,
    events: VecDeque<Event<T>>,
    ours: Table<OurCall<T>>,
    /// Those of `ours` that no handler makes.
    outer_calls: usize,
    /// Calls of ours that have no id yet.
    waiting: WaitingCalls<T>,
    theirs: Table<TheirCall>,
    /// Those of `theirs` that are streams, in either direction.
    their_streams: usize,
    /// What they begin with, in bytes.
    opening_bytes: u64,
    /// Bytes that wait to be sent to them, streams aside: replies, and statuses.
    waiting_reply_bytes: u64,
    /// Calls with message bytes, or an end, that did not go out at once. A call stands in one of
    /// these three queues at most, once.
    send_queue: VecDeque<CallId>,
    /// Calls of ours whose next request waits for credit of all calls.
    blocked_requests: VecDeque<CallId>,
    /// Calls of theirs whose next reply waits for credit of all calls.
    blocked_replies: VecDeque<CallId>,
    /// For our requests.
    request_send_credit: SendCredit,
    /// For our replies.
    reply_send_credit: SendCredit,
    /// For their requests.
    request_recv_credit: RecvCredit,
    /// For their replies.
    reply_recv_credit: RecvCredit,
    /// How many calls we have sent, over the life of the connection.
    calls_sent: u64,
    /// How many calls of theirs we have accepted, over the life of the connection.
    calls_accepted: u64,
    draining_here: bool,
    draining_there: bool,
    health: Health,
    flood_guard: FloodGuard,
    /// Grants of calls were withheld while the output was full.
    has_withheld: bool,
    /// No deadline of a call is before this time.
    next_deadline: Option<Instant>,
    /// What was left of the input when it was last looked at: the start of a packet.
    unread: usize,
    /// The packet that is read past the input.
    direct_read: Option<Box<DirectRead>>,
    buffer_pool: BufferPool,
    /// Since when a packet has been incomplete.
    partial_since: Option<Instant>,
    /// Since when the transport has taken too little, and how much it had taken then.
    blocked_since: Option<(Instant, u64)>,
    /// The transport took all of the output, and does not pass it on.
    flush_blocked: bool,
    /// The latest time that the driver told.
    now: Instant,
}

/// Deadlines of calls are looked at in steps of at least this, so that many calls with many
/// deadlines cost one look at the table a step. A call ends up to this much late.
const DEADLINE_STEP: std::time::Duration = std::time::Duration::from_millis(5);

/// Above this many waiting bytes, messages of streams wait, credit or not, answers wait with their
/// calls, so that a peer that does not read runs out of calls, and credit waits to be granted.
const FULL_OUTPUT_BYTES: usize = 256 * 1024;

/// With this many bytes in it, the output is worth a write. More would only wait there, before what
/// is said later.
const FILLED_BYTES: usize = 64 * 1024;

/// Credit for less is hardly worth a packet (docs/protocol.md, "Credit").
const SMALL_CREDIT_BYTES: u32 = 1024;

impl<T> Connection<T> {
    /// Begins a connection: preface and hello are the first of its output. Connections can share a
    /// configuration.
    pub fn new(side: Side, config: impl Into<Arc<Config>>, now: Instant) -> Self {
        let config = config.into();
        let mut output = Output::default();
        output.tail().extend_from_slice(&PREFACE);
        Packet::Hello(Box::new(Hello::new(&config))).put(&mut output);
        Self {
            side,
            state: State::ExpectPreface,
            peer: Limits::MINIMUM,
            peer_default_timeout: None,
            usual_timeout: config.max_timeout().map(countable),
            output,
            events: VecDeque::new(),
            ours: Table::default(),
            outer_calls: 0,
            waiting: WaitingCalls::default(),
            theirs: Table::default(),
            their_streams: 0,
            opening_bytes: 0,
            waiting_reply_bytes: 0,
            send_queue: VecDeque::new(),
            blocked_requests: VecDeque::new(),
            blocked_replies: VecDeque::new(),
            request_send_credit: SendCredit::new(Limits::MINIMUM.request_credit_bytes),
            reply_send_credit: SendCredit::new(Limits::MINIMUM.reply_credit_bytes),
            request_recv_credit: RecvCredit::new(config.limits().request_credit_bytes),
            reply_recv_credit: RecvCredit::new(config.limits().reply_credit_bytes),
            calls_sent: 0,
            calls_accepted: 0,
            draining_here: false,
            draining_there: false,
            health: Health::new(now),
            flood_guard: FloodGuard::new(now),
            has_withheld: false,
            next_deadline: None,
            unread: 0,
            direct_read: None,
            buffer_pool: BufferPool::default(),
            partial_since: None,
            blocked_since: None,
            flush_blocked: false,
            now,
            config,
        }
    }

    /// The next thing that happened, from packets in `input` or from a timeout. `None` when all
    /// whole packets in `input` have been read; what is left there is the start of a packet.
    ///
    /// # Errors
    ///
    /// When the connection is over: by a close packet, or because the other side broke a rule.
    /// Then the close packet that tells it is in the output, and
    /// [`take_calls`](Self::take_calls) has the calls that end with the connection.
    pub fn poll_event(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
    ) -> Result<Option<Event<T>>, ConnectionError> {
        self.now = now;
        // Any byte shows that the other side lives, also one of a large packet on its way.
        let direct_read = self.direct_read.as_mut();
        if input.len() > self.unread
            || direct_read.is_some_and(|direct_read| direct_read.has_grown())
        {
            self.health.record_input(now);
        }
        loop {
            if let Some(event) = self.events.pop_front() {
                self.unread = input.len();
                return Ok(Some(event));
            }
            if self.state == State::Closed {
                return Ok(None);
            }
            let read = self.read(now, input);
            self.unread = input.len();
            match read {
                Ok(Some(event)) => return Ok(Some(event)),
                Ok(None) if self.events.is_empty() => return Ok(None),
                Ok(None) => {}
                Err(error) => {
                    self.end_with(&error);
                    return Err(error);
                }
            }
        }
    }

    /// The next messages of a stream, if they come right now, each whole and in one packet: what
    /// follows a message of a stream is most often another one. Anything else is left to
    /// [`poll_event`](Self::poll_event), which need not be called in between.
    pub fn poll_batch(&mut self, call: CallId, input: &mut BytesMut) -> Option<Batch> {
        if self.state != State::Open || !self.events.is_empty() {
            return None;
        }
        let limits = self.config.limits();
        let (recv_half, held, recv_credit) = match call.side() == self.side {
            true => {
                let (recv_half, held) = self.ours.get_mut(call.index())?.recv_half_for_batch()?;
                (recv_half, held, &mut self.reply_recv_credit)
            }
            false => {
                let (recv_half, held) = self.theirs.get_mut(call.index())?.recv_half_for_batch()?;
                (recv_half, held, &mut self.request_recv_credit)
            }
        };
        let (mut length, mut messages, mut largest) = (0, 0, 0);
        let (mut credit, mut shared_credit) = (recv_half.credit(), recv_credit.available());
        // As one at a time: what breaks a rule is left for `poll_event` to find.
        while let Some(bytes) = packet::fast_message(&input[length..], call, limits) {
            if bytes as u64 > credit
                || shared_credit <= 0
                || bytes > limits.max_message_bytes as usize
            {
                break;
            }
            credit -= bytes as u64;
            shared_credit -= cost(bytes) as i64;
            length += HEADER_BYTES + bytes;
            messages += 1;
            largest = largest.max(bytes);
        }
        if messages == 0 {
            return None;
        }
        let batch = Batch::from_packets(input.split_to(length).freeze(), messages, largest);
        let paid = batch.message_bytes() as u64 + messages as u64 * MESSAGE_COST_BYTES;
        recv_credit.pay(paid);
        *held += paid;
        recv_half.add_received(batch.message_bytes());
        self.grant_call(call);
        self.flood_guard.reset();
        self.unread = input.len();
        self.partial_since = None;
        Some(batch)
    }

    /// Reads packets until one means something to the driver.
    fn read(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
    ) -> Result<Option<Event<T>>, ConnectionError> {
        if self.state == State::ExpectPreface {
            if !packet::decode_preface(input).map_err(ConnectionError::PeerMisbehaved)? {
                return Ok(None);
            }
            self.state = State::ExpectHello;
        }
        loop {
            let packet = match self.direct_read.is_some() {
                true => Ok(self.finish_direct_read(input)),
                false => packet::decode(input, self.config.limits()),
            };
            let Some(packet) = packet.map_err(ConnectionError::PeerMisbehaved)? else {
                if !input.is_empty() || self.direct_read.is_some() {
                    self.partial_since.get_or_insert(now);
                }
                return Ok(None);
            };
            self.partial_since = None;
            if let Some(event) = self.handle_packet(now, packet)? {
                return Ok(Some(event));
            }
            // What a packet brought about is heard before the next one is read, which may be
            // about a call that has only just started.
            if !self.events.is_empty() {
                return Ok(None);
            }
        }
    }

    fn handle_packet(
        &mut self,
        now: Instant,
        packet: Packet,
    ) -> Result<Option<Event<T>>, ConnectionError> {
        if let Packet::Close { code, text } = packet {
            return Err(ConnectionError::ClosedByPeer { code, text });
        }
        let is_hello = matches!(packet, Packet::Hello(_));
        let event = if self.state == State::ExpectHello && !is_hello {
            Err(PeerMisbehaved::HelloMissing(packet.kind()))
        } else {
            self.handle_open_packet(now, packet)
        };
        event.map_err(ConnectionError::PeerMisbehaved)
    }

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
            } => match call.side() == self.side {
                true => self.handle_our_message(now, call, chunk, continues),
                false => self.handle_their_message(call, chunk, continues),
            },
            Packet::End(end) => match end.call.side() == self.side {
                true => self.handle_our_end(now, end),
                false => self.handle_their_end(&end),
            },
            Packet::Cancel(call) => self.handle_cancel(now, call),
            Packet::Credit { of, bytes } => self.handle_credit(now, of, bytes).map(|()| None),
            // Dealt with before any other.
            Packet::Close { .. } => Ok(None),
        }
    }

    fn handle_hello(
        &mut self,
        now: Instant,
        hello: Box<Hello>,
    ) -> Result<Event<T>, PeerMisbehaved> {
        if self.state == State::Open {
            return Err(PeerMisbehaved::HelloTwice);
        }
        self.state = State::Open;
        // No side may announce less than the minimum, which was there before.
        let (least, takes) = (Limits::MINIMUM, &hello.limits);
        let requests = takes.request_credit_bytes - least.request_credit_bytes;
        self.request_send_credit.grant(requests)?;
        let replies = takes.reply_credit_bytes - least.reply_credit_bytes;
        self.reply_send_credit.grant(replies)?;
        self.peer = hello.limits;
        self.peer_default_timeout = hello.default_timeout;
        let usual = earlier(hello.default_timeout, self.config.max_timeout());
        self.usual_timeout = usual.map(countable);
        self.admit_waiting(now);
        self.refuse_deep();
        Ok(Event::Opened(hello))
    }

    fn handle_drain(&mut self, accepted: u64) -> Result<Option<Event<T>>, PeerMisbehaved> {
        if self.draining_there {
            self.flood_guard.count_idle(&self.config)?;
        }
        self.draining_there = true;
        let refused = self.refuse_after(accepted);
        self.events.extend(refused);
        Ok(Some(Event::Draining))
    }

    fn handle_credit(
        &mut self,
        now: Instant,
        of: CreditOf,
        bytes: u32,
    ) -> Result<(), PeerMisbehaved> {
        if bytes < SMALL_CREDIT_BYTES {
            self.flood_guard.count_idle(&self.config)?;
        }
        match of {
            CreditOf::Call(call) => self.handle_call_credit(call, bytes),
            CreditOf::Requests => {
                self.request_send_credit.grant(bytes)?;
                self.send_queue.append(&mut self.blocked_requests);
                self.admit_waiting(now);
                Ok(())
            }
            CreditOf::Replies => {
                self.reply_send_credit.grant(bytes)?;
                self.send_queue.append(&mut self.blocked_replies);
                Ok(())
            }
        }
    }

    /// The next time at which [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state == State::Closed {
            return None;
        }
        let health = self.health.poll_timeout(&self.config, self.is_open());
        let packet = self
            .partial_since
            .map(|at| after(at, self.config.packet_timeout()));
        let write = self.blocked_since;
        let write = write.map(|(at, _)| after(at, self.config.write_timeout()));
        let buffer_pool = self.buffer_pool.poll_timeout();
        // Asked twice for each read. A min over an array of these costs three times as much.
        let earlier = |next: Instant, other: Option<Instant>| match other {
            Some(other) if other < next => other,
            _ => next,
        };
        let others = [self.next_deadline, packet, write, buffer_pool];
        Some(others.into_iter().fold(health, earlier))
    }

    /// How many calls and one-way messages there have been, in both directions.
    pub fn calls(&self) -> u64 {
        self.calls_sent + self.calls_accepted
    }

    /// Does what is due: pings, and ends calls whose time is up. Events follow from
    /// [`poll_event`](Self::poll_event).
    ///
    /// # Errors
    ///
    /// When the other side has been silent, or has not read, for too long, and so the connection
    /// is over.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ConnectionError> {
        self.now = now;
        if self.state == State::Closed {
            return Ok(());
        }
        self.buffer_pool.release(now);
        if self.next_deadline.is_some_and(|deadline| deadline <= now) {
            self.expire_calls(now);
        }
        let result = self.check_peer(now);
        if let Err(error) = &result {
            self.end_with(error);
        }
        result
    }

    /// Whether the other side still does its part.
    fn check_peer(&mut self, now: Instant) -> Result<(), ConnectionError> {
        self.check_progress(now)?;
        let timeout = self.config.packet_timeout();
        if self
            .partial_since
            .is_some_and(|at| after(at, timeout) <= now)
        {
            return Err(ConnectionError::PacketTimedOut(timeout));
        }
        let open = self.is_open();
        if let Some(ping) = self.health.handle_timeout(now, &self.config, open)? {
            Packet::Ping(ping).put(&mut self.output);
        }
        Ok(())
    }

    /// Ends the calls whose deadline has come, and learns the next one.
    fn expire_calls(&mut self, now: Instant) {
        let ours = self.expire_ours(now);
        let theirs = self.expire_theirs(now);
        let waiting = self.expire_waiting(now);
        let next = [ours, theirs, waiting].into_iter().flatten().min();
        self.next_deadline = next.map(|deadline| deadline.max(now + DEADLINE_STEP));
        self.admit_waiting(now);
    }

    fn watch_deadline(&mut self, deadline: Option<Instant>) {
        let earlier = |&deadline: &Instant| self.next_deadline.is_none_or(|next| deadline < next);
        if let Some(deadline) = deadline.filter(earlier) {
            self.next_deadline = Some(deadline);
        }
    }

    /// Moves message bytes that wait for their turn into the output, a chunk of each call after
    /// the other, until the output is worth a write. Call it before writing.
    pub fn fill_output(&mut self) {
        // A close is the last packet.
        if self.is_closed() {
            return;
        }
        if self.output.is_empty() && !self.flush_blocked {
            self.blocked_since = None;
        }
        if !self.is_full() {
            self.grant_shared_credit();
            self.grant_withheld();
        }
        // A pass may have little to say for each call, and a write costs the same for little.
        // One at least leaves, or what goes out past the queue could hold it up for ever.
        let mut is_first = !self.is_full();
        while std::mem::take(&mut is_first) || self.output.len() < FILLED_BYTES {
            let Some(call) = self.send_queue.pop_front() else {
                break;
            };
            match call.side() == self.side {
                true => self.send_ours(call),
                false => self.send_theirs(call),
            }
        }
        // One-way messages that have left in chunks have freed their slots.
        if self.calls_waiting() > 0 {
            self.admit_waiting(self.now);
        }
    }

    /// Grants again what was freed of the credit of all calls.
    fn grant_shared_credit(&mut self) {
        if let Some(bytes) = self.request_recv_credit.grant() {
            let of = CreditOf::Requests;
            Packet::Credit { of, bytes }.put(&mut self.output);
        }
        if let Some(bytes) = self.reply_recv_credit.grant() {
            let of = CreditOf::Replies;
            Packet::Credit { of, bytes }.put(&mut self.output);
        }
    }

    /// Grants a direction of a call what is due, or lets that wait for room in the output: a peer
    /// that does not read must not make us write.
    fn grant_call(&mut self, call: CallId) {
        if self.is_full() {
            self.has_withheld = true;
            return;
        }
        let recv_half = match call.side() == self.side {
            true => self.our_recv_half(call),
            false => self.their_recv_half(call),
        };
        if let Some(bytes) = recv_half.and_then(RecvHalf::grant) {
            let of = CreditOf::Call(call);
            Packet::Credit { of, bytes }.put(&mut self.output);
        }
    }

    /// Grants calls what they were not granted while the output was full.
    fn grant_withheld(&mut self) {
        if !std::mem::take(&mut self.has_withheld) {
            return;
        }
        let ours = self.ours.iter_mut().map(|(index, _)| (self.side, index));
        let mut calls: Vec<_> = ours.collect();
        let other = self.side.other();
        calls.extend(self.theirs.iter_mut().map(|(index, _)| (other, index)));
        for (side, index) in calls {
            self.grant_call(CallId::new(side, index));
        }
    }

    /// Takes a call that is over out of the queue that it stands in.
    fn leave_queue(&mut self, call: CallId) {
        let queues = [
            &mut self.send_queue,
            &mut self.blocked_requests,
            &mut self.blocked_replies,
        ];
        for queue in queues {
            queue.retain(|other| *other != call);
        }
    }

    fn is_full(&self) -> bool {
        self.output.len() >= FULL_OUTPUT_BYTES
    }

    /// Whether [`fill_output`](Self::fill_output) would move something.
    pub fn wants_output(&self) -> bool {
        !self.is_closed() && !self.send_queue.is_empty() && !self.is_full()
    }

    /// Whether [`poll_event`](Self::poll_event) has something without any more input.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The bytes for the transport.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Says that no more calls of the other side will be served. Those that it has started end
    /// as they would; it learns which those are.
    pub fn drain(&mut self) {
        if self.state != State::Closed && !self.draining_here {
            self.draining_here = true;
            let accepted = self.calls_accepted;
            Packet::Drain { accepted }.put(&mut self.output);
        }
    }

    /// Ends the connection, and tells the other side why. What is in the output goes before that.
    pub fn close(&mut self, code: CloseCode, text: &str) {
        if self.state != State::Closed {
            self.state = State::Closed;
            let text = text.to_owned();
            Packet::Close { code, text }.put(&mut self.output);
        }
    }

    fn end_with(&mut self, error: &ConnectionError) {
        match error.close_packet() {
            Some((code, text)) => self.close(code, &text),
            None => self.lose(),
        }
    }

    /// Says that the transport is gone: the connection is over, and nothing more is written.
    pub fn lose(&mut self) {
        self.state = State::Closed;
        self.output.clear();
    }

    /// Whether the other side's hello is here and the connection is not over.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether the connection is over. What is in the output may still be written.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// How many calls of ours are in flight or wait to be sent.
    pub fn calls_started(&self) -> usize {
        self.ours.len() + self.calls_waiting()
    }

    /// Whether calls are in flight in either direction, one-way messages in one packet aside.
    pub fn has_calls(&self) -> bool {
        self.ours.len() + self.theirs.len() > 0
    }

    /// How many calls of the other side are in flight, one-way messages in one packet aside.
    pub fn calls_served(&self) -> usize {
        self.theirs.len()
    }

    /// Message bytes of the other side that are held here: requests, and replies; with what each
    /// message costs that needs credit of all calls.
    pub fn held_bytes(&self) -> (u64, u64) {
        let requests = self.opening_bytes + self.request_recv_credit.held();
        (requests, self.reply_recv_credit.held())
    }

    /// Bytes of replies and statuses, streams aside, that wait for the other side to read them.
    pub fn waiting_reply_bytes(&self) -> u64 {
        self.waiting_reply_bytes
    }

    /// How many calls of ours wait for room under the limits of the other side.
    pub fn calls_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Message bytes that fit beside the largest fixed part of a packet.
    fn chunk_room(&self, metadata_bytes: usize) -> usize {
        // Service, method, timeout and total: 16 bytes. The minimum of `max_packet_bytes` and
        // the limit on metadata leave room.
        (self.peer.max_packet_bytes as usize).saturating_sub(16 + metadata_bytes)
    }

    fn end_packet(call: CallId, code: Code, text: impl Into<String>) -> packet::End {
        packet::End {
            call,
            code,
            refused: false,
            metadata: crate::metadata::Metadata::new(),
            text: text.into(),
            details: bytes::Bytes::new(),
        }
    }
}
