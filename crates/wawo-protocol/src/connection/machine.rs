//! The connection itself: its parts, its beginning and end, and what a driver may ask of it.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::Bytes;

use crate::{
    buffer_pool::BufferPool,
    code::{CloseCode, Code},
    config::Config,
    connection::{
        calls::CallSlots,
        direct_read::DirectRead,
        event::Event,
        flood::FloodGuard,
        health::Health,
        input::InputProgress,
        load::Load,
        progress::WriteProgress,
        role::{Callee, Caller},
        state::{State, Step},
        timeout_cause::TheirTimeouts,
        waiting_calls::WaitingCalls,
    },
    error::ConnectionError,
    hello::{CredentialsTooLong, Hello},
    id::{CallId, Side},
    limits::Limits,
    output::Output,
    packet::{self, PREFACE, Packet},
    relocation::Relocation,
};

/// The protocol state of one connection, seen from one side.
///
/// It does no I/O and has no clock. Its owner, a *driver*:
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
///                                              hello received     drain()           close packet
///  connecting() ──► preface and hello leave ─────────────► Open ──► (draining) ───► Closed
///  accepting() ───► nothing leaves ──► Opened ── accept() ─┘                          ▲
///                       └───────────────┴──── violation, timeout, close() ────────────┘
/// ```
///
/// The connecting side may start calls before the other side's hello has come; those that keep to the
/// limits that every side must accept leave at once. The accepting side gets [`Event::Opened`] first. It
/// then decides: [`accept`](Self::accept) sends its preface and hello, [`close`](Self::close) its preface
/// and the reason. Until then it writes nothing, its calls wait, and the packets behind the hello stay in
/// the input.
#[derive(Debug)]
pub struct Connection<T> {
    pub(super) config: Arc<Config>,
    pub(super) state: State,
    /// The limits of the other side: the least that every side must accept, until its hello has come.
    pub(super) peer: Limits,
    pub(super) their_timeouts: TheirTimeouts,
    pub(super) output: Output,
    pub(super) events: VecDeque<Event<T>>,
    pub(super) calls: CallSlots<Caller<T>, Callee>,
    /// Calls of ours in flight that no handler makes.
    pub(super) outer_calls: usize,
    /// Calls of ours that have no id yet.
    pub(super) waiting: WaitingCalls<T>,
    /// The memory of ours that the calls of theirs take.
    pub(super) load: Load,
    pub(super) health: Health,
    pub(super) flood_guard: FloodGuard,
    /// Whether calls were not granted credit that was due, because the output was full.
    pub(super) has_withheld: bool,
    /// A time before which no call's time is up; `None` if no call has a limit.
    pub(super) next_deadline: Option<Instant>,
    pub(super) input: InputProgress,
    pub(super) write_progress: WriteProgress,
    /// The chunk that is being read directly, without passing through the input.
    pub(super) direct_read: Option<Box<DirectRead>>,
    pub(super) buffer_pool: BufferPool,
    /// The latest time that the driver passed in.
    pub(super) now: Instant,
}

/// The bytes with which the output counts as full; a fast link writes them in about a millisecond. While
/// it is full, messages of streams wait even if they have credit; replies wait and keep their calls in
/// flight, so that a peer that does not read runs out of calls; and no credit is granted.
const FULL_OUTPUT_BYTES: usize = 256 * 1024;

impl<T> Connection<T> {
    /// Begins a connection, as the side that connects. Its output begins with the preface and the hello,
    /// which has the credentials. Connections can share a configuration.
    ///
    /// # Errors
    ///
    /// If the credentials are longer than [`Config::max_credentials_bytes`].
    pub fn connecting(
        config: impl Into<Arc<Config>>,
        credentials: Bytes,
        now: Instant,
    ) -> Result<Self, CredentialsTooLong> {
        let mut connection = Self::new(Side::Connecting, config.into(), now);
        connection.put_hello(credentials)?;
        Ok(connection)
    }

    /// Begins a connection, as the side that accepts. It writes nothing before its
    /// [`accept`](Self::accept). Connections can share a configuration.
    pub fn accepting(config: impl Into<Arc<Config>>, now: Instant) -> Self {
        Self::new(Side::Accepting, config.into(), now)
    }

    fn new(side: Side, config: Arc<Config>, now: Instant) -> Self {
        Self {
            state: State::new(side),
            peer: Limits::MINIMUM,
            their_timeouts: TheirTimeouts::new(None, &config),
            output: Output::default(),
            events: VecDeque::new(),
            calls: CallSlots::new(side, config.limits()),
            outer_calls: 0,
            waiting: WaitingCalls::default(),
            load: Load::default(),
            health: Health::new(now, &config),
            flood_guard: FloodGuard::new(now),
            has_withheld: false,
            next_deadline: None,
            input: InputProgress::default(),
            write_progress: WriteProgress::default(),
            direct_read: None,
            buffer_pool: BufferPool::default(),
            now,
            config,
        }
    }

    /// Answers the hello of the other side with the preface and the hello of this side, which has the
    /// credentials: the connection is open. It does nothing on the connecting side, before
    /// [`Event::Opened`], or if it was called before.
    ///
    /// # Errors
    ///
    /// If the credentials are longer than [`Config::max_credentials_bytes`]. Nothing was written then.
    pub fn accept(&mut self, now: Instant, credentials: Bytes) -> Result<(), CredentialsTooLong> {
        self.now = now;
        if !self.state.is_undecided() {
            return Ok(());
        }
        self.put_hello(credentials)?;
        self.state.take(Step::Accept);
        if self.state.is_draining_here() {
            self.put_drain();
        }
        self.admit_first(now);
        Ok(())
    }

    /// Writes the preface and the hello.
    fn put_hello(&mut self, credentials: Bytes) -> Result<(), CredentialsTooLong> {
        let hello = Hello::new(self.state.side(), &self.config, credentials)?;
        self.output.tail().extend_from_slice(&PREFACE);
        Packet::Hello(Box::new(hello)).put(&mut self.output);
        Ok(())
    }

    /// Calls and one-way messages since the connection began, in both directions.
    pub fn calls(&self) -> u64 {
        self.calls.ours.begun() + self.calls.theirs.begun()
    }

    pub(super) fn is_full(&self) -> bool {
        self.output.len() >= FULL_OUTPUT_BYTES
    }

    /// Whether [`poll_event`](Self::poll_event) would return an event without further input.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The bytes for the transport.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Takes no new calls of the other side, and tells it so. Calls that have come run to their end; the
    /// drain packet says how many those are.
    pub fn drain(&mut self) {
        if self.state.take(Step::DrainHere) && !self.state.is_silent() {
            self.put_drain();
        }
    }

    fn put_drain(&mut self) {
        let accepted = self.calls.theirs.begun();
        Packet::Drain { accepted }.put(&mut self.output);
    }

    /// Asks the other side to connect anew. It does nothing on the connecting side, and while the
    /// connection is not open.
    pub fn move_peer(&mut self, relocation: &Relocation) {
        if self.state.side() == Side::Accepting && self.state.is_open() {
            Packet::Move(relocation.clone()).put(&mut self.output);
        }
    }

    /// Ends the connection, and tells the other side why. The output that waits leaves before the close
    /// packet. On the accepting side, before its answer, the close packet takes the place of the hello.
    pub fn close(&mut self, code: CloseCode, text: &str) {
        let is_silent = self.state.is_silent();
        if self.state.take(Step::Close) {
            if is_silent {
                self.output.tail().extend_from_slice(&PREFACE);
            }
            let text = text.to_owned();
            Packet::Close { code, text }.put(&mut self.output);
        }
    }

    /// Says that the transport takes no output for now; or, if the output is empty, that the transport
    /// has not passed on all that it took. If the other side takes less than 4 KiB in `write_timeout`
    /// from then on, [`handle_timeout`](Self::handle_timeout) ends the connection.
    pub fn output_blocked(&mut self, now: Instant) {
        self.now = now;
        self.write_progress.block(now, &self.output);
    }

    /// Says that the transport has passed on all that it took: its flush has ended.
    pub fn output_flushed(&mut self) {
        self.write_progress.flush(&mut self.output);
    }

    pub(super) fn end_with(&mut self, error: &ConnectionError) {
        match error.close_packet() {
            Some((code, text)) => self.close(code, &text),
            None => self.lose(),
        }
    }

    /// Says that the transport is gone: the connection is over, and nothing more is written.
    pub fn lose(&mut self) {
        self.state.take(Step::Close);
        self.output.clear();
    }

    /// Whether the hellos are exchanged and the connection is not over.
    pub fn is_open(&self) -> bool {
        self.state.is_open()
    }

    /// Whether the other side takes no new calls, as it drains.
    pub fn is_draining_there(&self) -> bool {
        self.state.is_draining_there()
    }

    /// Whether the connection is over. Its output may still be written.
    pub fn is_closed(&self) -> bool {
        self.state.is_closed()
    }

    /// Calls of ours that are in flight or wait to be sent.
    pub fn calls_started(&self) -> usize {
        self.calls.ours.len() + self.calls_waiting()
    }

    /// Whether calls are in flight in either direction, one-way messages in one packet aside.
    pub fn has_calls(&self) -> bool {
        self.calls.ours.len() + self.calls.theirs.len() > 0
    }

    /// Calls of the other side in flight, one-way messages in one packet aside.
    pub fn calls_served(&self) -> usize {
        self.calls.theirs.len()
    }

    /// Message bytes of the other side that this side holds: of requests, and of replies. Messages that
    /// take shared credit count with their whole cost.
    pub fn held_bytes(&self) -> (u64, u64) {
        let calls = &self.calls;
        let requests = self.load.opening_bytes() + calls.theirs.credit.recv.held();
        (requests, calls.ours.credit.recv.held())
    }

    /// Bytes of replies and statuses, streams aside, that wait for the other side to read them.
    pub fn waiting_reply_bytes(&self) -> u64 {
        self.load.reply_bytes()
    }

    /// Calls of ours that wait for room under the limits of the other side.
    pub fn calls_waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn end_packet(call: CallId, code: Code, text: impl Into<String>) -> packet::End {
        packet::End {
            call,
            code,
            refused: false,
            metadata: crate::metadata::Metadata::new(),
            text: text.into(),
            details: Bytes::new(),
        }
    }
}
