//! The causes that end a connection.

mod foreign;

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use thiserror::Error;
use wawo_settings::ConfigError;

use crate::{
    code::CloseCode,
    id::{CallId, Side},
    metadata::MetadataError,
    relocation::RelocationError,
};

/// Why a connection is over, and which side ended it. Clonable, so that every call that it ends can carry
/// it. `Display` ends with the direct cause, and [`source`](StdError::source) begins after that.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The other side broke a rule or a limit; we closed the connection.
    PeerMisbehaved(PeerMisbehaved),
    /// The other side closed the connection and said why.
    ClosedByPeer {
        /// The reason that it gave.
        code: CloseCode,
        /// The reason in words, with control characters escaped; may be empty.
        text: String,
    },
    /// We closed the connection.
    ClosedHere,
    /// No hello came in time.
    HandshakeTimedOut(Duration),
    /// The hello came, and this side has not answered it in time.
    AcceptTimedOut(Duration),
    /// This side refused the other, because it did not accept who that is.
    Refused {
        /// The reason, which the other side is told.
        reason: String,
        /// The error behind it, for this side only.
        source: Option<Arc<dyn StdError + Send + Sync>>,
    },
    /// This side could not get the credentials that it was to present.
    NoCredentials(Arc<dyn StdError + Send + Sync>),
    /// A ping was not answered in time: the other side, or the way to it, is dead.
    KeepAliveTimedOut(Duration),
    /// A packet began, and did not become whole in time.
    PacketTimedOut(Duration),
    /// The other side does not read what is written.
    SlowReader {
        /// The bytes that waited.
        waiting: usize,
        /// The limit.
        timeout: Duration,
    },
    /// The transport failed: its end came without a close packet, or an I/O error.
    Lost(Arc<std::io::Error>),
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut late =
            |event, time: &Duration, setting| write!(f, "{event} within {time:?} ({setting})");
        match self {
            Self::HandshakeTimedOut(time) => {
                late("no hello from the peer", time, "handshake_timeout")
            }
            Self::AcceptTimedOut(time) => {
                late("the authentication was not done", time, "handshake_timeout")
            }
            Self::KeepAliveTimedOut(time) => {
                late("no answer to a ping", time, "keep_alive_timeout")
            }
            Self::PacketTimedOut(time) => late("a packet was not complete", time, "packet_timeout"),
            Self::PeerMisbehaved(fault) => write!(f, "the peer broke the protocol: {fault}"),
            Self::ClosedByPeer { code, text } => {
                let colon = if text.is_empty() { "" } else { ": " };
                write!(f, "the peer closed the connection ({code}){colon}{text}")
            }
            Self::ClosedHere => f.write_str("the connection was closed on this side"),
            Self::Refused { reason, .. } => write!(f, "this side refused the peer: {reason}"),
            Self::NoCredentials(error) => write!(f, "this side has no credentials: {error}"),
            Self::SlowReader { waiting, timeout } => write!(
                f,
                "the peer does not read: {waiting} bytes wait for {timeout:?} (write_timeout)"
            ),
            Self::Lost(error) => write!(f, "the connection was lost: {error}"),
        }
    }
}

impl StdError for ConnectionError {
    /// Begins after the cause with which `Display` ends.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::PeerMisbehaved(fault) => fault.source(),
            Self::Lost(error) => error.source(),
            Self::NoCredentials(error) => error.source(),
            Self::Refused { source, .. } => {
                let source = source.as_deref();
                source.map(|source| source as &(dyn StdError + 'static))
            }
            _ => None,
        }
    }
}

impl ConnectionError {
    /// The other side has closed the connection. Control characters in its text are escaped, so that it can
    /// forge no line of a log.
    pub fn closed_by_peer(code: CloseCode, text: &str) -> Self {
        let mut escaped = String::with_capacity(text.len());
        for char in text.chars() {
            match char.is_control() {
                true => escaped.extend(char.escape_default()),
                false => escaped.push(char),
            }
        }
        let text = escaped;
        Self::ClosedByPeer { code, text }
    }

    /// The cause in one word, for metrics and logs: `closed_here`, `closed_by_peer`, `lost`, `violation`,
    /// `refused`, `no_credentials`, `handshake_timeout`, `keep_alive_timeout`, `packet_timeout` or
    /// `write_timeout`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::PeerMisbehaved(_) => "violation",
            Self::ClosedByPeer { .. } => "closed_by_peer",
            Self::ClosedHere => "closed_here",
            Self::HandshakeTimedOut(_) | Self::AcceptTimedOut(_) => "handshake_timeout",
            Self::Refused { .. } => "refused",
            Self::NoCredentials(_) => "no_credentials",
            Self::KeepAliveTimedOut(_) => "keep_alive_timeout",
            Self::PacketTimedOut(_) => "packet_timeout",
            Self::SlowReader { .. } => "write_timeout",
            Self::Lost(_) => "lost",
        }
    }

    /// The code and the text of the close packet with which to tell the other side; `None` if it should
    /// not be told, or cannot be.
    pub fn close_packet(&self) -> Option<(CloseCode, String)> {
        match self {
            Self::PeerMisbehaved(fault) => Some((fault.close_code(), fault.to_string())),
            Self::HandshakeTimedOut(_)
            | Self::AcceptTimedOut(_)
            | Self::KeepAliveTimedOut(_)
            | Self::PacketTimedOut(_)
            | Self::SlowReader { .. } => Some((CloseCode::TimedOut, self.to_string())),
            Self::ClosedHere => Some((CloseCode::Normal, String::new())),
            Self::Refused { reason, .. } => Some((CloseCode::Unauthenticated, reason.clone())),
            Self::NoCredentials(_) => {
                let text = "it could not get its own credentials";
                Some((CloseCode::Internal, text.to_owned()))
            }
            Self::ClosedByPeer { .. } | Self::Lost(_) => None,
        }
    }
}

/// A rule of docs/protocol.md that the other side broke. Each ends the connection.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// The first bytes are not a wawo preface. The field has them, escaped; the text names their protocol
    /// if it is a known one, such as TLS, HTTP or SSH.
    #[error(
        "not a wawo connection: it begins with \"{0}\", not with \"WAWO/1\\r\\n\"{hint}",
        hint = foreign::hint(.0)
    )]
    NotWawo(String),
    /// A wawo preface of a version that we do not know.
    #[error("wawo version \"{0}\" is not spoken here; this side speaks version 1")]
    Version(String),
    /// A packet over the announced limit.
    #[error(
        "a packet with {length} bytes of payload; this side takes at most {max} (max_packet_bytes)"
    )]
    PacketTooLarge {
        /// The length in its header.
        length: u32,
        /// The limit.
        max: u32,
    },
    /// A kind that version 1 does not define.
    #[error("unknown packet kind {0}")]
    UnknownKind(u8),
    /// A flag that this kind of packet does not have, or two that exclude each other.
    #[error("{kind} packet with flags {flags:#04x}, which it cannot have")]
    Flags {
        /// The kind, by name.
        kind: &'static str,
        /// All of its flags.
        flags: u8,
    },
    /// A call id or code in a packet that must have none, or none in a packet that must have one.
    #[error("{kind} packet with {field} {value}")]
    Header {
        /// The kind, by name.
        kind: &'static str,
        /// The field of the header.
        field: &'static str,
        /// The value of the field.
        value: u32,
    },
    /// A payload that is too short or too long for its kind.
    #[error("{kind} packet with {length} bytes of payload, which does not fit its fields")]
    PayloadLength {
        /// The kind, by name.
        kind: &'static str,
        /// The length of its payload.
        length: usize,
    },
    /// Text that is not UTF-8.
    #[error("{0} packet whose text is not UTF-8")]
    Text(&'static str),
    /// A metadata block over a limit.
    #[error("metadata with {size} {unit}; this side takes at most {max} ({setting})")]
    MetadataTooLarge {
        /// The size that was sent.
        size: usize,
        /// The unit of `size`.
        unit: &'static str,
        /// The limit.
        max: u32,
        /// The setting that holds the limit.
        setting: &'static str,
    },
    /// A metadata entry that breaks a rule.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A hello that ends within an entry.
    #[error("a hello that ends within an entry")]
    HelloCutOff,
    /// A hello entry that comes twice.
    #[error("entry {0} stands twice in the hello")]
    HelloEntryTwice(u16),
    /// A hello entry with a length that its type does not have.
    #[error("hello entry {entry} has {length} bytes, not {expected}")]
    HelloEntryLength {
        /// The type of the entry.
        entry: u16,
        /// The length of its value.
        length: usize,
        /// The length that the type has.
        expected: usize,
    },
    /// A role in the hello that is neither 1 nor 2.
    #[error("the role in the hello is {0}; it must be 1 (connecting) or 2 (accepting)")]
    HelloRole(u8),
    /// The other side has the role of this one.
    #[error("{}", same_role(.0))]
    SameRole(Side),
    /// A claimed name that is too long or not UTF-8.
    #[error("the claimed name in the hello is not UTF-8 of at most 255 bytes")]
    HelloClaimedName,
    /// A limit out of its range.
    #[error("in the hello, {0}")]
    HelloLimit(Box<ConfigError>),
    /// The first packet is not a hello.
    #[error("{0} packet before the hello")]
    HelloMissing(&'static str),
    /// A second hello.
    #[error("a second hello")]
    HelloTwice,
    /// A call under an id of ours, or a packet for a call that only the caller may send.
    #[error("{kind} packet for call {call}, which the sender of the packet may not send")]
    WrongSide {
        /// The kind, by name.
        kind: &'static str,
        /// The call.
        call: CallId,
    },
    /// A call id that is in use.
    #[error("call {0} was started while a call with this id was in flight")]
    CallInFlight(CallId),
    /// A call id beyond the announced limit of calls in flight.
    #[error("call {call} is beyond the {max} calls in flight that this side takes (max_calls)")]
    TooManyCalls {
        /// The call.
        call: CallId,
        /// The limit.
        max: u32,
    },
    /// A call id that leaves out one that was never used.
    #[error("call {0} was started before the ids below it were used")]
    CallIdSkipped(CallId),
    /// A packet for a call that is not in flight, and that cannot have ended while the packet was under
    /// way.
    #[error("{kind} packet for call {call}, which is not in flight")]
    NoSuchCall {
        /// The kind, by name.
        kind: &'static str,
        /// The call.
        call: CallId,
    },
    /// A packet that the state of the call does not allow.
    #[error("{kind} packet for call {call}, {state}")]
    CallState {
        /// The kind, by name.
        kind: &'static str,
        /// The call.
        call: CallId,
        /// The state of the call.
        state: &'static str,
    },
    /// More message bytes than the call was granted.
    #[error("{length} message bytes for call {call}, where {credit} were granted")]
    OverCredit {
        /// The call.
        call: CallId,
        /// The bytes of the packet.
        length: usize,
        /// The bytes that were left of the grant.
        credit: u32,
    },
    /// A message that began while no shared credit was left.
    #[error("a message without credit for all calls together ({0})")]
    OverSharedCredit(&'static str),
    /// Too many chunks of one message that are too small to be worth a packet.
    #[error("a message for call {call} with more than {max} chunks under 1 KiB (max_small_chunks)")]
    SmallChunks {
        /// The call.
        call: CallId,
        /// The limit.
        max: u32,
    },
    /// More calls cancelled within a second than the limit.
    #[error("more than {0} cancels within a second (max_cancels_per_second)")]
    Cancels(u32),
    /// Too many pings in a row that came too early.
    #[error("more than {0} pings in a row, each too soon after the one before (max_early_pings)")]
    EarlyPings(u32),
    /// Too many packets in a row that carry nothing.
    #[error("more than {0} packets in a row that carry nothing (max_idle_packets)")]
    IdlePackets(u32),
    /// A one-way message over the limit. The call has no reply, so no status can say so.
    #[error(
        "a one-way message of {length} bytes; this side takes at most {max} (max_message_bytes)"
    )]
    OneWayTooLarge {
        /// Its length.
        length: usize,
        /// The limit.
        max: u32,
    },
    /// More credit than the protocol allows.
    #[error("credit that adds up to more than {}", 2 * crate::limits::MAX_LIMIT)]
    CreditOverflow,
    /// Chunks that do not add up to the length that the first one stated.
    #[error("a message for call {call} whose chunks do not add up to its stated {total} bytes")]
    ChunkTotal {
        /// The call.
        call: CallId,
        /// The stated length.
        total: u32,
    },
    /// A request to move that is wrong.
    #[error(transparent)]
    Move(RelocationError),
    /// A pong for a ping that was not sent.
    #[error("a pong that answers no ping")]
    PongUnasked,
}

fn same_role(side: &Side) -> &'static str {
    match side {
        Side::Connecting => "both sides have connected: the peer is a client too, and no server",
        Side::Accepting => "both sides have accepted: the peer is a server too, and no client",
    }
}

impl PeerMisbehaved {
    /// A packet of this kind that the state of the call does not allow.
    pub(crate) fn call_state(kind: &'static str, call: CallId, state: &'static str) -> Self {
        Self::CallState { kind, call, state }
    }

    /// The reason under which the connection is closed.
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::Version(_) => CloseCode::VersionUnsupported,
            Self::PacketTooLarge { .. }
            | Self::MetadataTooLarge { .. }
            | Self::TooManyCalls { .. }
            | Self::OverCredit { .. }
            | Self::OverSharedCredit(_)
            | Self::SmallChunks { .. }
            | Self::Cancels(_)
            | Self::EarlyPings(_)
            | Self::IdlePackets(_)
            | Self::OneWayTooLarge { .. } => CloseCode::LimitExceeded,
            _ => CloseCode::ProtocolViolation,
        }
    }
}
