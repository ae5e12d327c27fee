//! The packets of version 1: one variant per kind, and how each reads and writes itself.
//!
//! | kind | packet | says | from |
//! |---|---|---|---|
//! | 1 | [`Hello`](Packet::Hello) | limits, claimed name, credentials, services | both, first |
//! | 2, 3 | [`Ping`](Packet::Ping), [`Pong`](Packet::Pong) | are you there? yes | both |
//! | 4 | [`Drain`](Packet::Drain) | no calls after the n-th | both |
//! | 5 | [`Close`](Packet::Close) | the connection is over, and why | both, last |
//! | 6 | [`Call`](Packet::Call) | starts a call | caller |
//! | 7 | [`Reply`](Packet::Reply) | begins the reply | callee |
//! | 8 | [`Message`](Packet::Message) | one more message of a stream, or more of a message | both |
//! | 9 | [`End`](Packet::End) | status, or no more requests | both |
//! | 10 | [`Cancel`](Packet::Cancel) | the reply is no longer wanted | caller |
//! | 11 | [`Credit`](Packet::Credit) | more bytes may be sent | both |
//! | 128 | [`Move`](Packet::Move) | connect anew: when, and where | the accepting side |
//! | 129 to 255 | [`Unknown`](Packet::Unknown) | nothing that this side knows: it is skipped | both |

mod batch;
mod cut;
mod decode;
mod encode;
mod fast;
mod header;
mod one_way;

use bytes::Bytes;

pub use crate::packet::{
    batch::{Batch, BatchBuilder},
    decode::{PREFACE, decode, decode_preface, missing},
    header::HEADER_BYTES,
    one_way::OneWayBatch,
};
pub(crate) use crate::packet::{
    cut::mark,
    encode::{BodyFlags, CallHeader, put_call, put_chunk, put_reply},
    fast::{ChunkHeader, fast_call, fast_message, fast_reply, partial_chunk},
};
use crate::{
    code::{CloseCode, Code},
    hello::Hello,
    id::{CallId, MethodId, ServiceId},
    metadata::Metadata,
    relocation::Relocation,
};

/// One unit on the wire: a header of 12 bytes and a payload (docs/protocol.md, "Packets").
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "version 1 has these kinds, and those that are skipped"
)]
pub enum Packet {
    /// The first packet of each side.
    Hello(Box<Hello>),
    /// Asks for a [`Packet::Pong`] with the same eight bytes.
    Ping(u64),
    /// Answers a [`Packet::Ping`].
    Pong(u64),
    /// Only the first `accepted` calls of the connection will be served.
    Drain {
        /// The number of calls that were accepted since the connection began.
        accepted: u64,
    },
    /// The last packet: the connection is over.
    Close {
        /// Why.
        code: CloseCode,
        /// Why, in words.
        text: String,
    },
    /// Starts a call.
    Call(Call),
    /// Begins the reply.
    Reply(Reply),
    /// A message, or a chunk of one.
    Message {
        /// The call to which it belongs.
        call: CallId,
        /// Its bytes.
        chunk: Chunk,
        /// Whether it continues the message of the packet before it in this direction.
        continues: bool,
    },
    /// Ends a direction of a call: with the status from the callee, with nothing from the caller.
    End(End),
    /// The caller no longer wants the reply.
    Cancel(CallId),
    /// The other side may send more bytes.
    Credit {
        /// The messages for which the credit is.
        of: CreditOf,
        /// The number of further bytes, at least one.
        bytes: u32,
    },
    /// The other side is asked to connect anew.
    Move(Relocation),
    /// A packet of a kind from 129 on, which this side does not know and skips. Its contents are lost.
    Unknown(u8),
}

/// The messages that a [`Packet::Credit`] is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the credits of version 1")]
pub enum CreditOf {
    /// The messages of this call that the sender of the packet receives.
    Call(CallId),
    /// Requests of all calls, one-way messages included.
    Requests,
    /// Replies of all calls.
    Replies,
}

/// The packet that starts a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the fields of version 1")]
pub struct Call {
    /// The id; `None` for a one-way call in a single packet, since no later packet refers to it.
    pub call: Option<CallId>,
    /// The service called.
    pub service: ServiceId,
    /// Its method.
    pub method: MethodId,
    /// Milliseconds left for the call; `None` for the default that the caller announced.
    pub timeout_ms: Option<u32>,
    /// Whether no reply is wanted, not even a status.
    pub one_way: bool,
    /// Metadata of the call.
    pub metadata: Metadata,
    /// The first message, or its first chunk; `None` if no message comes with the call.
    pub chunk: Option<Chunk>,
}

/// The packet that begins a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the fields of version 1")]
pub struct Reply {
    /// The call to which it replies.
    pub call: CallId,
    /// Metadata of the reply.
    pub metadata: Metadata,
    /// The first message, or its first chunk; `None` if no message comes with it.
    pub chunk: Option<Chunk>,
}

/// A message, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the fields of version 1")]
pub struct Chunk {
    /// The bytes in this packet.
    pub bytes: Bytes,
    /// Set on the first of several chunks: the length of the whole message.
    pub total: Option<u32>,
    /// Whether the next [`Packet::Message`] of this direction continues the message.
    pub more: bool,
    /// Whether the direction ends successfully with this message.
    pub end: bool,
}

impl Chunk {
    /// The length of the whole message, if this is its first chunk.
    pub(crate) fn message_len(&self) -> usize {
        self.total.map_or(self.bytes.len(), |total| total as usize)
    }
}

/// The packet that ends a direction of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the fields of version 1")]
pub struct End {
    /// The call.
    pub call: CallId,
    /// The outcome; [`Code::Ok`] from a caller.
    pub code: Code,
    /// Whether the call was certainly not served, and may be made again.
    pub refused: bool,
    /// Metadata that follows the last message.
    pub metadata: Metadata,
    /// The outcome in words.
    pub text: String,
    /// More about the outcome, for the layers above.
    pub details: Bytes,
}

impl Packet {
    /// The kind by name, for errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Ping(_) => "ping",
            Self::Pong(_) => "pong",
            Self::Drain { .. } => "drain",
            Self::Close { .. } => "close",
            Self::Call(_) => "call",
            Self::Reply(_) => "reply",
            Self::Message { .. } => "message",
            Self::End(_) => "end",
            Self::Cancel(_) => "cancel",
            Self::Credit { .. } => "credit",
            Self::Move(_) => "move",
            Self::Unknown(_) => "unknown",
        }
    }
}
