//! The rules of docs/protocol.md, written a second time and apart from the machine: given what has
//! passed between a machine and its peer, what may come next, and what the machine must make of it.
//!
//! ```text
//!   peer ── sends ──►  machine  ── hears ──► its user
//!   peer ◄─ says ───   machine  ◄─ starts, cancels, answers, .. ── its user
//! ```
//!
//! Each arrow is a method of [`Rules`]. A packet of the peer leaves behind which events must
//! follow; a packet or an event of the machine that breaks a rule is a panic.
//!
//! A new packet kind, flag or limit is a change in `sends` and in `says`; a new event is one in
//! [`Heard`].

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

/// How late a machine may be to end a call whose time is up.
const LATE: Duration = Duration::from_millis(5);

/// How long a call may have had something to send, and no credit for it.
const STALL: Duration = Duration::from_secs(30);

/// What has passed on a connection, and so what may.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    now: Instant,
    /// The side of the machine. "Ours" is the machine's, "theirs" the peer's.
    side: Side,
    limits: Limits,
    /// What the machine must keep: the minimum until the peer's hello.
    peer: Limits,
    peer_default_timeout: Option<Duration>,
    has_peer_hello: bool,
    has_machine_hello: bool,
    closed: bool,
    /// What the machine's user must hear next.
    expected: VecDeque<Heard>,
    ours: BTreeMap<CallId, Ours>,
    our_slots: usize,
    theirs: BTreeMap<CallId, Theirs>,
    their_slots: usize,
    /// Ends that the machine owes for calls that are over.
    owed: Vec<(CallId, Code)>,
    /// What each side may still send in all calls.
    our_requests: SharedCredit,
    our_replies: SharedCredit,
    their_requests: SharedCredit,
    their_replies: SharedCredit,
    /// What one-way calls cost that the user has not served.
    notes_held: u64,
    /// How many streams the peer may have.
    max_streams: usize,
    /// What their calls may begin with, all together.
    max_opening_bytes: u64,
    our_calls: u64,
    their_calls: u64,
    draining_here: bool,
    draining_there: bool,
    /// The ping of the machine that is out.
    asked: Option<u64>,
    /// Pings of the peer that are not answered.
    unanswered: VecDeque<u64>,
    /// When the peer last pinged, and how often in a row too soon.
    pinged: Option<Instant>,
    early_pings: u32,
}

/// A call that the machine started.
#[derive(Debug, Clone)]
struct Ours {
    began: Instant,
    deadline: Option<Instant>,
    /// The user waits for its end.
    wanted: bool,
    /// Which of the machine's calls it is, once its packet has gone out.
    ordinal: Option<u64>,
    one_way: bool,
    cancelled: bool,
    requests: Direction,
    replied: bool,
    /// The user has heard of the reply.
    told: bool,
    replies: Direction,
    /// What of its first reply was not consumed.
    first_unread: u64,
    /// What its further replies cost and the machine still holds.
    held: u64,
}

/// A call that the peer started.
#[derive(Debug, Clone)]
struct Theirs {
    began: Instant,
    deadline: Option<Instant>,
    one_way: bool,
    /// The user has heard of it.
    told: bool,
    /// The user has said its last word.
    answered: bool,
    is_stream: bool,
    requests: Direction,
    /// What the call began with.
    opening: u64,
    /// What of its first request was not consumed.
    first_unread: u64,
    /// What its further requests cost and the machine still holds.
    held: u64,
    replied: bool,
    replies: Direction,
}

/// An event that a packet of the peer calls for. Messages are told by their length.
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
    Replied(CallId, Option<usize>),
    CallOutcome {
        call: CallId,
        message: Option<usize>,
        code: Code,
        answered: bool,
    },
    Draining,
}

impl Heard {
    /// `None` for events that the machine and its user bring about.
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
            _ => return None,
        })
    }
}

impl Rules {
    pub(crate) fn new(side: Side, config: &Config, now: Instant) -> Self {
        let (limits, least) = (config.limits, Limits::MINIMUM);
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
            max_streams: config.max_streams,
            max_opening_bytes: config.max_opening_bytes as u64,
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

    /// The machine has ended the connection, or has heard that it is over.
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

    /// The user gives up a call.
    pub(crate) fn cancels(&mut self, call: CallId) {
        let ours = self.ours.get_mut(&call).expect("a call in flight");
        assert!(std::mem::take(&mut ours.wanted), "given up twice");
        ours.held = 0;
    }

    /// The user has said its last word in a call of theirs.
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

    /// Checks an event against what the packets of the peer call for, and against the clock.
    pub(crate) fn hears(&mut self, event: &Event<u32>) {
        let heard = Heard::from_event(event);
        if heard.is_some() && heard.as_ref() == self.expected.front() {
            self.expected.pop_front();
            return;
        }
        match event {
            Event::Expired(call) => {
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

    /// Checks that the machine owes nothing: it was given all packets, and all it said was seen.
    pub(crate) fn nothing_is_owed(&self) {
        assert_eq!(self.expected, [], "not heard");
        assert_eq!(self.owed, [], "not ended");
        assert_eq!(self.unanswered, [], "no pong");
        for (call, ours) in &self.ours {
            let told = ours.ordinal.is_some() && (ours.wanted || ours.cancelled || ours.one_way);
            assert!(told, "the peer was not told of {call}: {ours:?}");
        }
    }

    /// Checks that no call has outlived its deadline: the machine knows what time it is.
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

    /// What the machine holds of requests and of replies.
    pub(crate) fn held(&self) -> (u64, u64) {
        let held = |theirs: &Theirs| theirs.opening + theirs.held;
        let theirs: u64 = self.theirs.values().map(held).sum();
        let ours = self.ours.values().map(|ours| ours.held).sum();
        (theirs + self.notes_held, ours)
    }

    /// Of that, what needed credit of all calls.
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

    /// The most that a direction to the machine may have been granted beyond what was consumed.
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

    /// How much is missing of the message that comes in a call.
    pub(crate) fn missing(&self, call: CallId) -> Option<usize> {
        match call.side() == self.side {
            true => self.ours.get(&call)?.replies.missing(),
            false => self.theirs.get(&call)?.requests.missing(),
        }
    }

    /// What both sides have in flight, as the machine's user should know it.
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

/// Whether the machine may end a call by itself: its time is up, or it may have stalled.
fn is_due(deadline: Option<Instant>, began: Instant, now: Instant) -> bool {
    deadline.is_some_and(|at| at <= now) || began + STALL <= now
}
