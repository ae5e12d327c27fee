//! The packets of a custom protocol, and the codec that reads and writes their bytes.

use bytes::{Bytes, BytesMut};
use wawo_protocol::{Code, MethodId, ServiceId};

use crate::status::BoxError;

/// Decodes bytes to packets, and encodes packets to bytes: a protocol of your own, for
/// [`CustomProtocol`](crate::CustomProtocol).
///
/// One codec serves both directions of one connection, so it may keep a state.
pub trait PacketCodec: Send + Unpin + 'static {
    /// The error of bytes that cannot be decoded, or of a packet that cannot be encoded. Its text is the
    /// reason for which the connection is closed.
    type Error: Into<BoxError>;

    /// Takes the first packet off `input`. `None` if it is not complete yet: then `input` stays
    /// unchanged, and the next call has more bytes after it.
    ///
    /// # Errors
    ///
    /// If the bytes are not a packet. The connection is closed.
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<CustomPacket>, Self::Error>;

    /// Appends the bytes of a packet to `output`. A packet that the protocol cannot express, such as a
    /// cancel in many protocols, may be left out.
    ///
    /// # Errors
    ///
    /// If the packet cannot be encoded. The connection is closed, and the appended bytes are thrown away.
    fn encode(&mut self, packet: CustomPacket, output: &mut BytesMut) -> Result<(), Self::Error>;
}

/// One packet of a custom protocol.
///
/// A codec makes the packets that it decodes with the constructors. Packets that it is given to encode
/// have all fields set, so that a reply also names the service and the method of its call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CustomPacket {
    /// The kind of the packet.
    pub kind: PacketKind,
    /// The service called. In packets that come, it is used only in those that begin a call.
    pub service: ServiceId,
    /// The method called. It is used as `service` is.
    pub method: MethodId,
    /// The number of the call. The side that makes a call chooses it, and the two sides choose
    /// independently: each may have a call 1 in flight. A number may be used again when its call has got
    /// a reply or was cancelled. One-way messages do not use it; there it is 0.
    pub call: u32,
    /// The encoded message. Empty in a failure and in a cancel.
    pub payload: Bytes,
}

/// The kind of a [`CustomPacket`]: what it does to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacketKind {
    /// Makes a call, with its only message. A reply or a failure follows.
    Request,
    /// Makes a call that gets no reply.
    OneWay,
    /// Replies to a request of the other side, which was served.
    Reply,
    /// Replies to a request of the other side, which failed.
    Failure {
        /// The code of the status; never [`Code::Ok`].
        code: Code,
        /// The text of the status. At most 4 KiB of a text that comes are kept, with a mark if it was
        /// longer.
        text: String,
    },
    /// The sender no longer wants the reply to its call. No packet follows; a reply that was under way
    /// already is ignored.
    Cancel,
}

impl CustomPacket {
    /// A request, as call number `call` of its sender.
    pub fn request(service: ServiceId, method: MethodId, call: u32, payload: Bytes) -> Self {
        Self {
            kind: PacketKind::Request,
            service,
            method,
            call,
            payload,
        }
    }

    /// A one-way message.
    pub fn one_way(service: ServiceId, method: MethodId, payload: Bytes) -> Self {
        Self {
            kind: PacketKind::OneWay,
            ..Self::request(service, method, 0, payload)
        }
    }

    /// The reply to call number `call` of the other side.
    pub fn reply(call: u32, payload: Bytes) -> Self {
        Self {
            kind: PacketKind::Reply,
            ..Self::request(ServiceId(0), MethodId(0), call, payload)
        }
    }

    /// The failure of call number `call` of the other side. A `code` of [`Code::Ok`] closes the
    /// connection.
    pub fn failure(call: u32, code: Code, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            kind: PacketKind::Failure { code, text },
            ..Self::reply(call, Bytes::new())
        }
    }

    /// Cancels call number `call` of the sender.
    pub fn cancel(call: u32) -> Self {
        Self {
            kind: PacketKind::Cancel,
            ..Self::reply(call, Bytes::new())
        }
    }
}
