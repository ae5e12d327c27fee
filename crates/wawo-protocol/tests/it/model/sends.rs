//! The packets that the peer may send, and the events that the machine's user must then get.

use std::time::Duration;

use wawo_protocol::{
    CallId, Code, Hello, Side,
    packet::{Call, Chunk, CreditOf, End, Packet, Reply},
};

use crate::model::{
    Heard, Rules, Theirs,
    direction::{Direction, Fault, Taken},
    shared_credit::{cost, metadata_cost, stated},
};

impl Rules {
    /// The machine reads a packet. Returns whether the connection must stay open after it. A close
    /// is not a fault, but also an end.
    pub(crate) fn sends(&mut self, packet: &Packet, payload_bytes: usize) -> bool {
        payload_bytes <= self.limits.max_packet_bytes as usize && self.admit(packet).is_ok()
    }

    fn admit(&mut self, packet: &Packet) -> Result<(), Fault> {
        if !self.has_peer_hello && !matches!(packet, Packet::Hello(_)) {
            return Err(Fault);
        }
        match packet {
            Packet::Hello(hello) => self.hello(hello),
            Packet::Ping(data) => self.ping(*data),
            Packet::Pong(data) => require(self.asked.take() == Some(*data)),
            Packet::Drain { accepted } => {
                self.drain(*accepted);
                Ok(())
            }
            Packet::Close { .. } => Err(Fault),
            Packet::Call(call) => self.their_call(call),
            Packet::Reply(reply) => self.reply(reply),
            Packet::Message {
                call,
                chunk,
                continues,
            } => match call.side() == self.side {
                true => self.our_message(*call, chunk, *continues),
                false => self.their_message(*call, chunk, *continues),
            },
            Packet::End(end) => match end.call.side() == self.side {
                true => self.our_end(end),
                false => self.their_end(end),
            },
            Packet::Cancel(call) => self.cancel(*call),
            Packet::Credit { of, bytes } => match of {
                CreditOf::Call(call) => self.credit(*call, *bytes),
                CreditOf::Requests => self.our_requests.grant(*bytes),
                CreditOf::Replies => self.our_replies.grant(*bytes),
            },
            Packet::Move(_) => {
                let is_told = self.side == Side::Connecting;
                self.expected.extend(is_told.then_some(Heard::Move));
                Ok(())
            }
            Packet::Unknown(_) => Ok(()),
        }
    }

    fn hello(&mut self, hello: &Hello) -> Result<(), Fault> {
        require(!self.has_peer_hello && hello.role != Some(self.side))?;
        self.has_peer_hello = true;
        let (before, takes) = (self.peer, &hello.limits);
        self.our_requests
            .grant(takes.request_credit_bytes - before.request_credit_bytes)?;
        self.our_replies
            .grant(takes.reply_credit_bytes - before.reply_credit_bytes)?;
        self.peer = hello.limits;
        self.peer_default_timeout = hello.default_timeout;
        self.expected.push_back(Heard::Opened);
        Ok(())
    }

    fn ping(&mut self, data: u64) -> Result<(), Fault> {
        let before = self.pinged.replace(self.now);
        let early = before.is_some_and(|before| self.now < before + Duration::from_millis(500));
        self.early_pings = if early { self.early_pings + 1 } else { 0 };
        self.unanswered.push_back(data);
        require(self.early_pings <= 3)
    }

    fn drain(&mut self, accepted: u64) {
        self.draining_there = true;
        let served = |ordinal: Option<u64>| ordinal.is_some_and(|ordinal| ordinal <= accepted);
        self.ours.retain(|_, ours| served(ours.ordinal));
        self.expected.push_back(Heard::Draining);
    }

    fn their_call(&mut self, call: &Call) -> Result<(), Fault> {
        let fresh = match call.call {
            Some(id) => self.new_slot(id)?,
            None => false,
        };
        let cost = self.pay_note(call)?;
        if fresh {
            self.their_slots += 1;
        }
        if self.draining_here {
            return Ok(());
        }
        self.their_calls += 1;
        let Some(id) = call.call else {
            self.notes_held += cost;
            let message = call.chunk.as_ref().map(|chunk| chunk.bytes.len());
            self.expected.push_back(Heard::InboundCall {
                call: None,
                message,
                end: true,
            });
            return Ok(());
        };
        let theirs = self.new_theirs(call, cost);
        let is_too_much = self.begin_with() + theirs.opening > self.max_opening_bytes;
        self.theirs.insert(id, theirs);
        if is_too_much {
            self.end_theirs(id, Code::ResourceExhausted);
            return Ok(());
        }
        match &call.chunk {
            Some(chunk) => self.take_theirs(id, chunk, false),
            None => {
                self.tell_called(id, None, false);
                Ok(())
            }
        }
    }

    /// Whether the id of a new call was never used before.
    fn new_slot(&self, id: CallId) -> Result<bool, Fault> {
        require(id.side() != self.side && id.index() < self.limits.max_calls as usize)?;
        require(id.index() <= self.their_slots && !self.theirs.contains_key(&id))?;
        Ok(id.index() == self.their_slots)
    }

    /// The sum of the first messages of the peer's calls in flight.
    fn begin_with(&self) -> u64 {
        self.theirs.values().map(|theirs| theirs.opening).sum()
    }

    /// Takes the cost of a one-way message from the peer's credit.
    fn pay_note(&mut self, call: &Call) -> Result<u64, Fault> {
        let Some(chunk) = call.chunk.as_ref().filter(|_| call.one_way) else {
            return Ok(0);
        };
        require(stated(chunk) <= self.limits.max_message_bytes as usize)?;
        let cost = cost(chunk) + metadata_cost(&call.metadata);
        self.their_requests.pay(cost)?;
        Ok(cost)
    }

    /// The bytes that a call begins with, beyond its cost as a message.
    fn opening(&self, call: &Call) -> u64 {
        let length = call.chunk.as_ref().map_or(0, stated);
        match call.one_way || length > self.limits.max_message_bytes as usize {
            // It was paid for, or refused for its length.
            true => 0,
            false => length as u64 + metadata_cost(&call.metadata),
        }
    }

    fn new_theirs(&self, call: &Call, held: u64) -> Theirs {
        let timeout = match call.timeout_ms {
            Some(0) => None,
            Some(millis) => Some(Duration::from_millis(millis.into())),
            None => self.peer_default_timeout,
        };
        let credit = match call.one_way {
            true => u32::MAX,
            false => self.limits.initial_credit_bytes,
        };
        Theirs {
            began: self.now,
            deadline: timeout.map(|timeout| self.now + timeout),
            one_way: call.one_way,
            told: false,
            answered: false,
            is_stream: false,
            requests: Direction::new(credit),
            opening: self.opening(call),
            first_unread: call.chunk.as_ref().map_or(0, cost),
            held,
            replied: false,
            replies: Direction::new(self.peer.initial_credit_bytes),
        }
    }

    /// The first message of a call of theirs is whole, or none came with it.
    fn tell_called(&mut self, id: CallId, message: Option<usize>, end: bool) {
        let streams = self.theirs.values().filter(|theirs| theirs.is_stream);
        let full = streams.count() >= self.max_streams;
        let theirs = self.theirs.get_mut(&id).expect("it has just come");
        let one_way = theirs.one_way;
        // A one-way call has one message, whatever its flags.
        let end = end || one_way;
        if one_way {
            self.notes_held += theirs.held;
            self.theirs.remove(&id);
        } else if !end && full {
            return self.end_theirs(id, Code::ResourceExhausted);
        } else {
            theirs.told = true;
            theirs.is_stream = !end;
        }
        self.expected.push_back(Heard::InboundCall {
            call: (!one_way).then_some(id),
            message,
            end,
        });
    }

    /// The call that a packet of its caller refers to. `None` if the call is over, which the caller
    /// may not have known.
    fn find_theirs(&mut self, id: CallId) -> Result<Option<&mut Theirs>, Fault> {
        require(id.index() < self.their_slots)?;
        Ok(self.theirs.get_mut(&id))
    }

    fn their_message(&mut self, id: CallId, chunk: &Chunk, continues: bool) -> Result<(), Fault> {
        self.find_theirs(id)?;
        if !continues {
            self.their_requests.pay(cost(chunk))?;
        }
        let Some(theirs) = self.find_theirs(id)? else {
            return Ok(());
        };
        if !continues {
            theirs.held += cost(chunk);
        }
        self.take_theirs(id, chunk, continues)
    }

    fn take_theirs(&mut self, id: CallId, chunk: &Chunk, continues: bool) -> Result<(), Fault> {
        let max = self.limits.max_message_bytes;
        let theirs = self.theirs.get_mut(&id).expect("a call in flight");
        match theirs.requests.take(chunk, continues, max)? {
            Taken::Partly => {}
            Taken::TooLarge => self.end_theirs(id, Code::ResourceExhausted),
            Taken::Message(_) if theirs.answered => {
                // Nobody reads it, but its caller must be able to finish it.
                theirs.requests.consume_all();
                theirs.first_unread = 0;
                theirs.held = 0;
            }
            Taken::Message(length) if theirs.told => {
                self.expected.push_back(Heard::Message(id, length));
                let finished = chunk.end.then_some(Heard::Finished(id));
                self.expected.extend(finished);
            }
            Taken::Message(length) => self.tell_called(id, Some(length), chunk.end),
        }
        Ok(())
    }

    /// The machine must end a call of theirs because of the peer's packet.
    fn end_theirs(&mut self, id: CallId, code: Code) {
        let theirs = self.theirs.remove(&id).expect("a call in flight");
        self.owed.push((id, code));
        if theirs.told && !theirs.answered {
            self.expected.push_back(match code {
                Code::Cancelled => Heard::Cancelled(id),
                code => Heard::Stopped(id, code),
            });
        }
    }

    fn their_end(&mut self, end: &End) -> Result<(), Fault> {
        let found = self.find_theirs(end.call)?;
        let Some(theirs) = found.filter(|theirs| !theirs.answered) else {
            return Ok(());
        };
        require(!theirs.one_way && !theirs.requests.ended && !theirs.requests.is_in_a_message())?;
        require(end.code == Code::Ok && !end.refused && is_silent(end))?;
        theirs.requests.ended = true;
        self.expected.push_back(Heard::Finished(end.call));
        Ok(())
    }

    fn cancel(&mut self, id: CallId) -> Result<(), Fault> {
        require(id.side() != self.side)?;
        let Some(theirs) = self.find_theirs(id)? else {
            return Ok(());
        };
        require(!theirs.one_way)?;
        self.end_theirs(id, Code::Cancelled);
        Ok(())
    }

    fn credit(&mut self, id: CallId, bytes: u32) -> Result<(), Fault> {
        if id.side() == self.side {
            let ours = self.ours.get_mut(&id).filter(|ours| !ours.one_way);
            let ours = ours.ok_or(Fault)?;
            return match ours.wanted && !ours.requests.ended {
                true => ours.requests.grant(bytes),
                false => Ok(()),
            };
        }
        let Some(theirs) = self.find_theirs(id)? else {
            return Ok(());
        };
        require(!theirs.one_way)?;
        theirs.replies.grant(bytes)
    }

    fn reply(&mut self, reply: &Reply) -> Result<(), Fault> {
        let id = reply.call;
        let ours = self.ours.get_mut(&id).ok_or(Fault)?;
        require(!ours.one_way && !ours.replied)?;
        ours.replied = true;
        let Some(chunk) = &reply.chunk else {
            ours.told = true;
            let heard = ours.wanted.then_some(Heard::Replied(id, None));
            self.expected.extend(heard);
            return Ok(());
        };
        ours.first_unread = cost(chunk);
        self.take_ours(id, chunk, false)
    }

    fn our_message(&mut self, id: CallId, chunk: &Chunk, continues: bool) -> Result<(), Fault> {
        require(self.ours.get(&id).is_some_and(|ours| ours.replied))?;
        if !continues {
            self.pay_reply(id, cost(chunk))?;
        }
        self.take_ours(id, chunk, continues)
    }

    /// Takes the cost of a reply that begins from the peer's credit.
    fn pay_reply(&mut self, id: CallId, cost: u64) -> Result<(), Fault> {
        self.their_replies.pay(cost)?;
        let ours = self.ours.get_mut(&id).ok_or(Fault)?;
        if ours.wanted {
            ours.held += cost;
        }
        Ok(())
    }

    fn take_ours(&mut self, id: CallId, chunk: &Chunk, continues: bool) -> Result<(), Fault> {
        let max = self.limits.max_message_bytes;
        let ours = self.ours.get_mut(&id).ok_or(Fault)?;
        if !ours.wanted {
            if chunk.end {
                self.ours.remove(&id);
            }
            return Ok(());
        }
        let taken = ours.replies.take(chunk, continues, max)?;
        let first = !ours.told;
        let ended = |code, message, answered| Heard::CallOutcome {
            call: id,
            message,
            code,
            answered,
        };
        let heard = match taken {
            Taken::Partly => return Ok(()),
            Taken::TooLarge => {
                ours.wanted = false;
                ours.held = 0;
                ended(Code::ResourceExhausted, None, false)
            }
            Taken::Message(length) if chunk.end => ended(Code::Ok, Some(length), true),
            Taken::Message(length) if first => Heard::Replied(id, Some(length)),
            Taken::Message(length) => Heard::Message(id, length),
        };
        ours.told = true;
        self.expected.push_back(heard);
        if chunk.end {
            self.ours.remove(&id);
        }
        Ok(())
    }

    fn our_end(&mut self, end: &End) -> Result<(), Fault> {
        let ours = self.ours.get(&end.call).ok_or(Fault)?;
        require(!ours.one_way)?;
        require(!end.refused || !ours.replied)?;
        let cut_off = ours.wanted && ours.replies.is_in_a_message();
        require(!cut_off || end.code != Code::Ok)?;
        let heard = ours.wanted.then_some(Heard::CallOutcome {
            call: end.call,
            message: None,
            code: end.code,
            answered: true,
        });
        self.expected.extend(heard);
        self.ours.remove(&end.call);
        Ok(())
    }
}

fn require(rule: bool) -> Result<(), Fault> {
    rule.then_some(()).ok_or(Fault)
}

/// Whether an end has nothing but its code.
pub(crate) fn is_silent(end: &End) -> bool {
    end.text.is_empty() && end.details.is_empty() && end.metadata.is_empty()
}
