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
    serving: HashMap<CallId, Serving>,
    /// Calls of this side, by token.
    made: HashMap<u32, Made>,
    tokens: u32,
    /// One-way messages whose handler waits: until when, and their cost.
    waiting: Vec<(Option<Instant>, u64)>,
    drains: bool,
}

/// A call of the tester.
struct Serving {
    method: u32,
    depth: u32,
    deadline: Option<Instant>,
    requests: Vec<Bytes>,
    has_ended: bool,
    /// The call that its handler makes.
    made: Option<CallId>,
}

/// A call that the handler of `by` makes.
struct Made {
    by: CallId,
    method: u32,
    replies: Vec<Bytes>,
}

/// The text of a message `Text`; `None` if the message is none.
fn text(message: &[u8]) -> Option<String> {
    let Some((tag, rest)) = message.split_first() else {
        return Some(String::new());
    };
    let (mut length, mut digits) = (0_usize, 0);
    loop {
        let byte = *rest.get(digits)?;
        length |= usize::from(byte & 0x7f) << (7 * digits);
        digits += 1;
        if byte < 0x80 {
            break;
        }
    }
    let text = rest[digits..].to_vec();
    (*tag == 0x0a && text.len() == length).then(|| String::from_utf8(text).expect("ASCII"))
}

/// A message `Text`.
fn message(text: &str) -> Bytes {
    let mut bytes = Vec::new();
    if !text.is_empty() {
        bytes.push(0x0a);
        let mut length = text.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.into()
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
            Event::Called(called) => self.called(now, machine, called),
            Event::Message { call, message } => match machine.token(call).copied() {
                Some(token) => {
                    machine.consume(call, 1, message.len());
                    self.replied(machine, token, message);
                }
                None => self.requested(now, machine, call, message),
            },
            Event::Finished(call) => {
                if let Some(serving) = self.serving.get_mut(&call) {
                    serving.has_ended = true;
                    self.serve(now, machine, call);
                }
            }
            Event::Cancelled(call) | Event::Expired(call) => {
                if let Some(made) = self.serving.remove(&call).and_then(|serving| serving.made) {
                    machine.cancel(made);
                }
            }
            Event::Replied { call, message, .. } => {
                if let (Some(token), Some(message)) = (machine.token(call).copied(), message) {
                    machine.consume(call, 1, message.len());
                    self.replied(machine, token, message);
                }
            }
            Event::Ended(outcome) => self.ended(machine, outcome),
            Event::Refused(token, _) => {
                self.answer(machine, token, "failed 14 refused");
            }
            _ => {}
        }
    }

    /// Ends what has waited long enough, and a connection that has drained.
    pub(super) fn look(&mut self, now: Instant, machine: &mut Machine) {
        self.waiting.retain(|(until, cost)| {
            let is_over = until.is_some_and(|until| until <= now);
            if is_over {
                machine.one_way_served(*cost);
            }
            !is_over
        });
        if self.drains && !machine.has_calls() {
            machine.close(CloseCode::Normal, "drained");
        }
    }

    /// The next time at which a one-way message has waited long enough.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|(until, _)| *until).min()
    }

    fn called(&mut self, now: Instant, machine: &mut Machine, called: InboundCall) {
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
        let serving = Serving {
            method: called.method.0,
            depth: depth.parse().expect("it was just parsed"),
            deadline: called.deadline,
            requests: Vec::new(),
            has_ended: called.end,
            made: None,
        };
        self.serving.insert(call, serving);
        if called.method.0 == TALK {
            machine.open_reply(call, Metadata::new());
        }
        match called.message {
            Some(message) => self.requested(now, machine, call, message),
            None => self.serve(now, machine, call),
        }
    }

    fn requested(&mut self, now: Instant, machine: &mut Machine, call: CallId, message: Bytes) {
        let Some(serving) = self.serving.get_mut(&call) else {
            return machine.consume(call, 1, message.len());
        };
        if serving.method == HOLD {
            return;
        }
        machine.consume(call, 1, message.len());
        serving.requests.push(message);
        self.serve(now, machine, call);
    }

    /// Goes on with a call: a request, or the end of the requests, has come.
    fn serve(&mut self, now: Instant, machine: &mut Machine, call: CallId) {
        let serving = self.serving.get_mut(&call).expect("a call in flight");
        match serving.method {
            HOLD => {}
            TALK => {
                send(machine, call, &std::mem::take(&mut serving.requests));
                if serving.has_ended {
                    machine.end(end(call, Code::Ok, "", false));
                }
            }
            COUNT if serving.has_ended => {
                let texts = serving.requests.iter().map(|request| text(request));
                let bytes: usize = texts.map(|text| text.expect("a Text").len()).sum();
                let counts = format!("{} {bytes}", serving.requests.len());
                machine.reply(call, Metadata::new(), message(&counts));
            }
            COUNT => {}
            _ if serving.requests.len() > 1
                || (serving.has_ended && serving.requests.is_empty()) =>
            {
                machine.end(end(call, Code::Unimplemented, "not one request", false));
            }
            _ if !serving.has_ended => {}
            method => {
                let request = serving.requests[0].clone();
                match text(&request) {
                    Some(text) => self.serve_one(now, machine, call, method, request, &text),
                    None => machine.end(end(call, Code::InvalidArgument, "no Text", false)),
                }
            }
        }
    }

    fn serve_one(
        &mut self,
        now: Instant,
        machine: &mut Machine,
        call: CallId,
        method: u32,
        request: Bytes,
        text: &str,
    ) {
        match method {
            ECHO => machine.reply(call, Metadata::new(), request),
            REPEAT => {
                machine.open_reply(call, Metadata::new());
                send(machine, call, &[request.clone(), request.clone(), request]);
                machine.end(end(call, Code::Ok, "", false));
            }
            NOTE => {
                one_way(now, machine, request);
                machine.reply(call, Metadata::new(), Bytes::new());
            }
            FAIL => machine.end(end(call, Code::FailedPrecondition, text, false)),
            CALL => self.make(now, machine, call, text),
            DRAIN => {
                machine.reply(call, Metadata::new(), message("draining"));
                machine.drain();
                self.drains = true;
            }
            _ => assert_eq!(method, WAIT),
        }
    }

    /// Makes the call that a text names.
    fn make(&mut self, now: Instant, machine: &mut Machine, by: CallId, text: &str) {
        let mut words = text.split(' ');
        let name = words.next().expect("a method");
        let method = 1 + NAMES.iter().position(|other| *other == name).expect(name) as u32;
        let messages: Vec<_> = words.map(message).collect();
        let serving = self.serving.get_mut(&by).expect("a call in flight");
        if method == NOTE {
            one_way(now, machine, messages[0].clone());
            return machine.reply(by, Metadata::new(), message("ok"));
        }
        let is_stream = matches!(method, COUNT | TALK);
        let mut call = new_call(method, messages[0].clone());
        call.deadline = serving.deadline;
        call.depth = serving.depth + 1;
        let depth = call.depth.to_string();
        call.metadata.append("wawo-depth", depth).expect("valid");
        if is_stream {
            (call.message, call.end) = (None, false);
        }
        self.tokens += 1;
        let made = Made {
            by,
            method,
            replies: Vec::new(),
        };
        self.made.insert(self.tokens, made);
        match machine.start_call(now, call, self.tokens) {
            Ok(StartedCall::Sent(id)) => {
                serving.made = Some(id);
                if is_stream {
                    send(machine, id, &messages);
                    machine.finish(id);
                }
            }
            Ok(StartedCall::Waiting) => panic!("there is room for a call"),
            Err((token, _)) => self.answer(machine, token, "failed 14 refused"),
        }
    }

    /// Takes a message of a reply to a call of this side.
    fn replied(&mut self, machine: &mut Machine, token: u32, message: Bytes) {
        let made = self.made.get_mut(&token).expect("a call in flight");
        made.replies.push(message);
        if made.replies.len() > 1 && matches!(made.method, ECHO | COUNT) {
            let by = self.serving.get(&made.by);
            let call = by.and_then(|by| by.made).expect("it is being served");
            machine.cancel(call);
            self.answer(machine, token, "failed 12");
        }
    }

    fn ended(&mut self, machine: &mut Machine, outcome: CallOutcome<u32>) {
        let Some(made) = self.made.get_mut(&outcome.token) else {
            return;
        };
        made.replies.extend(outcome.message);
        let is_one = matches!(made.method, ECHO | COUNT);
        let answer = match outcome.code {
            Code::Ok if is_one && made.replies.len() != 1 => "failed 12".to_owned(),
            Code::Ok => {
                let texts = made
                    .replies
                    .iter()
                    .map(|reply| text(reply).expect("a Text"));
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
        self.answer(machine, outcome.token, &answer);
    }

    /// Answers the call whose handler made a call, which has ended.
    fn answer(&mut self, machine: &mut Machine, token: u32, outcome: &str) {
        if let Some(made) = self.made.remove(&token)
            && self.serving.remove(&made.by).is_some()
        {
            machine.reply(made.by, Metadata::new(), message(outcome));
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
