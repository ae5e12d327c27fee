//! The service of the state vectors (proto/tests/vectors.proto), over one state machine.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use wawo_protocol::{
    CallId, CallOutcome, CloseCode, Code, Connection, DeadlineSource, Event, InboundCall, Metadata,
    MethodId, NewCall, ServiceId, StartedCall,
    packet::{BatchBuilder, End},
};

use crate::states::text;

pub(super) type Machine = Connection<u32>;

const SERVICE: ServiceId = ServiceId(70);
const ECHO: u32 = 1;
const REPEAT: u32 = 2;
const COUNT: u32 = 3;
const TALK: u32 = 4;
const NOTE: u32 = 5;
const FAIL: u32 = 6;
const WAIT: u32 = 7;
const HOLD: u32 = 8;
const CALL: u32 = 9;
const DRAIN: u32 = 10;
const NAMES: [&str; 5] = ["Echo", "Repeat", "Count", "Talk", "Note"];

#[derive(Default)]
pub(super) struct Application {
    incoming: HashMap<CallId, IncomingCall>,
    /// Calls of this side, by token.
    outgoing: HashMap<u32, OutgoingCall>,
    last_token: u32,
    /// One-way messages whose handler waits: until when, and their cost.
    waiting: Vec<(Option<Instant>, u64)>,
    is_draining: bool,
}

/// A call of the tester.
struct IncomingCall {
    method: u32,
    depth: u32,
    deadline: Option<Instant>,
    requests: Vec<Bytes>,
    has_ended: bool,
    /// The call that its handler makes.
    outgoing: Option<CallId>,
}

/// A call that the handler of `by` makes.
struct OutgoingCall {
    by: CallId,
    method: u32,
    replies: Vec<Bytes>,
}

fn end(call: CallId, code: Code, text: &str, refused: bool) -> End {
    End {
        call,
        code,
        refused,
        metadata: Metadata::new(),
        text: text.to_owned(),
        details: Bytes::new(),
    }
}

fn send(machine: &mut Machine, call: CallId, messages: &[Bytes]) {
    let mut batch = BatchBuilder::new(call);
    for message in messages {
        batch.push(|buffer| buffer.extend_from_slice(message));
    }
    machine.send_batch(call, batch.take()).expect("short");
}

impl Application {
    pub(super) fn handle(&mut self, now: Instant, machine: &mut Machine, event: Event<u32>) {
        match event {
            Event::Opened(_) => {
                let accepted = machine.accept(now, Bytes::new());
                accepted.expect("no credentials");
            }
            Event::Called(called) => self.handle_call(now, machine, called),
            Event::Message { call, message } => match machine.token(call).copied() {
                Some(token) => {
                    machine.consume(call, 1, message.len());
                    self.handle_reply(machine, token, message);
                }
                None => self.handle_request(now, machine, call, message),
            },
            Event::Finished(call) => {
                if let Some(incoming) = self.incoming.get_mut(&call) {
                    incoming.has_ended = true;
                    self.serve(now, machine, call);
                }
            }
            Event::Cancelled(call) | Event::Stopped(call, _) => {
                if let Some(outgoing) = self
                    .incoming
                    .remove(&call)
                    .and_then(|incoming| incoming.outgoing)
                {
                    machine.cancel(outgoing);
                }
            }
            Event::Replied { call, message, .. } => {
                if let (Some(token), Some(message)) = (machine.token(call).copied(), message) {
                    machine.consume(call, 1, message.len());
                    self.handle_reply(machine, token, message);
                }
            }
            Event::Ended(outcome) => self.handle_end(machine, outcome),
            Event::Refused(token, _) => {
                self.reply_outcome(machine, token, "failed 14 refused");
            }
            _ => {}
        }
    }

    /// Ends what has waited long enough, and a connection that has drained.
    pub(super) fn end_waiting(&mut self, now: Instant, machine: &mut Machine) {
        self.waiting.retain(|(until, cost)| {
            let is_over = until.is_some_and(|until| until <= now);
            if is_over {
                machine.one_way_served(*cost);
            }
            !is_over
        });
        if self.is_draining && !machine.has_calls() {
            machine.close(CloseCode::Normal, "drained");
        }
    }

    /// The next time at which a one-way message has waited long enough.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|(until, _)| *until).min()
    }

    fn handle_call(&mut self, now: Instant, machine: &mut Machine, called: InboundCall) {
        let is_known = called.service == SERVICE && (ECHO..=DRAIN).contains(&called.method.0);
        let depth = called.metadata.text("wawo-depth").unwrap_or("0");
        let refused = match depth.parse::<u32>() {
            Ok(0..=16) if is_known => None,
            Ok(0..=16) => Some((Code::Unimplemented, true)),
            Ok(_) => Some((Code::ResourceExhausted, true)),
            Err(_) => Some((Code::InvalidArgument, false)),
        };
        let Some(call) = called.call else {
            match called.method.0 {
                WAIT if is_known => self.waiting.push((called.deadline, called.cost)),
                method => {
                    let message = called.message.filter(|_| is_known && method == NOTE);
                    message
                        .into_iter()
                        .for_each(|note| one_way(now, machine, note));
                    machine.one_way_served(called.cost);
                }
            }
            return;
        };
        if let Some((code, refused)) = refused {
            return machine.end(end(call, code, "", refused));
        }
        let incoming = IncomingCall {
            method: called.method.0,
            depth: depth.parse().expect("it was just parsed"),
            deadline: called.deadline,
            requests: Vec::new(),
            has_ended: called.end,
            outgoing: None,
        };
        self.incoming.insert(call, incoming);
        if called.method.0 == TALK {
            machine.open_reply(call, Metadata::new());
        }
        match called.message {
            Some(message) => self.handle_request(now, machine, call, message),
            None => self.serve(now, machine, call),
        }
    }

    fn handle_request(
        &mut self,
        now: Instant,
        machine: &mut Machine,
        call: CallId,
        message: Bytes,
    ) {
        let Some(incoming) = self.incoming.get_mut(&call) else {
            return machine.consume(call, 1, message.len());
        };
        if incoming.method == HOLD {
            return;
        }
        machine.consume(call, 1, message.len());
        incoming.requests.push(message);
        self.serve(now, machine, call);
    }

    /// Serves a call further: a request, or the end of the requests, has come.
    fn serve(&mut self, now: Instant, machine: &mut Machine, call: CallId) {
        let incoming = self.incoming.get_mut(&call).expect("a call in flight");
        match incoming.method {
            HOLD => {}
            TALK => {
                send(machine, call, &std::mem::take(&mut incoming.requests));
                if incoming.has_ended {
                    machine.end(end(call, Code::Ok, "", false));
                }
            }
            COUNT if incoming.has_ended => {
                let texts = incoming
                    .requests
                    .iter()
                    .map(|request| text::decode(request));
                let bytes: usize = texts.map(|text| text.expect("a Text").len()).sum();
                let counts = format!("{} {bytes}", incoming.requests.len());
                machine.reply(call, Metadata::new(), text::encode(&counts));
            }
            COUNT => {}
            _ if incoming.requests.len() > 1
                || (incoming.has_ended && incoming.requests.is_empty()) =>
            {
                machine.end(end(call, Code::Unimplemented, "not one request", false));
            }
            _ if !incoming.has_ended => {}
            method => {
                let request = incoming.requests[0].clone();
                self.serve_one(now, machine, call, (method, request));
            }
        }
    }

    /// Serves a call of a method with one request.
    fn serve_one(
        &mut self,
        now: Instant,
        machine: &mut Machine,
        call: CallId,
        (method, request): (u32, Bytes),
    ) {
        let Some(text) = text::decode(&request) else {
            return machine.end(end(call, Code::InvalidArgument, "no Text", false));
        };
        match method {
            ECHO => drop(machine.reply(call, Metadata::new(), request)),
            REPEAT => {
                machine.open_reply(call, Metadata::new());
                send(machine, call, &[request.clone(), request.clone(), request]);
                machine.end(end(call, Code::Ok, "", false));
            }
            NOTE => {
                one_way(now, machine, request);
                machine.reply(call, Metadata::new(), Bytes::new());
            }
            FAIL => machine.end(end(call, Code::FailedPrecondition, &text, false)),
            CALL => self.start_call(now, machine, call, &text),
            DRAIN => {
                machine.reply(call, Metadata::new(), text::encode("draining"));
                machine.drain();
                self.is_draining = true;
            }
            _ => assert_eq!(method, WAIT),
        }
    }

    /// Starts the call that a text names, for the handler of `by`.
    fn start_call(&mut self, now: Instant, machine: &mut Machine, by: CallId, text: &str) {
        let mut words = text.split(' ');
        let name = words.next().expect("a method");
        let method = 1 + NAMES.iter().position(|other| *other == name).expect(name) as u32;
        let messages: Vec<_> = words.map(text::encode).collect();
        let incoming = self.incoming.get_mut(&by).expect("a call in flight");
        if method == NOTE {
            one_way(now, machine, messages[0].clone());
            machine.reply(by, Metadata::new(), text::encode("ok"));
            return;
        }
        let is_stream = matches!(method, COUNT | TALK);
        let mut call = new_call(method, messages[0].clone());
        call.deadline = incoming.deadline;
        call.depth = incoming.depth + 1;
        let depth = call.depth.to_string();
        call.metadata.append("wawo-depth", depth).expect("valid");
        if is_stream {
            (call.message, call.end) = (None, false);
        }
        self.last_token += 1;
        let outgoing = OutgoingCall {
            by,
            method,
            replies: Vec::new(),
        };
        self.outgoing.insert(self.last_token, outgoing);
        match machine.start_call(now, call, self.last_token) {
            Ok(StartedCall::Sent(id)) => {
                incoming.outgoing = Some(id);
                if is_stream {
                    send(machine, id, &messages);
                    machine.finish(id);
                }
            }
            Ok(StartedCall::Waiting) => panic!("there is room for a call"),
            Err((token, _)) => self.reply_outcome(machine, token, "failed 14 refused"),
        }
    }

    /// Takes a message of a reply to a call of this side.
    fn handle_reply(&mut self, machine: &mut Machine, token: u32, message: Bytes) {
        let outgoing = self.outgoing.get_mut(&token).expect("a call in flight");
        outgoing.replies.push(message);
        if outgoing.replies.len() > 1 && matches!(outgoing.method, ECHO | COUNT) {
            let by = self.incoming.get(&outgoing.by);
            let call = by.and_then(|by| by.outgoing).expect("it is being served");
            machine.cancel(call);
            self.reply_outcome(machine, token, "failed 12");
        }
    }

    /// Takes the end of a call of this side.
    fn handle_end(&mut self, machine: &mut Machine, outcome: CallOutcome<u32>) {
        let Some(outgoing) = self.outgoing.get_mut(&outcome.token) else {
            return;
        };
        outgoing.replies.extend(outcome.message);
        let is_one = matches!(outgoing.method, ECHO | COUNT);
        let answer = match outcome.code {
            Code::Ok if is_one && outgoing.replies.len() != 1 => "failed 12".to_owned(),
            Code::Ok => {
                let texts = outgoing
                    .replies
                    .iter()
                    .map(|reply| text::decode(reply).expect("a Text"));
                std::iter::once("ok".to_owned())
                    .chain(texts)
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            code => {
                let refused = if outcome.refused { " refused" } else { "" };
                format!("failed {}{refused}", code.to_wire())
            }
        };
        self.reply_outcome(machine, outcome.token, &answer);
    }

    /// Replies to the call whose handler has made this call, which has ended, with the outcome.
    fn reply_outcome(&mut self, machine: &mut Machine, token: u32, outcome: &str) {
        if let Some(outgoing) = self.outgoing.remove(&token)
            && self.incoming.remove(&outgoing.by).is_some()
        {
            machine.reply(outgoing.by, Metadata::new(), text::encode(outcome));
        }
    }
}

fn new_call(method: u32, message: Bytes) -> NewCall {
    NewCall {
        service: SERVICE,
        method: MethodId(method),
        deadline: None,
        deadline_source: DeadlineSource::Handler,
        depth: 0,
        metadata: Metadata::new(),
        message: Some(message.into()),
        end: true,
        one_way: false,
    }
}

fn one_way(now: Instant, machine: &mut Machine, message: Bytes) {
    let call = NewCall {
        one_way: true,
        ..new_call(NOTE, message)
    };
    machine.send_one_way(now, call).expect("there is credit");
}

/// Longer than any vector waits.
pub(super) const LONGEST: Duration = Duration::from_secs(60);
