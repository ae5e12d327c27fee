//! The packets that the machine may send.

use wawo_protocol::{
    CallId, Code, Limits, Metadata, Side,
    packet::{Call, Chunk, CreditOf, End, Packet, Reply},
};

use crate::model::{
    Rules,
    direction::{Direction, Taken},
    sends::is_silent,
    shared_credit::{cost, metadata_cost},
};

impl Rules {
    /// Checks a packet of the machine. A panic here is a bug of the machine.
    pub(crate) fn says(&mut self, packet: &Packet, payload_bytes: usize) {
        assert!(!self.closed, "{} after a close", packet.kind());
        assert!(payload_bytes <= self.peer.max_packet_bytes as usize);
        self.says_hello_first(packet);
        match packet {
            Packet::Hello(hello) => assert_eq!(hello.limits, self.limits),
            Packet::Ping(data) => assert_eq!(self.asked.replace(*data), None),
            Packet::Pong(data) => assert_eq!(self.unanswered.pop_front(), Some(*data)),
            Packet::Drain { accepted } => {
                assert!(self.draining_here);
                assert_eq!(*accepted, self.their_calls);
            }
            Packet::Close { .. } => self.closed = true,
            Packet::Call(call) => self.says_call(call),
            Packet::Reply(reply) => self.says_reply(reply),
            Packet::Message {
                call,
                chunk,
                continues,
            } => match call.side() == self.side {
                true => self.says_request(*call, chunk, *continues),
                false => self.says_message(*call, chunk, *continues),
            },
            Packet::End(end) => match end.call.side() == self.side {
                true => self.says_finished(end),
                false => self.says_end(end),
            },
            Packet::Cancel(call) => self.says_cancel(*call),
            Packet::Credit { of, bytes } => self.says_credit(*of, *bytes),
            Packet::Move(_) => assert_eq!(self.side, Side::Accepting),
            Packet::Unknown(kind) => panic!("a packet of kind {kind}"),
        }
    }

    /// The first packet is the only hello. On the accepting side it is the answer to the peer's, and a
    /// close may stand in its place.
    fn says_hello_first(&mut self, packet: &Packet) {
        let is_hello = matches!(packet, Packet::Hello(_));
        let accepts = self.side == Side::Accepting;
        if accepts && !self.has_machine_hello && matches!(packet, Packet::Close { .. }) {
            return;
        }
        assert_ne!(is_hello, self.has_machine_hello, "one hello, and first");
        assert!(self.has_peer_hello || !accepts, "no answer without a hello");
        self.has_machine_hello = true;
    }

    fn says_call(&mut self, call: &Call) {
        assert!(!self.draining_there, "a call after the peer's drain");
        keeps(&call.metadata, &self.peer);
        self.our_calls += 1;
        if call.one_way {
            // The rest is reserved for calls with a reply.
            let least = i64::from(self.peer.request_credit_bytes / 4);
            assert!(self.our_requests.available() > least);
            let chunk = call.chunk.as_ref().expect("a one-way message");
            let cost = cost(chunk) + metadata_cost(&call.metadata);
            self.our_requests.pay(cost).expect("credit for requests");
        }
        let Some(id) = call.call else {
            return;
        };
        if call.one_way {
            let before = self.ours.insert(id, self.new_ours(None, true));
            assert!(before.is_none(), "call {id} is in flight already");
        }
        self.takes_slot(id);
        let ours = self.ours.get_mut(&id).expect("a call that was started");
        assert_eq!(ours.ordinal.replace(self.our_calls), None, "called twice");
        if let Some(chunk) = &call.chunk {
            self.says_chunk_of_ours(id, chunk, false);
        }
    }

    fn takes_slot(&mut self, id: CallId) {
        assert_eq!(id.side(), self.side);
        assert!(id.index() < self.peer.max_calls as usize, "too many calls");
        assert!(id.index() <= self.our_slots, "a slot was left out");
        self.our_slots = self.our_slots.max(id.index() + 1);
    }

    fn says_request(&mut self, id: CallId, chunk: &Chunk, continues: bool) {
        if !continues {
            let paid = self.our_requests.pay(cost(chunk));
            paid.expect("credit for requests");
        }
        self.says_chunk_of_ours(id, chunk, continues);
    }

    fn says_chunk_of_ours(&mut self, id: CallId, chunk: &Chunk, continues: bool) {
        let ours = self.ours.get_mut(&id).expect("a call in flight");
        assert!(ours.ordinal.is_some() && !ours.cancelled);
        sound(&mut ours.requests, chunk, continues, &self.peer);
        if ours.one_way && ours.requests.ended {
            self.ours.remove(&id);
        }
    }

    fn says_finished(&mut self, end: &End) {
        let ours = self.ours.get_mut(&end.call).expect("a call in flight");
        assert!(ours.ordinal.is_some() && !ours.cancelled && !ours.one_way);
        assert!(!ours.requests.ended && !ours.requests.is_in_a_message());
        assert!(end.code == Code::Ok && !end.refused && is_silent(end));
        ours.requests.ended = true;
    }

    fn says_cancel(&mut self, id: CallId) {
        let ours = self.ours.get_mut(&id).expect("a call in flight");
        assert!(ours.ordinal.is_some() && !ours.wanted && !ours.one_way);
        assert!(!std::mem::replace(&mut ours.cancelled, true), "twice");
    }

    fn says_reply(&mut self, reply: &Reply) {
        keeps(&reply.metadata, &self.peer);
        let theirs = self.theirs.get_mut(&reply.call).expect("a call in flight");
        assert!(theirs.told && !theirs.one_way, "nobody knows of the call");
        assert!(!std::mem::replace(&mut theirs.replied, true), "twice");
        if let Some(chunk) = &reply.chunk {
            self.says_chunk_of_theirs(reply.call, chunk, false);
        }
    }

    fn says_message(&mut self, id: CallId, chunk: &Chunk, continues: bool) {
        if !continues {
            self.our_replies
                .pay(cost(chunk))
                .expect("credit for replies");
        }
        self.says_chunk_of_theirs(id, chunk, continues);
    }

    fn says_chunk_of_theirs(&mut self, id: CallId, chunk: &Chunk, continues: bool) {
        let theirs = self.theirs.get_mut(&id).expect("a call in flight");
        assert!(theirs.replied, "a message before the reply");
        sound(&mut theirs.replies, chunk, continues, &self.peer);
        if theirs.replies.ended {
            self.theirs.remove(&id);
        }
    }

    fn says_end(&mut self, end: &End) {
        keeps(&end.metadata, &self.peer);
        let owed = |(call, code): &(CallId, Code)| (*call, *code) == (end.call, end.code);
        if let Some(at) = self.owed.iter().position(owed) {
            self.owed.remove(at);
            return;
        }
        let theirs = self.theirs.remove(&end.call).expect("a call in flight");
        assert!(!theirs.one_way);
        let expired =
            end.code == Code::DeadlineExceeded && theirs.deadline.is_some_and(|at| at <= self.now);
        assert!(expired || theirs.told, "nobody knows of the call");
        assert!(
            !end.refused || !theirs.replied,
            "refused after it was served"
        );
        assert!(end.code != Code::Ok || !theirs.replies.is_in_a_message());
    }

    fn says_credit(&mut self, of: CreditOf, bytes: u32) {
        let (held_requests, held_replies) = self.held_of_all_calls();
        let (credit, held, limit) = match of {
            CreditOf::Call(call) => return self.says_call_credit(call, bytes),
            CreditOf::Requests => (
                &mut self.their_requests,
                held_requests,
                self.limits.request_credit_bytes,
            ),
            CreditOf::Replies => (
                &mut self.their_replies,
                held_replies,
                self.limits.reply_credit_bytes,
            ),
        };
        credit.grant(bytes).expect("a sum that fits");
        // So the machine never holds more than the limit and one message.
        assert!(
            credit.available() + held as i64 <= limit.into(),
            "more than was freed"
        );
    }

    fn says_call_credit(&mut self, id: CallId, bytes: u32) {
        let most = self.most_granted();
        let direction = match id.side() == self.side {
            true => {
                let ours = self.ours.get_mut(&id).expect("a call in flight");
                assert!(!ours.one_way && !ours.cancelled);
                &mut ours.replies
            }
            false => {
                let theirs = self.theirs.get_mut(&id).expect("a call in flight");
                assert!(!theirs.one_way);
                &mut theirs.requests
            }
        };
        direction.grant(bytes).expect("a sum that fits");
        assert!(direction.unconsumed() <= most, "more than the limits allow");
    }
}

/// Checks message bytes of the machine.
fn sound(direction: &mut Direction, chunk: &Chunk, continues: bool, limits: &Limits) {
    let taken = direction.take(chunk, continues, limits.max_message_bytes);
    let taken = taken.expect("the credit was kept, and chunks add up");
    assert_ne!(taken, Taken::TooLarge);
}

fn keeps(metadata: &Metadata, limits: &Limits) {
    assert!(metadata.len() <= limits.max_metadata_entries as usize);
    assert!(metadata.is_empty() || metadata.encoded_len() <= limits.max_metadata_bytes as usize);
}
