//! The limits of one end of a connection.

mod check;

use std::time::Duration;

use bytes::Bytes;

pub use crate::config::check::ConfigError;

/// What every side must accept, and what may be sent before the other side's hello has come
/// (docs/protocol.md, "Limits").
pub const MIN_PACKET_BYTES: u32 = 16 * 1024;
/// See [`MIN_PACKET_BYTES`].
pub const MIN_MESSAGE_BYTES: u32 = 64 * 1024;
/// See [`MIN_PACKET_BYTES`].
pub const MIN_METADATA_BYTES: u32 = 8 * 1024;
/// See [`MIN_PACKET_BYTES`].
pub const MIN_METADATA_ENTRIES: u32 = 64;
/// See [`MIN_PACKET_BYTES`].
pub const MIN_CALLS: u32 = 64;
/// See [`MIN_PACKET_BYTES`].
pub const MIN_CREDIT_BYTES: u32 = 64 * 1024;

/// The most that a length or count may be set to, so that sums of a few never overflow 32 bits.
pub const MAX_LIMIT: u32 = 1 << 30;

/// The limits that a side announces in its hello, and that the other side must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Payload of one packet, in bytes. Default 128 KiB, at least 16 KiB, at most 1 GiB.
    pub max_packet_bytes: u32,
    /// One message, in bytes, whole. Default 4 MiB, at least 64 KiB, at most 1 GiB.
    pub max_message_bytes: u32,
    /// The metadata block of a call or reply, in bytes. Default and least 8 KiB; it must fit
    /// into a packet, and the default of `max_packet_bytes` leaves ample room.
    pub max_metadata_bytes: u32,
    /// Entries in a metadata block. Default and least 64, at most 65,535.
    pub max_metadata_entries: u32,
    /// Calls in flight that the other side may have with us; one-way calls do not count. It leaves a
    /// sixteenth of them to calls that its handlers make, and refuses deep ones for which none is left.
    /// Default 1,024, at least 64, at most 2^30.
    pub max_calls: u32,
    /// Message bytes that the other side may send in one direction of a call before we grant
    /// more. Default 256 KiB, at least 64 KiB, at most 1 GiB.
    pub initial_credit_bytes: u32,
    /// What the other side may have with us, over all of its calls, in one-way messages and in the
    /// messages of streams after the first, before we grant more. Each costs its length and
    /// [`MESSAGE_COST_BYTES`](crate::MESSAGE_COST_BYTES); one that begins while any of it is left
    /// may go over it. Default 8 MiB, at least 64 KiB, at most 1 GiB.
    pub request_credit_bytes: u32,
    /// The same for streams of replies to our calls, apart from requests: neither can hold up the
    /// other. Default 8 MiB, at least 64 KiB, at most 1 GiB.
    pub reply_credit_bytes: u32,
}

impl Limits {
    /// The least that a side may announce, and what holds until its hello is there.
    pub const MINIMUM: Self = Self {
        max_packet_bytes: MIN_PACKET_BYTES,
        max_message_bytes: MIN_MESSAGE_BYTES,
        max_metadata_bytes: MIN_METADATA_BYTES,
        max_metadata_entries: MIN_METADATA_ENTRIES,
        max_calls: MIN_CALLS,
        initial_credit_bytes: MIN_CREDIT_BYTES,
        request_credit_bytes: MIN_CREDIT_BYTES,
        reply_credit_bytes: MIN_CREDIT_BYTES,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_packet_bytes: 128 * 1024,
            max_message_bytes: 4 * 1024 * 1024,
            max_metadata_bytes: MIN_METADATA_BYTES,
            max_metadata_entries: MIN_METADATA_ENTRIES,
            max_calls: 1024,
            initial_credit_bytes: 256 * 1024,
            request_credit_bytes: 8 * 1024 * 1024,
            reply_credit_bytes: 8 * 1024 * 1024,
        }
    }
}

/// How one end of a connection behaves. Checked once, by [`Config::check`], which
/// [`Connection::new`](crate::Connection::new) calls.
///
/// ```
/// # use std::time::Duration;
/// let mut config = wawo_protocol::Config::default();
/// config.default_timeout = Some(Duration::from_secs(2));
/// config.limits.max_message_bytes = 64 * 1024;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// What the other side must keep.
    pub limits: Limits,
    /// The deadline of calls with one message each way, and of one-way messages, that set none,
    /// counted from their start; `None` for no deadline. Announced in the hello, so that such calls
    /// carry no deadline of their own. Default 10 s, at least 1 ms.
    pub default_timeout: Option<Duration>,
    /// The same for calls of ours with a stream in either direction; `None` for no deadline: keep-alive,
    /// `stall_timeout` and drain bound a stream then. Default `None`, at least 1 ms.
    pub stream_timeout: Option<Duration>,
    /// How long the other side may take to send its hello. Default 5 s, at least 1 ms.
    pub handshake_timeout: Duration,
    /// A ping is sent when nothing was received for this long. Default 20 s, at least 1 s.
    pub keep_alive_interval: Duration,
    /// The connection is closed when a ping is not answered for this long. Default 10 s, at least
    /// 1 ms.
    pub keep_alive_timeout: Duration,
    /// How long a packet may take from its first byte to its last. Default 10 s, at least 1 ms.
    pub packet_timeout: Duration,
    /// A peer that takes less than 4 KiB of what waits for it in so long is cut off. Default 10 s,
    /// at least 1 ms.
    pub write_timeout: Duration,
    /// A call is ended when it has had something to send, and no credit for it, for this long; so is
    /// a call without a deadline that the other side has had no slot for. Default 30 s, at least 1 ms.
    pub stall_timeout: Duration,
    /// The longest that a call of the other side may take, whatever its caller says; `None` for
    /// no limit. Default `None`, at least 1 ms. It has nothing to do with `default_timeout`, which is
    /// for calls of this side.
    pub max_timeout: Option<Duration>,
    /// The same for a call of the other side that is a stream, in place of `max_timeout`, and counted
    /// from the start of the call too. A call with one request becomes a stream when its reply begins as
    /// one; until then `max_timeout` holds. `None`: `max_timeout` bounds streams too. Default `None`, at least
    /// 1 ms.
    pub max_stream_time: Option<Duration>,
    /// Calls of the other side, among its `max_calls`, that may be streams in either direction;
    /// one more is answered with `ResourceExhausted`, so with 0 there are no streams. Default 256.
    pub max_streams: usize,
    /// What calls of the other side may begin with, all that are in flight together: their first
    /// messages and metadata, in bytes. One that goes over it is answered with
    /// `ResourceExhausted`. Default 64 MiB, at least `max_message_bytes` and `max_metadata_bytes`
    /// together, or the largest call could never be served.
    pub max_opening_bytes: usize,
    /// The memory that a message may take when it is decoded, in bytes; for the layers above, as the
    /// next one. A call with a larger one ends with `ResourceExhausted`. Default 64 MiB, at least
    /// 16 KiB, at most `max_connection_decoded_bytes`.
    pub max_decoded_bytes: usize,
    /// The memory that the requests of the other side that are worked on may take when decoded, all
    /// together, in bytes. A call that goes over it is answered with `ResourceExhausted`, unserved;
    /// a stream ends with it. Default 128 MiB, at least 16 KiB and `max_decoded_bytes`.
    pub max_connection_decoded_bytes: usize,
    /// Replies of ours that wait for the other side to read them, in bytes: while there are more, its
    /// calls are answered with `ResourceExhausted`, unserved. A reply that makes them more than twice
    /// as much ends its call with that. Default 64 MiB, at least 16 KiB.
    pub max_waiting_reply_bytes: usize,
    /// Calls of the other side that it may cancel within a second. Default 10,000, at least
    /// 1,000.
    pub max_cancels_per_second: u32,
    /// Pings of the other side in a row that may come less than half a second after the one
    /// before. Default and least 3.
    pub max_early_pings: u32,
    /// Packets in a row that may carry nothing: for calls that are over, or credit of less than
    /// 1 KiB. Default 4,096, at least 1,000.
    pub max_idle_packets: u32,
    /// Chunks of one message, besides its last, that may have less than 1 KiB. Default and least
    /// 100.
    pub max_small_chunks: u32,
    /// How many calls may have led to a call, each made by the handler of the one before; for the
    /// layers above. So peers that call each other in a circle stop; with 0, handlers cannot call.
    /// Default 16.
    pub max_call_depth: u32,
    /// How many calls and one-way messages of ours may wait for the other side's limits. It bounds the
    /// calls that handlers make, other calls, and one-way messages, each apart; half of each wait before
    /// they come to the connection. Default 16,384, at least 2.
    pub max_waiting_calls: usize,
    /// Who we say that we are, at most 255 bytes of UTF-8. Default empty.
    pub identity: String,
    /// Proof of that, for the layers above. Default empty.
    pub credentials: Bytes,
    /// The services that we serve, for the layers above. Default empty. A `Server` or `PeerBuilder`
    /// of wawo puts its own here.
    pub services: Bytes,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            default_timeout: Some(Duration::from_secs(10)),
            stream_timeout: None,
            handshake_timeout: Duration::from_secs(5),
            keep_alive_interval: Duration::from_secs(20),
            keep_alive_timeout: Duration::from_secs(10),
            packet_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            max_timeout: None,
            max_stream_time: None,
            max_streams: 256,
            max_opening_bytes: 64 * 1024 * 1024,
            max_decoded_bytes: 64 * 1024 * 1024,
            max_connection_decoded_bytes: 128 * 1024 * 1024,
            max_waiting_reply_bytes: 64 * 1024 * 1024,
            max_cancels_per_second: 10_000,
            max_early_pings: 3,
            max_idle_packets: 4096,
            max_small_chunks: 100,
            max_call_depth: 16,
            max_waiting_calls: 16 * 1024,
            identity: String::new(),
            credentials: Bytes::new(),
            services: Bytes::new(),
        }
    }
}
