//! Bad input as a table: the bytes sent, the state in which they are sent, and the exact outcome.
//!
//! The rows are in the files of this module, each with its outcome. Where many packets break one
//! rule, one row covers all of them.

mod callee;
mod calls;
mod head;
mod hello;
mod metadata;
mod payload;

use std::time::Duration;

use tokio::time::timeout;
use wawo::Config;
use wawo_protocol::packet::{PREFACE, Packet};

use crate::{
    raw::Raw,
    target::Target,
    wire::{
        CALL, CLOSE, END_OF, HELLO, MESSAGE, MORE, NO_MESSAGE, ONE_WAY, REPLY, Wire, call, packet,
        stream_with, unary,
    },
};

/// One row of the table.
struct Case {
    name: String,
    state: State,
    /// The bytes that are sent in this state.
    bytes: Vec<u8>,
    outcome: Outcome,
}

/// The progress of the connection. The raw peer connects, so its calls have the ids 1, 3, 5 and so
/// on.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing was sent.
    Nothing,
    /// The preface was sent.
    Preface,
    /// The hellos are exchanged.
    Open,
    /// Call 1, unary, is being served.
    Unary,
    /// Call 1 has a stream in each direction; its handler reads nothing.
    Stream,
    /// Call 1 has sent the first byte of a three-byte message.
    Chunk,
    /// Call 1 is one-way, and has sent the first byte of a three-byte message.
    OneWayChunk,
    /// Call 1 was answered.
    Answered,
    /// The handler of call 1 has called back: call 2 is unary.
    Called,
    /// The same, but call 2 wants a stream of replies.
    CalledForStream,
    /// The same, and the stream of replies has begun.
    Replying,
    /// The same, and the first byte of a three-byte message has been sent.
    ReplyChunk,
    /// Call 2 was answered with an error, and so was call 1.
    Failed,
    /// The raw peer has closed the connection.
    Closed,
}

/// The expected outcome.
enum Outcome {
    /// The connection is closed, with this code and text.
    Close(u16, String),
    /// A call ends with this code and text, and the connection stays open.
    End(u32, u16, String),
    /// Call 1 is answered with this message, and the connection stays open.
    Reply(Vec<u8>),
    /// Nothing happens, and the connection stays open.
    Ignored,
    /// The connection is over, without a close packet.
    Over,
}

/// Makes a row.
fn case(
    name: impl Into<String>,
    state: State,
    bytes: impl Into<Vec<u8>>,
    outcome: Outcome,
) -> Case {
    Case {
        name: name.into(),
        state,
        bytes: bytes.into(),
        outcome,
    }
}

/// The connection is closed with `protocol violation`.
fn violation(text: impl Into<String>) -> Outcome {
    Outcome::Close(1, text.into())
}

/// The connection is closed with `limit exceeded`.
fn over_limit(text: impl Into<String>) -> Outcome {
    Outcome::Close(2, text.into())
}

/// Call 1 ends.
fn ended(code: u16, text: impl Into<String>) -> Outcome {
    Outcome::End(1, code, text.into())
}

/// All kinds of packets, by number and name.
const KINDS: [(u8, &str); 12] = [
    (HELLO, "hello"),
    (crate::wire::PING, "ping"),
    (crate::wire::PONG, "pong"),
    (crate::wire::DRAIN, "drain"),
    (CLOSE, "close"),
    (CALL, "call"),
    (REPLY, "reply"),
    (MESSAGE, "message"),
    (END_OF, "end"),
    (crate::wire::CANCEL, "cancel"),
    (crate::wire::CREDIT, "credit"),
    (crate::wire::MOVE, "move"),
];

/// A valid packet of each kind, for an open connection.
fn right(kind: u8) -> Wire {
    let right = packet(kind);
    match kind {
        CALL => unary(1, crate::wire::SAY, "hi"),
        REPLY | MESSAGE | END_OF | crate::wire::CANCEL => right.call(1),
        crate::wire::CREDIT => right.u32(1024),
        HELLO | CLOSE => right,
        _ => right.u64(0),
    }
}

fn all() -> Vec<Case> {
    let mut all = Vec::new();
    for cases in [
        head::cases,
        payload::cases,
        hello::cases,
        metadata::cases,
        calls::cases,
        callee::cases,
    ] {
        all.extend(cases());
    }
    all
}

impl State {
    /// Brings a new connection to this state.
    async fn enter(self, raw: &mut Raw) {
        match self {
            Self::Nothing => return,
            Self::Preface => return raw.send(PREFACE).await.unwrap(),
            _ => raw.greet().await,
        }
        for step in self.steps() {
            raw.send(step).await.unwrap();
        }
        match self {
            Self::Answered => drop(raw.replied(1).await),
            Self::Stream => {
                let begun = raw.next().await;
                assert!(matches!(begun, Some(Packet::Reply(_))), "{begun:?}");
            }
            Self::Called | Self::CalledForStream => until_called(raw).await,
            Self::Replying | Self::ReplyChunk => {
                until_called(raw).await;
                let begun = packet(REPLY).call(2).flags(NO_MESSAGE);
                raw.send(begun).await.unwrap();
                if matches!(self, Self::ReplyChunk) {
                    let chunk = packet(MESSAGE).call(2).flags(MORE);
                    raw.send(chunk.u32(3).bytes("a")).await.unwrap();
                }
                raw.goes_on().await;
            }
            Self::Failed => {
                until_called(raw).await;
                raw.send(packet(END_OF).call(2).code(10)).await.unwrap();
                raw.ended(1).await;
            }
            _ => {}
        }
    }

    fn steps(self) -> Vec<Wire> {
        use crate::wire::{ACT, NOTE, SAY, TALK};
        match self {
            Self::Nothing | Self::Preface | Self::Open => vec![],
            Self::Unary => vec![unary(1, ACT, "wait")],
            Self::Stream => vec![stream_with(1, TALK, ("do", "hold"))],
            Self::Chunk => vec![call(1, SAY, MORE).u32(3).bytes("a")],
            Self::OneWayChunk => vec![call(1, NOTE, MORE | ONE_WAY).u32(3).bytes("a")],
            Self::Answered => vec![unary(1, SAY, "hi")],
            Self::Called | Self::Failed => vec![unary(1, ACT, "back")],
            Self::CalledForStream | Self::Replying | Self::ReplyChunk => {
                vec![unary(1, ACT, "back stream")]
            }
            Self::Closed => vec![packet(CLOSE)],
        }
    }
}

async fn until_called(raw: &mut Raw) {
    match raw.next().await {
        Some(Packet::Call(call)) => assert_eq!(call.call.map(|id| id.to_wire()), Some(2)),
        other => panic!("a call, not {other:?}"),
    }
}

impl Case {
    async fn run(self, mut raw: Raw) {
        self.state.enter(&mut raw).await;
        // The connection may already be over.
        let sent = raw.send(self.bytes).await;
        let name = &self.name;
        match self.outcome {
            Outcome::Close(code, text) => {
                let (found, why) = raw.closed().await;
                assert_eq!((found.to_wire(), why), (code, text), "{name}");
            }
            Outcome::End(call, code, text) => {
                let end = raw.ended(call).await;
                assert_eq!((end.code.to_wire(), end.text), (code, text), "{name}");
                raw.goes_on().await;
            }
            Outcome::Reply(message) => {
                assert_eq!(raw.replied(1).await, message, "{name}");
                raw.goes_on().await;
            }
            Outcome::Ignored => {
                let mut came = raw.goes_on().await;
                if matches!(self.state, State::Preface) {
                    let hello = came.remove(0);
                    assert!(matches!(hello, Packet::Hello(_)), "{name}: {hello:?}");
                }
                assert_eq!(came, [], "{name} ({sent:?})");
            }
            Outcome::Over => assert_eq!(raw.rest().await, [], "{name}"),
        }
    }
}

/// Runs all rows against one server, each over its own connection. Reports every failed row.
async fn run_all(mut target: Target) {
    let honest = target.honest().await;
    let mut failed = Vec::new();
    for case in all() {
        let name = case.name.clone();
        let run = tokio::spawn(case.run(target.raw().await));
        let ended = honest.beside(timeout(HANGS, run)).await;
        if !matches!(ended, Ok(Ok(()))) {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    honest.leave().await;
}

/// A row that takes longer waits for something that never comes.
const HANGS: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn each_bad_input_has_its_outcome_over_memory() {
    run_all(Target::memory(Config::default()).await).await;
}

#[tokio::test]
async fn each_bad_input_has_its_outcome_over_tcp() {
    run_all(Target::tcp(Config::default()).await).await;
}

#[test]
fn there_are_at_least_three_hundred_cases_and_no_two_of_one_name() {
    let cases = all();
    println!("{} cases", cases.len());
    assert!(cases.len() >= 300, "{}", cases.len());
    let mut names: Vec<_> = cases.iter().map(|case| &case.name).collect();
    names.sort();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None);
}
