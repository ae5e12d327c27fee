//! The machine's user: acts in its calls, and checks that each event fits them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use wawo_protocol::{
    CallId, CallOutcome, Connection, Event, InboundCall, Metadata, NewCall, Side, StartedCall,
};

use crate::{
    fuzz::packets::act::{Act, Length, Which, end},
    model::Rules,
    pair::{in_pieces, ok, send, unary},
};

type Machine = Connection<u32>;

/// The selected call: mostly one of these, if there are any.
fn pick<C>(calls: &BTreeMap<CallId, C>, which: Which, side: Side) -> CallId {
    let index = usize::from(which.0);
    let known = index.checked_rem(calls.len()).filter(|_| index < 240);
    let known = known.and_then(|at| calls.keys().nth(at).copied());
    known.unwrap_or_else(|| CallId::new(side, u32::from(which.0 % 4)))
}

#[derive(Debug)]
pub(crate) struct User {
    side: Side,
    last_token: u32,
    /// Calls that have not been returned.
    pending: BTreeSet<u32>,
    waiting: VecDeque<WaitingCall>,
    ours: BTreeMap<CallId, Ours>,
    theirs: BTreeMap<CallId, Theirs>,
    /// The costs of one-way calls that are not served yet.
    one_way_costs: Vec<u64>,
    /// Whether the connection is over.
    over: bool,
}

#[derive(Debug)]
struct WaitingCall {
    token: u32,
    deadline: Option<Instant>,
    open: bool,
}

/// A call in flight that we started.
#[derive(Debug)]
struct Ours {
    token: u32,
    /// Whether we may send messages.
    open: bool,
    replied: bool,
}

/// A call that the peer started and that we have not ended.
#[derive(Debug)]
struct Theirs {
    /// Whether we have begun the reply.
    open: bool,
    /// Whether there are no more requests.
    finished: bool,
}

impl User {
    pub(crate) fn new(side: Side) -> Self {
        Self {
            side,
            last_token: 0,
            pending: BTreeSet::new(),
            waiting: VecDeque::new(),
            ours: BTreeMap::new(),
            theirs: BTreeMap::new(),
            one_way_costs: Vec::new(),
            over: false,
        }
    }

    pub(crate) fn calls(&self) -> Vec<CallId> {
        let mut calls: Vec<_> = self
            .ours
            .keys()
            .chain(self.theirs.keys())
            .copied()
            .collect();
        calls.sort_unstable();
        calls
    }

    pub(crate) fn act(
        &mut self,
        now: Instant,
        machine: &mut Machine,
        rules: Option<&mut Rules>,
        act: &Act,
    ) {
        let ours = |which| pick(&self.ours, which, self.side);
        let theirs = |which| pick(&self.theirs, which, self.side.other());
        match *act {
            Act::Start {
                message,
                end,
                timeout_ms,
            } => {
                let deadline = timeout_ms.map(|millis| now + Duration::from_millis(millis.into()));
                let call = NewCall {
                    deadline,
                    message: message.map(Length::bytes).map(in_pieces),
                    end: end && message.is_some(),
                    ..unary("")
                };
                self.start(now, machine, rules, call);
            }
            Act::Note(length) => {
                let call = NewCall {
                    one_way: true,
                    ..unary(length.bytes())
                };
                // If it is refused, it is dropped.
                let _ = machine.send_one_way(now, call);
            }
            Act::CancelWaiting(which) => self.cancel_waiting(machine, which),
            Act::Cancel(which) => self.cancel(machine, rules, ours(which)),
            Act::Finish(which) => self.finish(machine, ours(which)),
            Act::Reply(which, length) => self.reply(machine, rules, theirs(which), length),
            Act::OpenReply(which) => self.open_reply(machine, rules, theirs(which)),
            Act::Send(true, which, length, last) => {
                self.send_ours(machine, ours(which), length, last);
            }
            Act::Send(false, which, length, last) => {
                self.send_theirs(machine, rules, theirs(which), length, last);
            }
            Act::End(which, code, text) => {
                let call = theirs(which);
                if self.theirs.remove(&call).is_some() {
                    rules.into_iter().for_each(|rules| rules.answers(call));
                    machine.end(end(call, code, text));
                }
            }
            Act::Consume(of_ours, which, message, Length(bytes)) => {
                let call = if of_ours { ours(which) } else { theirs(which) };
                let messages = usize::from(message);
                rules
                    .into_iter()
                    .for_each(|rules| rules.consumes(call, messages, bytes));
                machine.consume(call, messages, bytes);
            }
            Act::Served => {
                let cost = self.one_way_costs.drain(..).sum();
                rules.into_iter().for_each(|rules| rules.serves(cost));
                machine.one_way_served(cost);
            }
        }
    }

    /// Starts more calls than the peer has slots, unless many already wait.
    pub(crate) fn rush(
        &mut self,
        now: Instant,
        machine: &mut Machine,
        mut rules: Option<&mut Rules>,
    ) {
        const CALLS: usize = 70;
        if self.waiting.len() < CALLS {
            for _ in 0..CALLS {
                self.start(now, machine, rules.as_deref_mut(), unary(""));
            }
        }
    }

    fn start(
        &mut self,
        now: Instant,
        machine: &mut Machine,
        rules: Option<&mut Rules>,
        call: NewCall,
    ) {
        self.last_token += 1;
        let token = self.last_token;
        let (deadline, open) = (call.deadline, !call.end);
        match machine.start_call(now, call, token) {
            Ok(StartedCall::Sent(id)) => {
                self.pending.insert(token);
                self.started(
                    rules,
                    id,
                    WaitingCall {
                        token,
                        deadline,
                        open,
                    },
                );
            }
            Ok(StartedCall::Waiting) => {
                self.pending.insert(token);
                self.waiting.push_back(WaitingCall {
                    token,
                    deadline,
                    open,
                });
            }
            Err((returned, _)) => assert_eq!(returned, token),
        }
    }

    fn started(&mut self, rules: Option<&mut Rules>, id: CallId, call: WaitingCall) {
        let WaitingCall {
            token,
            deadline,
            open,
        } = call;
        let replied = false;
        let before = self.ours.insert(
            id,
            Ours {
                token,
                open,
                replied,
            },
        );
        assert!(before.is_none(), "call {id} is in flight already");
        rules
            .into_iter()
            .for_each(|rules| rules.starts(id, deadline));
    }

    fn cancel_waiting(&mut self, machine: &mut Machine, which: u8) {
        let token = self.waiting.get(usize::from(which)).map(|call| call.token);
        if let Some(token) = token {
            machine.cancel_waiting(|waiting| *waiting == token);
            self.back(token);
        }
    }

    /// If no call has this id, nothing must happen.
    fn cancel(&mut self, machine: &mut Machine, rules: Option<&mut Rules>, call: CallId) {
        let token = machine.cancel(call);
        let ours = self.ours.remove(&call);
        assert_eq!(token, ours.map(|ours| ours.token));
        if let Some(token) = token {
            self.back(token);
            rules.into_iter().for_each(|rules| rules.cancels(call));
        }
    }

    fn finish(&mut self, machine: &mut Machine, call: CallId) {
        let ours = self.ours.get_mut(&call);
        if ours.is_none_or(|ours| std::mem::take(&mut ours.open)) {
            machine.finish(call);
        }
    }

    fn reply(
        &mut self,
        machine: &mut Machine,
        rules: Option<&mut Rules>,
        call: CallId,
        length: Length,
    ) {
        if self.theirs.get(&call).is_some_and(|theirs| !theirs.open) {
            self.theirs.remove(&call);
            rules.into_iter().for_each(|rules| rules.answers(call));
            machine.reply(call, Metadata::new(), in_pieces(length.bytes()));
        }
    }

    fn open_reply(&mut self, machine: &mut Machine, rules: Option<&mut Rules>, call: CallId) {
        let theirs = self.theirs.get_mut(&call).filter(|theirs| !theirs.open);
        let Some(theirs) = theirs else {
            return;
        };
        theirs.open = machine.open_reply(call, Metadata::new());
        match theirs.open {
            true => rules.into_iter().for_each(|rules| rules.opens(call)),
            // One stream over the limit.
            false => {
                self.theirs.remove(&call);
                rules.into_iter().for_each(|rules| rules.answers(call));
            }
        }
    }

    fn send_ours(&mut self, machine: &mut Machine, call: CallId, length: Length, last: bool) {
        let ours = self.ours.get_mut(&call).filter(|ours| ours.open);
        let Some(ours) = ours else {
            return;
        };
        if send(machine, call, length.bytes()).is_ok() && last {
            machine.finish(call);
            ours.open = false;
        }
    }

    fn send_theirs(
        &mut self,
        machine: &mut Machine,
        rules: Option<&mut Rules>,
        call: CallId,
        length: Length,
        last: bool,
    ) {
        let is_open = self.theirs.get(&call).is_some_and(|theirs| theirs.open);
        if is_open && send(machine, call, length.bytes()).is_ok() && last {
            machine.end(ok(call));
            self.theirs.remove(&call);
            rules.into_iter().for_each(|rules| rules.answers(call));
        }
    }

    pub(crate) fn hear(
        &mut self,
        machine: &mut Machine,
        rules: Option<&mut Rules>,
        event: &Event<u32>,
    ) {
        assert!(!self.over, "{event:?} after the end");
        match event {
            Event::Opened(_)
            | Event::Draining
            | Event::Move(_)
            | Event::Writable(_)
            | Event::Overloaded { .. } => {}
            Event::Called(called) => self.called(called),
            Event::Message { call, .. } => self.message(*call),
            Event::Finished(call) => {
                let theirs = self.theirs.get_mut(call).expect("a call in flight");
                assert!(!std::mem::replace(&mut theirs.finished, true), "twice");
            }
            Event::Cancelled(call) | Event::Stopped(call, _) => {
                assert!(self.theirs.remove(call).is_some());
            }
            Event::Replied { call, .. } => {
                let ours = self.ours.get_mut(call).expect("a call in flight");
                assert!(!std::mem::replace(&mut ours.replied, true), "twice");
            }
            Event::Started(call) => {
                assert!(machine.token(*call).is_some(), "over before it started");
                let waiting = self.waiting.pop_front().expect("a call that waits");
                self.started(rules, *call, waiting);
            }
            Event::Ended(ended) => self.ended(ended),
            Event::Refused(token, _) => {
                self.ours.retain(|_, ours| ours.token != *token);
                self.back(*token);
            }
            other => panic!("{other:?}"),
        }
    }

    fn called(&mut self, called: &InboundCall) {
        let Some(id) = called.call else {
            assert!(called.message.is_some(), "a one-way call has a message");
            return self.one_way_costs.push(called.cost);
        };
        let theirs = Theirs {
            open: false,
            finished: called.end,
        };
        assert!(self.theirs.insert(id, theirs).is_none(), "delivered twice");
    }

    fn message(&self, id: CallId) {
        if id.side() == self.side {
            assert!(self.ours[&id].replied);
        } else {
            assert!(!self.theirs[&id].finished);
        }
    }

    fn ended(&mut self, ended: &CallOutcome<u32>) {
        if let Some(id) = ended.call {
            let ours = self.ours.remove(&id).expect("a call in flight");
            assert_eq!(ours.token, ended.token);
        }
        self.back(ended.token);
    }

    /// A token was returned.
    fn back(&mut self, token: u32) {
        assert!(self.pending.remove(&token), "call {token} ended twice");
        self.waiting.retain(|waiting| waiting.token != token);
    }

    /// The connection is over, and returns all calls that have not ended.
    pub(crate) fn over(&mut self, calls: Vec<(u32, bool)>) {
        for (token, _) in calls {
            self.back(token);
        }
        self.ours.clear();
        self.over = true;
    }

    pub(crate) fn is_done(&self) {
        assert!(self.pending.is_empty(), "no end: {:?}", self.pending);
    }
}
