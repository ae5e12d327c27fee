//! What a protocol of the user's own says in a packet, and who reads and writes its bytes.

use bytes::{Bytes, BytesMut};
use wawo_protocol::{Code, MethodId, ServiceId};

use crate::status::BoxError;

/// Bytes to packets and back: a protocol of your own, for [`CustomProtocol`](crate::CustomProtocol).
///
/// One codec serves one connection, both directions, so it may keep what it knows of it.
pub trait PacketCodec: Send + Unpin + 'static {
    /// What is wrong with bytes that came, or with a packet that is to leave. Its text is the
    /// reason for which the connection is closed.
    type Error: Into<BoxError>;

    /// Takes the first packet off `input`. `None` if it is not whole yet: then `input` stays as
    /// it is, and the next call finds more bytes behind it.
    ///
    /// # Errors
    ///
    /// If the bytes are no packet. The connection is closed.
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<CustomPacket>, Self::Error>;

    /// Appends the bytes of a packet to `output`. A packet that the protocol has no words for,
    /// such as a cancel in many, may be left out.
    ///
    /// # Errors
    ///
    /// If the packet cannot be written. The connection is closed, and what was appended is
    /// thrown away.
    fn encode(&mut self, packet: CustomPacket, output: &mut BytesMut) -> Result<(), Self::Error>;
}

/// One packet of a protocol of the user's own.
///
/// What a codec decodes is made by the constructors; what it is given to encode has all fields
/// set, so that a reply also tells the service and the method of its call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CustomPacket {
    /// What the packet says.
    pub kind: PacketKind,
    /// The service called. In packets that come, it is read in those that begin a call only.
    pub service: ServiceId,
    /// The method called; like `service`.
    pub method: MethodId,
    /// The number of the call. The side that makes a call chooses it, and the two sides choose
    /// apart from each other: each may have a call 1 in flight. A number may be used again when
    /// its call was answered or cancelled. It means nothing in a one-way message; there it is 0.
    pub call: u32,
    /// The encoded message. Empty in a failure and in a cancel.
    pub payload: Bytes,
}

/// What a [`CustomPacket`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacketKind {
    /// Makes a call, with its only message. It is answered by a reply or a failure.
    Request,
    /// Makes a call that is never answered.
    OneWay,
    /// Answers a request of the other side, which was served.
    Reply,
    /// Answers a request of the other side, which failed.
    Failure {
        /// How; never [`Code::Ok`].
        code: Code,
        /// The same in words. Of what comes, 4 KiB are kept, with a mark if that is not all.
        text: String,
    },
    /// The sender no longer wants the answer to its call. Nothing answers it; an answer that was
    /// under way already is ignored.
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

    /// The end of the sender's interest in its call number `call`.
    pub fn cancel(call: u32) -> Self {
        Self {
            kind: PacketKind::Cancel,
            ..Self::reply(call, Bytes::new())
        }
    }
}
