//! Why a call was refused: a call of this side before it was served, or a call of the other side for a
//! limit.

use thiserror::Error;

/// Why a call was not started, or was certainly not served.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The connection is over.
    #[error("the connection is closed")]
    Closed,
    /// The other side takes no more calls.
    #[error("the peer is draining and takes no more calls")]
    Draining,
    /// All slots are taken, perhaps by calls that wait for this one.
    #[error(
        "all {max_calls} calls that the peer takes at a time (its max_calls) are in flight, and a call \
         that {depth} calls led to may not wait for one of them to end: that one might wait for it"
    )]
    NoSlot {
        /// The number of calls that the other side takes at a time.
        max_calls: u32,
        /// The number of calls that led to this one.
        depth: u32,
    },
    /// Too many calls wait already.
    #[error("{0} calls wait already for the limits of the peer (max_waiting_calls)")]
    Full(usize),
    /// The message is larger than the other side takes.
    #[error("a message of {length} bytes; the peer takes at most {max} (its max_message_bytes)")]
    MessageTooLarge {
        /// Its length.
        length: usize,
        /// The limit.
        max: u32,
    },
    /// The metadata is larger than the other side takes.
    #[error(
        "metadata of {entries} entries and {bytes} bytes; the peer takes at most \
         {max_entries} and {max_bytes} (its max_metadata_entries, max_metadata_bytes)"
    )]
    MetadataTooLarge {
        /// The number of entries.
        entries: usize,
        /// Their length on the wire.
        bytes: usize,
        /// The limit on entries.
        max_entries: u32,
        /// The limit on bytes.
        max_bytes: u32,
    },
}

impl Refusal {
    /// The reason in one word, for metrics: the setting that has the limit, or `closed` or `draining`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Draining => "draining",
            Self::NoSlot { .. } => "max_calls",
            Self::Full(_) => "max_waiting_calls",
            Self::MessageTooLarge { .. } => MAX_MESSAGE_BYTES,
            Self::MetadataTooLarge {
                entries,
                max_entries,
                ..
            } => match *entries > *max_entries as usize {
                true => "max_metadata_entries",
                false => "max_metadata_bytes",
            },
        }
    }
}

/// A limit that a call of the other side, or the reply to it, would exceed. `Display` has the text that the
/// caller is sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Overload {
    /// Too many calls of the other side are streams.
    #[error("{max} streams are open already (max_streams)")]
    Streams {
        /// The limit.
        max: usize,
    },
    /// The first messages of all calls in flight are too large.
    #[error(
        "a call that begins with {bytes} bytes, where those in flight have {before}; \
         the callee takes at most {max} (max_opening_bytes)"
    )]
    Opening {
        /// The bytes with which the call begins.
        bytes: u64,
        /// The bytes with which the calls in flight have begun.
        before: u64,
        /// The limit.
        max: usize,
    },
    /// The other side calls, and does not read the replies.
    #[error(
        "a call while replies of {waiting} bytes wait to be read; \
         the callee takes none over {max} (max_waiting_reply_bytes)"
    )]
    WaitingReplies {
        /// The bytes of replies that wait.
        waiting: u64,
        /// The limit.
        max: usize,
    },
    /// The other side does not read replies, and this one would be too many.
    #[error(
        "a reply of {length} bytes, where others of {waiting} bytes wait to be read; \
         the callee keeps at most twice {max} (max_waiting_reply_bytes)"
    )]
    Reply {
        /// The length of the reply.
        length: usize,
        /// The bytes of replies that wait.
        waiting: u64,
        /// The limit at which calls are refused; that of replies is twice as much.
        max: usize,
    },
    /// A request is larger than this side takes.
    #[error("a message of {length} bytes; the callee takes at most {max} (max_message_bytes)")]
    RequestTooLarge {
        /// Its length.
        length: usize,
        /// The limit.
        max: u32,
    },
    /// The reply is larger than the other side takes.
    #[error("the reply has {0}")]
    ReplyTooLarge(Refusal),
}

impl Overload {
    /// The name of the setting that has the limit, for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Streams { .. } => "max_streams",
            Self::Opening { .. } => "max_opening_bytes",
            Self::WaitingReplies { .. } | Self::Reply { .. } => "max_waiting_reply_bytes",
            Self::RequestTooLarge { .. } => MAX_MESSAGE_BYTES,
            Self::ReplyTooLarge(refusal) => refusal.reason(),
        }
    }
}

const MAX_MESSAGE_BYTES: &str = "max_message_bytes";
