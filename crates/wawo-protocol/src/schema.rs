//! The facts of a method on which both sides must agree, and a hash by which they find out whether
//! they do.
//!
//! A service is described in three places: by the generator, at build time; by a program that makes
//! a service at run time; and in the table of services in a hello. All three use this module, so one
//! schema has one fingerprint wherever it was read.

use crate::MethodId;

/// The number of messages that go each way in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a schema can say no more than these"
)]
pub enum Shape {
    /// One request, one reply.
    Unary,
    /// One request, a stream of replies.
    ServerStreaming,
    /// A stream of requests, one reply.
    ClientStreaming,
    /// A stream each way.
    BidiStreaming,
    /// One request and nothing back, not even a status.
    OneWay,
}

impl Shape {
    /// The shape of a method that is not one-way, by which of its sides are streams.
    pub const fn of_streams(requests: bool, replies: bool) -> Self {
        match (requests, replies) {
            (false, false) => Self::Unary,
            (false, true) => Self::ServerStreaming,
            (true, false) => Self::ClientStreaming,
            (true, true) => Self::BidiStreaming,
        }
    }

    /// Whether the caller sends a stream.
    pub const fn streams_requests(self) -> bool {
        matches!(self, Self::ClientStreaming | Self::BidiStreaming)
    }

    /// Whether the callee replies with a stream.
    pub const fn streams_replies(self) -> bool {
        matches!(self, Self::ServerStreaming | Self::BidiStreaming)
    }

    /// Whether there is a stream in either direction, so that a call may last long.
    pub const fn is_stream(self) -> bool {
        self.streams_requests() || self.streams_replies()
    }

    /// The name of the variant, which stands in fingerprints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unary => "Unary",
            Self::ServerStreaming => "ServerStreaming",
            Self::ClientStreaming => "ClientStreaming",
            Self::BidiStreaming => "BidiStreaming",
            Self::OneWay => "OneWay",
        }
    }
}

/// Computes the fingerprint of a service: a hash of its name and, for each method in the order of
/// the schema, of its name, id, shape and types (docs/protocol.md, "Service table").
///
/// ```
/// use wawo_protocol::{Fingerprint, MethodId, Shape};
///
/// let mut fingerprint = Fingerprint::new("chat.v1.Chat");
/// let id = MethodId::of("Join");
/// fingerprint.add_method("Join", id, Shape::Unary, "chat.v1.JoinRequest", "chat.v1.JoinReply");
/// assert_ne!(fingerprint.value(), Fingerprint::new("chat.v1.Chat").value());
/// ```
#[derive(Debug, Clone)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of a service without methods.
    pub fn new(full_name: &str) -> Self {
        let mut fingerprint = Self(0xcbf2_9ce4_8422_2325);
        fingerprint.add(full_name);
        fingerprint.add("\n");
        fingerprint
    }

    /// Adds the next method; `input` and `output` are the full names of its messages.
    pub fn add_method(
        &mut self,
        name: &str,
        id: MethodId,
        shape: Shape,
        input: &str,
        output: &str,
    ) {
        let shape = shape.name();
        self.add(&format!("{name}|{id}|{shape}|{input}|{output}\n"));
    }

    /// The hash of the name and of all methods that were added.
    pub const fn value(&self) -> u64 {
        self.0
    }

    /// FNV-1a with 64 bits.
    fn add(&mut self, text: &str) {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
