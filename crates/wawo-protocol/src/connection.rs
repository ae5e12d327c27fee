//! The state of one connection: packets and time in, bytes and events out.

mod event;
mod incoming;
mod keep_alive;
mod outgoing;

use std::{collections::VecDeque, time::Instant};

use bytes::BytesMut;

pub use crate::connection::{
    event::{Called, Ended, Event, NewCall, NotStarted},
    outgoing::StartedCall,
};
use crate::{
    call::Table,
    code::{CloseCode, Code},
    config::{Config, ConfigError, Limits},
    connection::{
        incoming::TheirCall,
        keep_alive::KeepAlive,
        outgoing::{OurCall, Waiting},
    },
    error::{ConnectionError, PeerMisbehaved},
    hello::Hello,
    id::{CallId, Side},
    output::Output,
    packet::{self, PREFACE, Packet},
};

/// What each one-way call costs of the credit for one-way calls, besides the bytes of its
/// message (docs/protocol.md, "One-way calls").
pub const ONE_WAY_COST_BYTES: u32 = 64;

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
///  new() ──► Greeting ─────────────────► Open ────────────────► (draining) ──────► Closed
///                │ calls may be sent, within the limits that every side must accept  ▲
///                └────────────── violation, timeout, close() ────────────────────────┘
/// ```
#[derive(Debug)]
pub struct Connection<T> {
    side: Side,
    config: Config,
    phase: Phase,
    /// What the other side takes: the minimum until its hello is here.
    peer: Limits,
    peer_default_timeout: Option<std::time::Duration>,
    output: Output,
    events: VecDeque<Event<T>>,
    ours: Table<OurCall<T>>,
    /// Calls that wait for a slot, or for the hello to tell the limits.
    waiting: VecDeque<Waiting<T>>,
    /// One-way calls that wait for credit; apart, so that they hold up no call.
    waiting_one_way: VecDeque<Waiting<T>>,
    theirs: Table<TheirCall>,
    /// Calls with message bytes, or an end, that did not go out at once. Each stands here once.
    sending: VecDeque<CallId>,
    /// What we may still send in one-way calls; at or below zero none may begin.
    one_way_credit: i64,
    /// What they may still send in one-way calls.
    one_way_granted: i64,
    /// What we have taken of theirs and not yet granted again.
    one_way_taken: u32,
    /// How many calls we have sent, over the life of the connection.
    calls_sent: u64,
    /// How many calls of theirs we have accepted, over the life of the connection.
    calls_accepted: u64,
    draining_here: bool,
    draining_there: bool,
    keep_alive: KeepAlive,
    /// Our close packet is in the output; whatever stands before it leaves too.
    says_goodbye: bool,
    /// No deadline of a call is before this time.
    next_deadline: Option<Instant>,
}

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Their preface is not here yet.
    ExpectPreface,
    /// Their preface is here, their hello is not.
    ExpectHello,
    /// Both hellos are through.
    Open,
    /// Nothing more is sent or expected.
    Closed,
}

/// Deadlines of calls are looked at in steps of at least this, so that many calls with many
/// deadlines cost one look at the table a step. A call ends up to this much late.
const DEADLINE_STEP: std::time::Duration = std::time::Duration::from_millis(5);

/// Above this many waiting bytes, [`Connection::fill_output`] adds no chunks of messages.
const FULL_OUTPUT_BYTES: usize = 256 * 1024;

impl<T> Connection<T> {
    /// Begins a connection: preface and hello are the first of its output.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range.
    pub fn new(side: Side, config: Config, now: Instant) -> Result<Self, ConfigError> {
        config.check()?;
        let mut output = Output::default();
        output.tail().extend_from_slice(&PREFACE);
        Packet::Hello(Hello::new(&config)).put(&mut output);
        Ok(Self {
            side,
            phase: Phase::ExpectPreface,
            peer: Limits::MINIMUM,
            peer_default_timeout: None,
            output,
            events: VecDeque::new(),
            ours: Table::default(),
            waiting: VecDeque::new(),
            waiting_one_way: VecDeque::new(),
            theirs: Table::default(),
            sending: VecDeque::new(),
            one_way_credit: Limits::MINIMUM.one_way_credit_bytes.into(),
            one_way_granted: config.limits.one_way_credit_bytes.into(),
            one_way_taken: 0,
            calls_sent: 0,
            calls_accepted: 0,
            draining_here: false,
            draining_there: false,
            keep_alive: KeepAlive::new(now),
            says_goodbye: false,
            next_deadline: None,
            config,
        })
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
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.phase == Phase::Closed {
                return Ok(None);
            }
            match self.read(now, input) {
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

    /// Reads packets until one means something to the driver.
    fn read(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
    ) -> Result<Option<Event<T>>, ConnectionError> {
        if self.phase == Phase::ExpectPreface {
            if !packet::decode_preface(input).map_err(ConnectionError::PeerMisbehaved)? {
                return Ok(None);
            }
            self.phase = Phase::ExpectHello;
        }
        loop {
            let packet = packet::decode(input, &self.config.limits);
            let Some(packet) = packet.map_err(ConnectionError::PeerMisbehaved)? else {
                return Ok(None);
            };
            self.keep_alive.handle_packet(now);
            if let Some(event) = self.handle_packet(now, packet)? {
                return Ok(Some(event));
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
        let event = if self.phase == Phase::ExpectHello && !is_hello {
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
                Packet::Pong(data).put(&mut self.output);
                Ok(None)
            }
            Packet::Pong(data) => self.keep_alive.handle_pong(data).map(|()| None),
            Packet::Drain { accepted } => Ok(Some(self.handle_drain(accepted))),
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
            Packet::Cancel(call) => self.handle_cancel(call),
            Packet::Credit { call, bytes } => match call {
                Some(call) => self.handle_credit(call, bytes).map(|()| None),
                None => self.handle_one_way_credit(now, bytes).map(|()| None),
            },
            // Dealt with before any other.
            Packet::Close { .. } => Ok(None),
        }
    }

    fn handle_hello(&mut self, now: Instant, hello: Hello) -> Result<Event<T>, PeerMisbehaved> {
        if self.phase == Phase::Open {
            return Err(PeerMisbehaved::HelloTwice);
        }
        self.phase = Phase::Open;
        let more = hello.limits.one_way_credit_bytes - self.peer.one_way_credit_bytes;
        self.one_way_credit += i64::from(more);
        self.peer = hello.limits;
        self.peer_default_timeout = hello.default_timeout;
        self.admit_waiting(now);
        Ok(Event::Greeted(hello))
    }

    fn handle_drain(&mut self, accepted: u64) -> Event<T> {
        self.draining_there = true;
        let refused = self.refuse_after(accepted);
        self.events.extend(refused);
        Event::Draining
    }

    /// The next time at which [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.phase == Phase::Closed {
            return None;
        }
        let keep_alive = self.keep_alive.poll_timeout(&self.config, self.is_open());
        [Some(keep_alive), self.next_deadline]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due: pings, and ends calls whose time is up. Events follow from
    /// [`poll_event`](Self::poll_event).
    ///
    /// # Errors
    ///
    /// When the other side has been silent for too long, and so the connection is over. Calls whose
    /// time was up before that still end with events.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ConnectionError> {
        if self.phase == Phase::Closed {
            return Ok(());
        }
        if self.next_deadline.is_some_and(|deadline| deadline <= now) {
            self.expire_calls(now);
        }
        let open = self.is_open();
        match self.keep_alive.handle_timeout(now, &self.config, open) {
            Ok(None) => Ok(()),
            Ok(Some(ping)) => {
                Packet::Ping(ping).put(&mut self.output);
                Ok(())
            }
            Err(error) => {
                self.end_with(&error);
                Err(error)
            }
        }
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
    /// the other, until the output is full. Call it before writing.
    pub fn fill_output(&mut self) {
        self.grant_one_way();
        for _ in 0..self.sending.len() {
            if self.output.len() >= FULL_OUTPUT_BYTES {
                return;
            }
            let Some(call) = self.sending.pop_front() else {
                return;
            };
            let goes_on = match call.side() == self.side {
                true => self.send_ours(call),
                false => self.send_theirs(call),
            };
            if goes_on {
                self.sending.push_back(call);
            }
        }
    }

    /// Whether [`fill_output`](Self::fill_output) would move something.
    pub fn wants_output(&self) -> bool {
        !self.sending.is_empty() && self.output.len() < FULL_OUTPUT_BYTES
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
        if self.phase != Phase::Closed && !self.draining_here {
            self.draining_here = true;
            let accepted = self.calls_accepted;
            Packet::Drain { accepted }.put(&mut self.output);
        }
    }

    /// Ends the connection, and tells the other side why.
    pub fn close(&mut self, code: CloseCode, text: &str) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            self.says_goodbye = true;
            let text = text.to_owned();
            Packet::Close { code, text }.put(&mut self.output);
        }
    }

    fn end_with(&mut self, error: &ConnectionError) {
        match error.close_packet() {
            Some((code, text)) => self.close(code, &text),
            None => self.phase = Phase::Closed,
        }
    }

    /// Whether the other side's hello is here and the connection is not over.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the connection is over. If this side has ended it, what is in the output is still to
    /// be written; else it is not, for [`take_calls`](Self::take_calls) says what was not sent.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// How many calls of ours are in flight or wait to be sent.
    pub fn calls_started(&self) -> usize {
        self.ours.len() + self.calls_waiting()
    }

    /// How many calls of ours wait for room under the limits of the other side.
    pub fn calls_waiting(&self) -> usize {
        self.waiting.len() + self.waiting_one_way.len()
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
            metadata: crate::metadata::Metadata::new(),
            text: text.into(),
            details: bytes::Bytes::new(),
        }
    }
}
