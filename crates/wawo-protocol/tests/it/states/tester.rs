//! The tester of state vectors: it sends what a vector says, and compares what comes. It does no I/O, so
//! that a state machine and a live connection are tested by the same code.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use wawo_protocol::{
    CallId, Limits, Side,
    packet::{Chunk, CreditOf, PREFACE, Packet, decode, decode_preface},
};

use super::vector::{Step, Vector, hex, put_bytes};

/// The next thing that the owner of a tester has to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Send these bytes to the side under test.
    Send(Bytes),
    /// Send no more bytes.
    Finish,
    /// Read, and call [`Tester::receive`] or [`Tester::receive_end`].
    Read,
    /// The vector is done.
    Done,
}

pub(crate) struct Tester {
    side: Side,
    vector: Vector,
    /// The step that is due.
    at: usize,
    /// Whether the ping of a `nothing` has left.
    has_asked: bool,
    input: BytesMut,
    has_preface: bool,
    /// Answers to pings.
    output: BytesMut,
    events: Vec<Event>,
    /// Messages of which the first chunks have come.
    partial_messages: HashMap<u32, BytesMut>,
    /// The sums of credit, by what they are for.
    credit: HashMap<String, u64>,
    has_closed: bool,
    /// Whether the tester has sent anything.
    has_sent: bool,
    is_over: bool,
}

/// Something that the side under test has done.
#[derive(Debug)]
struct Event {
    /// Events of one subject keep their order: a call, or the connection.
    subject: String,
    words: String,
    depth: Option<String>,
    timeout_ms: Option<u32>,
}

/// The data of the pings of a `nothing`.
const FENCE: u64 = 0x7e57_7e57_7e57_7e57;

/// Adds the steps of a vector that does not end the connection: nothing more has happened, and a close of
/// the tester ends it.
fn complete(steps: &mut Vec<Step>) {
    let last = match steps.last() {
        Some(Step::Gets(event)) => event.clone(),
        _ => String::new(),
    };
    if last == "eof" || last.starts_with("close") {
        return;
    }
    if last != "nothing" {
        steps.push(Step::Gets("nothing".to_owned()));
    }
    steps.push(Step::Send(1, "00000000 05 00 0000 00000000".to_owned()));
    steps.push(Step::Gets("eof".to_owned()));
}

impl Tester {
    /// A tester with this side of a new connection.
    pub(crate) fn new(side: Side, mut vector: Vector) -> Self {
        complete(&mut vector.steps);
        let mut output = BytesMut::new();
        if vector.has_opening {
            output.extend_from_slice(&PREFACE);
            put_bytes("00000000 01 00 0000 00000000", side, &mut output);
        }
        Self {
            side,
            vector,
            at: 0,
            has_asked: false,
            input: BytesMut::new(),
            has_preface: false,
            output,
            events: Vec::new(),
            partial_messages: HashMap::new(),
            credit: HashMap::new(),
            has_closed: false,
            has_sent: false,
            is_over: false,
        }
    }

    /// The next action.
    ///
    /// # Errors
    ///
    /// If the side under test did something else than the vector says.
    pub(crate) fn next(&mut self) -> Result<Action, String> {
        loop {
            if !self.output.is_empty() {
                self.has_sent = true;
                return Ok(Action::Send(self.output.split().freeze()));
            }
            let Some(step) = self.vector.steps.get(self.at).cloned() else {
                return Ok(Action::Done);
            };
            match step {
                Step::Send(times, words) => {
                    for _ in 0..times {
                        put_bytes(&words, self.side, &mut self.output);
                    }
                    self.at += 1;
                }
                Step::Finish => {
                    self.at += 1;
                    return Ok(Action::Finish);
                }
                Step::Gets(event) => match self.find(&event)? {
                    true => self.at += 1,
                    false if !self.output.is_empty() => {}
                    false if self.is_over => {
                        return Err(format!("{event}: the bytes ended, {:?}", self.events));
                    }
                    false => return Ok(Action::Read),
                },
            }
        }
    }

    /// Whether an expected event has come; takes it off.
    fn find(&mut self, expected: &str) -> Result<bool, String> {
        let words: Vec<_> = expected.split_whitespace().collect();
        match words[..] {
            ["nothing"] => self.find_nothing(),
            ["eof"] if self.has_closed => Err("a close packet, not the end alone".to_owned()),
            ["eof"] => Ok(self.is_over && self.is_quiet()?),
            ["credit", of, least] => {
                let least: u64 = least.parse().expect("a number");
                Ok(self.credit.get(of).is_some_and(|sum| *sum >= least))
            }
            ["close", _] => Ok(self.take("connection", expected, &[])? && self.is_over),
            ["ping" | "pong" | "drain", ..] => self.take("connection", expected, &[]),
            ["message", call, ref bytes @ ..] => {
                let mut message = BytesMut::new();
                put_bytes(&bytes.join(" "), self.side, &mut message);
                let words = format!("message {call} {}", hex(&message));
                self.take(call, words.trim_end(), &[])
            }
            ["call", call, service, method, ref more @ ..] => {
                self.take(call, &format!("call {call} {service} {method}"), more)
            }
            [_, call, ..] => self.take(call, expected, &[]),
            _ => panic!("an event: {expected}"),
        }
    }

    /// Asks by a ping whether anything is under way; true when the pong is here and nothing else.
    fn find_nothing(&mut self) -> Result<bool, String> {
        let pong = format!("pong {FENCE:016x}");
        if !std::mem::replace(&mut self.has_asked, true) {
            Packet::Ping(FENCE).encode(&mut self.output);
            return Ok(false);
        }
        if !self.events.iter().any(|event| event.words == pong) {
            return Ok(false);
        }
        self.has_asked = false;
        self.events.retain(|event| event.words != pong);
        self.is_quiet()
    }

    fn is_quiet(&self) -> Result<bool, String> {
        match &self.events[..] {
            [] => Ok(true),
            events => Err(format!("nothing was expected: {events:?}")),
        }
    }

    /// Takes the first event of a subject, which must be this one.
    fn take(&mut self, subject: &str, words: &str, more: &[&str]) -> Result<bool, String> {
        let mut events = self.events.iter();
        let Some(at) = events.position(|event| event.subject == subject) else {
            return Ok(false);
        };
        // A close is complete only with the end of the bytes, so it is looked at until then.
        let event = &self.events[at];
        if event.words != words || !more.iter().all(|word| event.has(word)) {
            return Err(format!("{words} {more:?} was expected: {event:?}"));
        }
        if !words.starts_with("close") || self.is_over {
            self.events.remove(at);
        }
        Ok(true)
    }

    /// Takes bytes of the side under test.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.input.extend_from_slice(bytes);
        if !self.has_preface {
            self.has_preface =
                decode_preface(&mut self.input).map_err(|error| error.to_string())?;
        }
        while self.has_preface
            && let Some(packet) =
                decode(&mut self.input, &Limits::MINIMUM).map_err(|error| error.to_string())?
        {
            if self.has_closed {
                return Err(format!("{packet:?} after a close packet"));
            }
            self.handle(packet);
        }
        Ok(())
    }

    /// Records that no more bytes come.
    pub(crate) fn receive_end(&mut self) {
        self.is_over = true;
    }

    fn handle(&mut self, packet: Packet) {
        match packet {
            Packet::Hello(_) => {
                let may_come = self.side == Side::Accepting || self.has_sent;
                assert!(may_come, "the accepting side says hello first");
            }
            Packet::Ping(data) if self.vector.answers_pings => {
                Packet::Pong(data).encode(&mut self.output);
            }
            Packet::Ping(_) => self.add("connection", "ping"),
            Packet::Pong(data) => self.add("connection", format!("pong {data:016x}")),
            Packet::Drain { accepted } => self.add("connection", format!("drain {accepted}")),
            Packet::Move(relocation) => {
                let (from, to) = (relocation.not_before(), relocation.not_after());
                let (from, to) = (from.as_millis(), to.as_millis());
                let words = format!("move {from} {to} {}", relocation.address());
                self.add("connection", words.trim_end());
            }
            Packet::Unknown(kind) => self.add("connection", format!("kind {kind}")),
            Packet::Close { code, text } => {
                assert!(text.len() <= 1_024);
                self.has_closed = true;
                self.add("connection", format!("close {}", code.to_wire()));
            }
            Packet::Call(call) => {
                let name = self.name(call.call);
                let (service, method) = (call.service, call.method);
                self.add(&name, format!("call {name} {service} {method}"));
                let event = self.events.last_mut().expect("it was just added");
                event.depth = call.metadata.text("wawo-depth").map(str::to_owned);
                event.timeout_ms = call.timeout_ms;
                if let Some(chunk) = call.chunk {
                    self.take_chunk(call.call, chunk);
                }
            }
            Packet::Reply(reply) => {
                if let Some(chunk) = reply.chunk {
                    self.take_chunk(Some(reply.call), chunk);
                }
            }
            Packet::Message { call, chunk, .. } => self.take_chunk(Some(call), chunk),
            Packet::End(end) => {
                assert!(end.text.len() <= 4_096);
                self.partial_messages.remove(&end.call.to_wire());
                let name = self.name(Some(end.call));
                let refused = if end.refused { " refused" } else { "" };
                let code = end.code.to_wire();
                self.add(&name, format!("end {name} {code}{refused}"));
            }
            Packet::Cancel(call) => {
                let name = self.name(Some(call));
                self.add(&name, format!("cancel {name}"));
            }
            Packet::Credit { of, bytes } => {
                let of = match of {
                    CreditOf::Call(call) => self.name(Some(call)),
                    CreditOf::Requests => "requests".to_owned(),
                    CreditOf::Replies => "replies".to_owned(),
                };
                *self.credit.entry(of).or_default() += u64::from(bytes);
            }
        }
    }

    fn take_chunk(&mut self, call: Option<CallId>, chunk: Chunk) {
        let (id, name) = (call.map_or(0, CallId::to_wire), self.name(call));
        let mut whole = self.partial_messages.remove(&id).unwrap_or_default();
        whole.extend_from_slice(&chunk.bytes);
        if chunk.more {
            self.partial_messages.insert(id, whole);
            return;
        }
        let words = format!("message {name} {}", hex(&whole));
        self.add(&name, words.trim_end());
        if chunk.end {
            self.add(&name, format!("end {name} 0"));
        }
    }

    fn add(&mut self, subject: &str, words: impl Into<String>) {
        self.events.push(Event {
            subject: subject.to_owned(),
            words: words.into(),
            depth: None,
            timeout_ms: None,
        });
    }

    /// The name of a call in the vectors.
    fn name(&self, call: Option<CallId>) -> String {
        match call {
            None => "0".to_owned(),
            Some(call) if call.side() == self.side => format!("T{}", call.index()),
            Some(call) => format!("U{}", call.index()),
        }
    }
}

impl Event {
    /// Whether a call has what a further word asks for.
    fn has(&self, word: &str) -> bool {
        if let Some(depth) = word.strip_prefix("depth=") {
            return self.depth.as_deref() == Some(depth);
        }
        let most = word.strip_prefix("timeout<=").expect("depth or timeout");
        let most: u32 = most.parse().expect("a number");
        self.timeout_ms.is_some_and(|millis| millis <= most)
    }
}
