//! The rules of docs/protocol.md, implemented a second time and independently of the machine. From
//! the packets and calls so far, the model derives which packets may follow and how the machine
//! must react.
//!
//! ```text
//!   peer ── sends ──►  machine  ── hears ──► its user
//!   peer ◄─ says ───   machine  ◄─ starts, cancels, answers, .. ── its user
//! ```
//!
//! Each arrow is a method of [`Rules`]. A packet of the peer leaves a list of the events that must
//! follow. A packet or an event of the machine that breaks a rule is a panic.
//!
//! A new packet kind, flag or limit changes `sends` and `says`; a new event changes [`Heard`].

mod direction;
mod says;
mod sends;
mod shared_credit;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use wawo_protocol::{CallId, Code, Config, Event, Limits, MESSAGE_COST_BYTES, Side};

use crate::model::{direction::Direction, shared_credit::SharedCredit};

/// The maximum delay with which a machine ends a call at its deadline.
const LATE: Duration = Duration::from_millis(5);

/// The maximum time for which a call may have something to send without credit.
const STALL: Duration = Duration::from_secs(30);

/// The state of a connection, from which the model derives what is allowed.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    now: Instant,
    /// The side of the machine. "Ours" is the machine's, "theirs" the peer's.
    side: Side,
    limits: Limits,
    /// The limits that the machine must keep: the minimum until the peer's hello.
    peer: Limits,
    peer_default_timeout: Option<Duration>,
    has_peer_hello: bool,
    has_machine_hello: bool,
    closed: bool,
    /// The events that the machine's user must get next.
    expected: VecDeque<Heard>,
    ours: BTreeMap<CallId, Ours>,
    our_slots: usize,
    theirs: BTreeMap<CallId, Theirs>,
    their_slots: usize,
    /// The ends that the machine must still send for calls that are over.
    owed: Vec<(CallId, Code)>,
    /// The shared credit that each side has left.
    our_requests: SharedCredit,
    our_replies: SharedCredit,
    their_requests: SharedCredit,
    their_replies: SharedCredit,
    /// The costs of one-way calls that the user has not served.
    notes_held: u64,
    /// The maximum number of the peer's streams.
    max_streams: usize,
    /// The maximum sum of the first messages of the peer's calls.
    max_opening_bytes: u64,
    our_calls: u64,
    their_calls: u64,
    draining_here: bool,
    draining_there: bool,
    /// The machine's ping that waits for its pong.
    asked: Option<u64>,
    /// The peer's pings that are not answered.
    unanswered: VecDeque<u64>,
    /// The time of the peer's last ping, and the number of consecutive early pings.
    pinged: Option<Instant>,
    early_pings: u32,
}

/// A call that the machine started.
#[derive(Debug, Clone)]
struct Ours {
    began: Instant,
    deadline: Option<Instant>,
    /// Whether the user waits for its end.
    wanted: bool,
    /// The index of the call among the machine's calls, once its packet was sent.
    ordinal: Option<u64>,
    one_way: bool,
    cancelled: bool,
    requests: Direction,
    replied: bool,
    /// Whether the user has got the event for the reply.
    told: bool,
    replies: Direction,
    /// Bytes of its first reply that were not consumed.
    first_unread: u64,
    /// The cost of its further replies that the machine still holds.
    held: u64,
}

/// A call that the peer started.
#[derive(Debug, Clone)]
struct Theirs {
    began: Instant,
    deadline: Option<Instant>,
    one_way: bool,
    /// Whether the user has got the event for the call.
    told: bool,
    /// Whether the user has ended its direction.
    answered: bool,
    is_stream: bool,
    requests: Direction,
    /// The bytes of the call's first message and metadata.
    opening: u64,
    /// Bytes of its first request that were not consumed.
    first_unread: u64,
    /// The cost of its further requests that the machine still holds.
    held: u64,
    replied: bool,
    replies: Direction,
}

/// An event that a packet of the peer causes. Messages are identified by their length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Opened,
    InboundCall {
        call: Option<CallId>,
        message: Option<usize>,
        end: bool,
    },
    Message(CallId, usize),
    Finished(CallId),
    Cancelled(CallId),
    Stopped(CallId, Code),
    Replied(CallId, Option<usize>),
    CallOutcome {
        call: CallId,
        message: Option<usize>,
        code: Code,
        answered: bool,
    },
    Draining,
    Move,
}

impl Heard {
    /// `None` for events that the machine and its user cause.
    fn from_event(event: &Event<u32>) -> Option<Self> {
        Some(match event {
            Event::Opened(_) => Self::Opened,
            Event::Called(called) => Self::InboundCall {
                call: called.call,
                message: called.message.as_ref().map(bytes::Bytes::len),
                end: called.end,
            },
            Event::Message { call, message } => Self::Message(*call, message.len()),
            Event::Finished(call) => Self::Finished(*call),
            Event::Cancelled(call) => Self::Cancelled(*call),
            Event::Stopped(call, code) => Self::Stopped(*call, *code),
            Event::Replied { call, message, .. } => {
                Self::Replied(*call, message.as_ref().map(bytes::Bytes::len))
            }
            Event::Ended(ended) => Self::CallOutcome {
                call: ended.call?,
                message: ended.message.as_ref().map(bytes::Bytes::len),
                code: ended.code,
                answered: ended.ended_by_peer,
            },
            Event::Draining => Self::Draining,
            Event::Move(_) => Self::Move,
            _ => return None,
        })
    }
}

impl Rules {
    pub(crate) fn new(side: Side, config: &Config, now: Instant) -> Self {
        let (limits, least) = (*config.limits(), Limits::MINIMUM);
        Self {
            now,
            side,
            limits,
            peer: Limits::MINIMUM,
            peer_default_timeout: None,
            has_peer_hello: false,
            has_machine_hello: false,
            closed: false,
            expected: VecDeque::new(),
            ours: BTreeMap::new(),
            our_slots: 0,
            theirs: BTreeMap::new(),
            their_slots: 0,
            owed: Vec::new(),
            our_requests: SharedCredit::new(least.request_credit_bytes),
            our_replies: SharedCredit::new(least.reply_credit_bytes),
            their_requests: SharedCredit::new(limits.request_credit_bytes),
            their_replies: SharedCredit::new(limits.reply_credit_bytes),
            notes_held: 0,
            max_streams: config.max_streams(),
            max_opening_bytes: config.max_opening_bytes() as u64,
            our_calls: 0,
            their_calls: 0,
            draining_here: false,
            draining_there: false,
            asked: None,
            unanswered: VecDeque::new(),
            pinged: None,
            early_pings: 0,
        }
    }

    pub(crate) fn passes(&mut self, now: Instant) {
        self.now = now;
    }

    /// The machine has ended the connection, or has noticed its end.
    pub(crate) fn ends(&mut self) {
        self.closed = true;
    }

    /// The user drains the machine.
    pub(crate) fn drains(&mut self) {
        self.draining_here = true;
    }

    /// The user has started a call, and the machine gave it an id.
    pub(crate) fn starts(&mut self, call: CallId, deadline: Option<Instant>) {
        let before = self.ours.insert(call, self.new_ours(deadline, false));
        assert!(before.is_none(), "call {call} is in flight already");
    }

    /// The user cancels a call.
    pub(crate) fn cancels(&mut self, call: CallId) {
        let ours = self.ours.get_mut(&call).expect("a call in flight");
        assert!(std::mem::take(&mut ours.wanted), "given up twice");
        ours.held = 0;
    }

    /// The user has ended its direction of a call of theirs.
    pub(crate) fn answers(&mut self, call: CallId) {
        if let Some(theirs) = self.theirs.get_mut(&call) {
            theirs.answered = true;
        }
    }

    /// The user has begun the reply to a call of theirs, as a stream.
    pub(crate) fn opens(&mut self, call: CallId) {
        if let Some(theirs) = self.theirs.get_mut(&call) {
            theirs.is_stream = true;
        }
    }

    /// The user has served a one-way call.
    pub(crate) fn serves(&mut self, cost: u64) {
        self.notes_held -= cost;
    }

    pub(crate) fn consumes(&mut self, call: CallId, messages: usize, bytes: usize) {
        let (direction, first, held) = if let Some(ours) = self.ours.get_mut(&call) {
            (&mut ours.replies, &mut ours.first_unread, &mut ours.held)
        } else if let Some(theirs) = self.theirs.get_mut(&call).filter(|call| !call.one_way) {
            (
                &mut theirs.requests,
                &mut theirs.first_unread,
                &mut theirs.held,
            )
        } else {
            return;
        };
        direction.consume(bytes);
        let cost = MESSAGE_COST_BYTES * messages as u64 + bytes as u64;
        let of_first = cost.min(*first);
        *first -= of_first;
        *held = held.saturating_sub(cost - of_first);
    }

    /// Checks an event against the packets of the peer, and against the clock.
    pub(crate) fn hears(&mut self, event: &Event<u32>) {
        let heard = Heard::from_event(event);
        if heard.is_some() && heard.as_ref() == self.expected.front() {
            self.expected.pop_front();
            return;
        }
        match event {
            Event::Stopped(call, _) => {
                let theirs = self.theirs.get_mut(call).expect("a call in flight");
                assert!(is_due(theirs.deadline, theirs.began, self.now), "early");
                theirs.answered = true;
            }
            Event::Ended(ended) if !ended.ended_by_peer => {
                if let Some(call) = ended.call {
                    let ours = &self.ours[&call];
                    assert!(is_due(ours.deadline, ours.began, self.now), "{event:?}");
                    self.cancels(call);
                }
            }
            _ => assert_eq!(heard, None, "{:?} was to come", self.expected),
        }
    }

    /// Checks that nothing is missing: all expected events came, and all required packets were
    /// sent. The machine was given all packets, and all its output was seen.
    pub(crate) fn nothing_is_owed(&self) {
        assert_eq!(self.expected, [], "not heard");
        assert_eq!(self.owed, [], "not ended");
        assert_eq!(self.unanswered, [], "no pong");
        for (call, ours) in &self.ours {
            let told = ours.ordinal.is_some() && (ours.wanted || ours.cancelled || ours.one_way);
            assert!(told, "the peer was not told of {call}: {ours:?}");
        }
    }

    /// Checks that no call has outlived its deadline. The machine must have been told the time.
    pub(crate) fn nothing_is_late(&self) {
        let ours = self.ours.values().filter(|ours| ours.wanted);
        let theirs = self.theirs.values().filter(|theirs| !theirs.one_way);
        let deadlines = ours.map(|ours| ours.deadline);
        let mut deadlines = deadlines.chain(theirs.map(|theirs| theirs.deadline));
        assert!(
            !deadlines.any(|at| at.is_some_and(|at| at + LATE < self.now)),
            "late: {self:?}"
        );
    }

    /// The bytes of requests and of replies that the machine holds.
    pub(crate) fn held(&self) -> (u64, u64) {
        let held = |theirs: &Theirs| theirs.opening + theirs.held;
        let theirs: u64 = self.theirs.values().map(held).sum();
        let ours = self.ours.values().map(|ours| ours.held).sum();
        (theirs + self.notes_held, ours)
    }

    /// The part of these bytes that took shared credit.
    fn held_of_all_calls(&self) -> (u64, u64) {
        let (requests, replies) = self.held();
        let openings: u64 = self.theirs.values().map(|theirs| theirs.opening).sum();
        (requests - openings, replies)
    }

    fn new_ours(&self, deadline: Option<Instant>, one_way: bool) -> Ours {
        let credit = match one_way {
            true => u32::MAX,
            false => self.peer.initial_credit_bytes,
        };
        Ours {
            began: self.now,
            deadline,
            wanted: !one_way,
            ordinal: None,
            one_way,
            cancelled: false,
            requests: Direction::new(credit),
            replied: false,
            told: false,
            replies: Direction::new(self.limits.initial_credit_bytes),
            first_unread: 0,
            held: 0,
        }
    }

    /// The maximum credit that a direction to the machine may have beyond the consumed bytes.
    fn most_granted(&self) -> u64 {
        let limits = &self.limits;
        u64::from(limits.initial_credit_bytes) + u64::from(limits.max_message_bytes)
    }

    /// The calls of a side that are in flight.
    pub(crate) fn in_flight(&self, side: Side) -> Vec<CallId> {
        match side == self.side {
            true => self.ours.keys().copied().collect(),
            false => self.theirs.keys().copied().collect(),
        }
    }

    /// The lowest id that the peer may use for a call.
    pub(crate) fn free_slot(&self) -> CallId {
        let ids = (0..).map(|slot| CallId::new(self.side.other(), slot));
        let mut free = ids.filter(|id| !self.theirs.contains_key(id));
        free.next().expect("there are fewer calls than ids")
    }

    /// The number of bytes missing of the message that a call is receiving.
    pub(crate) fn missing(&self, call: CallId) -> Option<usize> {
        match call.side() == self.side {
            true => self.ours.get(&call)?.replies.missing(),
            false => self.theirs.get(&call)?.requests.missing(),
        }
    }

    /// The calls of both sides that are in flight, as the machine's user should know them.
    pub(crate) fn calls_of_user(&self) -> Vec<CallId> {
        let ours = self.ours.iter().filter(|(_, ours)| ours.wanted);
        let theirs = self.theirs.iter();
        let theirs = theirs.filter(|(_, theirs)| theirs.told && !theirs.answered);
        let mut calls: Vec<_> = ours.map(|(id, _)| *id).collect();
        calls.extend(theirs.map(|(id, _)| *id));
        calls.sort_unstable();
        calls
    }
}

/// Whether the machine may end a call by itself: its deadline has passed, or it may have stalled.
fn is_due(deadline: Option<Instant>, began: Instant, now: Instant) -> bool {
    deadline.is_some_and(|at| at <= now) || began + STALL <= now
}
