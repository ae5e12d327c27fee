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

#[cfg(test)]
mod tests {
    use super::{Fingerprint, Shape};
    use crate::MethodId;

    #[test]
    fn the_hash_of_a_fingerprint_is_fnv_1a() {
        // A value published with the hash.
        let mut empty = Fingerprint(0xcbf2_9ce4_8422_2325);
        empty.add("foobar");
        assert_eq!(empty.value(), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_fingerprint_depends_on_all_that_a_schema_says_of_a_method() {
        let of = |name, id, shape, input, output| {
            let mut fingerprint = Fingerprint::new("a.A");
            fingerprint.add_method(name, MethodId(id), shape, input, output);
            fingerprint.value()
        };
        let first = of("B", 1, Shape::Unary, "a.In", "a.Out");
        assert_eq!(first, of("B", 1, Shape::Unary, "a.In", "a.Out"));
        for other in [
            of("C", 1, Shape::Unary, "a.In", "a.Out"),
            of("B", 2, Shape::Unary, "a.In", "a.Out"),
            of("B", 1, Shape::OneWay, "a.In", "a.Out"),
            of("B", 1, Shape::Unary, "a.Other", "a.Out"),
            of("B", 1, Shape::Unary, "a.In", "a.Other"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn a_shape_follows_from_its_streams() {
        for shape in [
            Shape::Unary,
            Shape::ServerStreaming,
            Shape::ClientStreaming,
            Shape::BidiStreaming,
        ] {
            let (requests, replies) = (shape.streams_requests(), shape.streams_replies());
            assert_eq!(Shape::of_streams(requests, replies), shape);
            assert_eq!(shape.is_stream(), shape != Shape::Unary);
        }
        assert!(!Shape::OneWay.is_stream());
    }
}
