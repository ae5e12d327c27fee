//! The state, actions and expectations of one side's user.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use wawo_protocol::{
    CallId, CallOutcome, Code, Connection, Event, InboundCall, Metadata, MethodId, NewCall,
    Refusal, StartedCall, packet::End,
};

use crate::{
    pair::{in_pieces, ok, send, unary},
    world::{Operation, Requests},
};

#[derive(Default)]
pub(crate) struct User {
    /// The last token given out. It is the method id of its call, so the callee knows it too.
    last_token: u32,
    /// Calls that have not been returned.
    pending: HashSet<u32>,
    /// Those of them that have no id yet, in order.
    waiting: VecDeque<(u32, Requests)>,
    ours: HashMap<CallId, Direction>,
    theirs: HashMap<CallId, Direction>,
    /// Messages that came and were not consumed.
    unread: Vec<(CallId, usize)>,
}

/// A call in flight, seen from one side.
struct Direction {
    token: u32,
    /// Whether this side may send messages.
    open: bool,
    sent: u32,
    received: u32,
    /// Whether the other side has ended its requests.
    finished: bool,
}

impl Direction {
    fn ours(token: u32, requests: Requests) -> Self {
        Self {
            open: requests != Requests::One,
            sent: u32::from(requests != Requests::Stream),
            ..Self::theirs(token, false)
        }
    }

    fn theirs(token: u32, finished: bool) -> Self {
        Self {
            token,
            open: false,
            sent: 0,
            received: 0,
            finished,
        }
    }

    fn next_message(&mut self, length: usize) -> Bytes {
        self.sent += 1;
        numbered(self.token, self.sent - 1, length)
    }

    fn receive(&mut self, message: &Bytes) {
        let expected = numbered(self.token, self.received, message.len() - 8);
        assert_eq!(message, &expected, "lost, changed or out of order");
        self.received += 1;
    }
}

/// A message that contains the token of its call, and its number in its direction.
fn numbered(token: u32, number: u32, length: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(8 + length);
    bytes.extend_from_slice(&token.to_be_bytes());
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.resize(8 + length, (token + number) as u8);
    bytes.into()
}

/// The `which`-th call, modulo their number.
fn nth(calls: &HashMap<CallId, Direction>, which: usize) -> Option<CallId> {
    let mut ids: Vec<_> = calls.keys().copied().collect();
    ids.sort_unstable();
    let at = which.checked_rem(ids.len())?;
    Some(ids[at])
}

type Machine = Connection<u32>;

impl User {
    pub(crate) fn act(&mut self, now: Instant, machine: &mut Machine, operation: &Operation) {
        match *operation {
            Operation::Start(requests, length, deadline_ms) => {
                let deadline = deadline_ms.map(|millis| now + Duration::from_millis(millis));
                self.start(now, machine, requests, length, deadline);
            }
            Operation::Burst => {
                for _ in 0..70 {
                    self.start(now, machine, Requests::One, 1, None);
                }
            }
            Operation::Note(length) => {
                let one_way_call = NewCall {
                    one_way: true,
                    ..unary(numbered(0, 0, length))
                };
                match machine.send_one_way(now, one_way_call) {
                    Ok(()) | Err(Refusal::Full(_)) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            Operation::Cancel(which) => {
                if let Some(id) = nth(&self.ours, which) {
                    let token = machine.cancel(id).expect("a call in flight");
                    self.over(token);
                }
            }
            Operation::Send(which, length, last) => self.send(machine, which, length, last),
            Operation::Finish(which) => self.finish(machine, which),
            Operation::Reply(which, length) => self.reply(machine, which, length),
            Operation::OpenReply(which) => self.open_reply(machine, which),
            Operation::End(which, code) => self.end(machine, which, code),
            Operation::Consume => self.consume(machine),
        }
    }

    fn start(
        &mut self,
        now: Instant,
        machine: &mut Machine,
        requests: Requests,
        length: usize,
        deadline: Option<Instant>,
    ) {
        self.last_token += 1;
        let token = self.last_token;
        let call = NewCall {
            method: MethodId(token),
            deadline,
            message: (requests != Requests::Stream).then(|| in_pieces(numbered(token, 0, length))),
            end: requests == Requests::One,
            ..unary("")
        };
        self.pending.insert(token);
        match machine.start_call(now, call, token) {
            Ok(StartedCall::Sent(id)) => {
                self.ours.insert(id, Direction::ours(token, requests));
            }
            Ok(StartedCall::Waiting) => self.waiting.push_back((token, requests)),
            Err((token, Refusal::Full(waiting))) => {
                assert_eq!(waiting, self.waiting.len());
                self.over(token);
            }
            Err((_, other)) => panic!("{other:?}"),
        }
    }

    /// Sends in a call of either side.
    fn send(&mut self, machine: &mut Machine, which: usize, length: usize, last: bool) {
        if let Some(id) = nth(&self.ours, which)
            && let Some(ours) = self.ours.get_mut(&id).filter(|ours| ours.open)
        {
            let message = ours.next_message(length);
            ours.open = !last;
            send(machine, id, message).expect("within the limits");
            if last {
                machine.finish(id);
            }
        }
        if let Some(id) = nth(&self.theirs, which)
            && let Some(theirs) = self.theirs.get_mut(&id).filter(|theirs| theirs.open)
        {
            let message = theirs.next_message(length);
            send(machine, id, message).expect("within the limits");
            if last {
                self.end_with(machine, id, Code::Ok);
            }
        }
    }

    fn finish(&mut self, machine: &mut Machine, which: usize) {
        if let Some(id) = nth(&self.ours, which)
            && let Some(ours) = self.ours.get_mut(&id).filter(|ours| ours.open)
        {
            machine.finish(id);
            ours.open = false;
        }
    }

    fn reply(&mut self, machine: &mut Machine, which: usize, length: usize) {
        if let Some(id) = nth(&self.theirs, which)
            && let Some(theirs) = self.theirs.get_mut(&id).filter(|theirs| !theirs.open)
        {
            let message = in_pieces(theirs.next_message(length));
            machine.reply(id, Metadata::new(), message);
            self.their_call_is_over(id);
        }
    }

    fn open_reply(&mut self, machine: &mut Machine, which: usize) {
        if let Some(id) = nth(&self.theirs, which)
            && let Some(theirs) = self.theirs.get_mut(&id).filter(|theirs| !theirs.open)
        {
            theirs.open = machine.open_reply(id, Metadata::new());
        }
    }

    /// Ends a call of theirs; the text contains the number of messages.
    fn end(&mut self, machine: &mut Machine, which: usize, code: Code) {
        if let Some(id) = nth(&self.theirs, which) {
            self.end_with(machine, id, code);
        }
    }

    fn end_with(&mut self, machine: &mut Machine, id: CallId, code: Code) {
        let text = self.theirs[&id].sent.to_string();
        machine.end(End {
            code,
            text,
            ..ok(id)
        });
        self.their_call_is_over(id);
    }

    fn consume(&mut self, machine: &mut Machine) {
        for (id, length) in self.unread.drain(..) {
            machine.consume(id, 1, length);
        }
    }

    /// Ends everything that can be ended on this side.
    pub(crate) fn wind_up(&mut self, machine: &mut Machine) {
        self.consume(machine);
        while !self.theirs.is_empty() {
            self.end(machine, 0, Code::Ok);
        }
        for which in 0..self.ours.len() {
            self.finish(machine, which);
        }
    }

    pub(crate) fn hear(&mut self, machine: &mut Machine, event: Event<u32>) {
        match event {
            Event::Opened(_)
            | Event::Draining
            | Event::Move(_)
            | Event::Writable(_)
            | Event::Overloaded { .. } => {}
            Event::Called(called) => self.called(machine, called),
            Event::Message { call, message } => self.message(call, &message),
            Event::Finished(id) => {
                let theirs = self.theirs.get_mut(&id).expect("a call in flight");
                assert!(!theirs.finished, "finished twice");
                theirs.finished = true;
            }
            Event::Cancelled(id) | Event::Stopped(id, _) => {
                assert!(self.theirs.contains_key(&id));
                self.their_call_is_over(id);
            }
            Event::Replied { call, message, .. } => {
                if let Some(message) = message {
                    self.message(call, &message);
                }
            }
            Event::Started(id) => {
                let (token, requests) = self.waiting.pop_front().expect("a call waits");
                self.ours.insert(id, Direction::ours(token, requests));
            }
            Event::Ended(ended) => self.ended(ended),
            Event::Refused(token, _) => self.over(token),
            other => panic!("{other:?}"),
        }
    }

    fn called(&mut self, machine: &mut Machine, called: InboundCall) {
        let Some(id) = called.call else {
            let cost = called.cost;
            let message = called.message.expect("a one-way message has a message");
            assert_eq!(message, numbered(0, 0, message.len() - 8));
            return machine.one_way_served(cost);
        };
        let direction = Direction::theirs(called.method.0, called.end);
        let before = self.theirs.insert(id, direction);
        assert!(before.is_none(), "an id used twice");
        if let Some(message) = called.message {
            self.message(id, &message);
        }
    }

    fn message(&mut self, id: CallId, message: &Bytes) {
        let direction = self.ours.get_mut(&id).or_else(|| self.theirs.get_mut(&id));
        direction.expect("a call in flight").receive(message);
        self.unread.push((id, message.len()));
    }

    fn ended(&mut self, ended: CallOutcome<u32>) {
        let direction = ended.call.and_then(|id| self.ours.get_mut(&id));
        if let Some(ours) = direction {
            if let Some(message) = &ended.message {
                ours.receive(message);
            } else if ended.code == Code::Ok {
                assert_eq!(ended.text, ours.received.to_string(), "messages were lost");
            }
        }
        self.over(ended.token);
    }

    fn over(&mut self, token: u32) {
        assert!(self.pending.remove(&token), "call {token} ended twice");
        self.waiting.retain(|(waiting, _)| *waiting != token);
        let is_it = |(_, ours): &(&CallId, &Direction)| ours.token == token;
        let id = self.ours.iter().find(is_it).map(|(id, _)| *id);
        if let Some(id) = id {
            self.ours.remove(&id);
            self.unread.retain(|(unread, _)| *unread != id);
        }
    }

    fn their_call_is_over(&mut self, id: CallId) {
        self.theirs.remove(&id);
        self.unread.retain(|(unread, _)| *unread != id);
    }

    /// The connection is over, and returns all calls that have not ended.
    pub(crate) fn lose(&mut self, calls: Vec<(u32, bool)>) {
        for (token, _) in calls {
            self.over(token);
        }
        self.theirs.clear();
    }

    pub(crate) fn is_done(&self) {
        assert!(self.pending.is_empty(), "no end: {:?}", self.pending);
        assert!(self.theirs.is_empty() && self.ours.is_empty());
    }
}
