//! The limits of one end of a connection.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

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

/// A side pings no more often than this (docs/protocol.md, "Keep-alive").
const MIN_PING_INTERVAL: Duration = Duration::from_secs(1);

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
    /// Calls in flight that the other side may have with us; one-way calls do not count.
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

    /// Each limit with its name and the least that it may be.
    pub(crate) fn named(&self) -> [(&'static str, u32, u32); 8] {
        let least = Self::MINIMUM;
        [
            (
                "max_packet_bytes",
                self.max_packet_bytes,
                least.max_packet_bytes,
            ),
            (
                "max_message_bytes",
                self.max_message_bytes,
                least.max_message_bytes,
            ),
            (
                "max_metadata_bytes",
                self.max_metadata_bytes,
                least.max_metadata_bytes,
            ),
            (
                "max_metadata_entries",
                self.max_metadata_entries,
                least.max_metadata_entries,
            ),
            ("max_calls", self.max_calls, least.max_calls),
            (
                "initial_credit_bytes",
                self.initial_credit_bytes,
                least.initial_credit_bytes,
            ),
            (
                "request_credit_bytes",
                self.request_credit_bytes,
                least.request_credit_bytes,
            ),
            (
                "reply_credit_bytes",
                self.reply_credit_bytes,
                least.reply_credit_bytes,
            ),
        ]
    }

    /// Checks every limit against its least and its greatest value.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for (name, value, least) in self.named() {
            // The wire counts entries in two bytes.
            let most = match name {
                "max_metadata_entries" => u16::MAX.into(),
                _ => MAX_LIMIT,
            };
            if !(least..=most).contains(&value) {
                return Err(ConfigError::Limit {
                    name,
                    value,
                    least,
                    most,
                });
            }
        }
        // Ids and a timeout stand beside the metadata in a packet.
        let room = self.max_packet_bytes - 64;
        if self.max_metadata_bytes > room {
            return Err(ConfigError::MetadataOverPacket {
                metadata: self.max_metadata_bytes,
                room,
            });
        }
        Ok(())
    }
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
    /// The deadline of calls that set none, counted from their start; `None` for no deadline.
    /// Announced in the hello, so that such calls carry no deadline of their own. Default 10 s.
    pub default_timeout: Option<Duration>,
    /// How long the other side may take to send its hello. Default 5 s.
    pub handshake_timeout: Duration,
    /// A ping is sent when nothing was received for this long. Default 20 s, at least 1 s.
    pub keep_alive_interval: Duration,
    /// The connection is closed when a ping is not answered for this long. Default 10 s.
    pub keep_alive_timeout: Duration,
    /// How long a packet may take from its first byte to its last. Default 10 s.
    pub packet_timeout: Duration,
    /// A peer that takes less than 4 KiB of what waits for it in so long is cut off. Default 10 s.
    pub write_timeout: Duration,
    /// A call is ended when it has had something to send, and no credit for it, for this long.
    /// Default 30 s.
    pub stall_timeout: Duration,
    /// The longest that a call of the other side may take, whatever its caller says; `None` for
    /// no limit. Default `None`.
    pub max_timeout: Option<Duration>,
    /// Calls of the other side, among its `max_calls`, that may be streams in either direction;
    /// one more is answered with `ResourceExhausted`. Default 256.
    pub max_streams: usize,
    /// What calls of the other side may begin with, all that are in flight together: their first
    /// messages and metadata, in bytes. One that goes over it is answered with
    /// `ResourceExhausted`. Default 64 MiB.
    pub max_opening_bytes: usize,
    /// Calls of the other side that it may cancel within a second. Default 10,000.
    pub max_cancels_per_second: u32,
    /// Pings of the other side in a row that may come less than half a second after the one
    /// before. Default 3.
    pub max_early_pings: u32,
    /// Packets in a row that may carry nothing: for calls that are over, or credit of less than
    /// 1 KiB. Default 4,096.
    pub max_idle_packets: u32,
    /// Chunks of one message, besides its last, that may have less than 1 KiB. Default 100.
    pub max_small_chunks: u32,
    /// How many calls may have led to a call, each made by the handler of the one before; for the
    /// layers above. So peers that call each other in a circle stop. Default 16.
    pub max_call_depth: u32,
    /// Calls and one-way messages of ours that may wait for the other side's limits; half of them
    /// before they come to the connection. Default 16,384, at least 2.
    pub max_waiting_calls: usize,
    /// Who we say that we are, at most 255 bytes of UTF-8. Default empty.
    pub identity: String,
    /// Proof of that, for the layers above. Default empty.
    pub credentials: Bytes,
    /// The services that we serve, for the layers above. Default empty. A `Server` or `PeerBuilder`
    /// of wawo puts its own here.
    pub services: Bytes,
}

impl Config {
    /// # Errors
    ///
    /// Names the first setting that is out of its range, and the range.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.limits.check()?;
        if self.identity.len() > 255 {
            return Err(ConfigError::Identity(self.identity.len()));
        }
        let room = crate::hello::MAX_OPAQUE_BYTES;
        if self.credentials.len() + self.services.len() > room {
            return Err(ConfigError::Opaque {
                length: self.credentials.len() + self.services.len(),
                room,
            });
        }
        if self
            .default_timeout
            .is_some_and(|timeout| timeout.is_zero())
        {
            return Err(ConfigError::ZeroTimeout);
        }
        if self.keep_alive_interval < MIN_PING_INTERVAL {
            return Err(ConfigError::KeepAliveInterval(self.keep_alive_interval));
        }
        if self.max_waiting_calls < 2 {
            return Err(ConfigError::FewWaitingCalls(self.max_waiting_calls));
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            default_timeout: Some(Duration::from_secs(10)),
            handshake_timeout: Duration::from_secs(5),
            keep_alive_interval: Duration::from_secs(20),
            keep_alive_timeout: Duration::from_secs(10),
            packet_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            max_timeout: None,
            max_streams: 256,
            max_opening_bytes: 64 * 1024 * 1024,
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

/// A setting that is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A limit is too small or too large.
    #[error("{name} is {value}; it must be from {least} to {most}")]
    Limit {
        /// The setting.
        name: &'static str,
        /// What it was set to.
        value: u32,
        /// The least that every side must accept.
        least: u32,
        /// The most that it may be.
        most: u32,
    },
    /// The metadata of a call would not fit into one packet.
    #[error(
        "max_metadata_bytes is {metadata}; with this max_packet_bytes it may be at most {room}"
    )]
    MetadataOverPacket {
        /// `max_metadata_bytes`.
        metadata: u32,
        /// What fits.
        room: u32,
    },
    /// The identity is too long.
    #[error("identity of {0} bytes; it may have at most 255")]
    Identity(usize),
    /// Credentials and service table do not fit into a hello.
    #[error("credentials and services have {length} bytes together; a hello has room for {room}")]
    Opaque {
        /// Their length.
        length: usize,
        /// What fits.
        room: usize,
    },
    /// A deadline of nothing would fail every call.
    #[error("default_timeout is zero; use None for calls without a deadline")]
    ZeroTimeout,
    /// Pings would come more often than a peer must take them.
    #[error("keep_alive_interval is {0:?}; it must be at least {MIN_PING_INTERVAL:?}")]
    KeepAliveInterval(Duration),
    /// One call must be able to wait in the connection, and one before it.
    #[error("max_waiting_calls is {0}; it must be at least 2")]
    FewWaitingCalls(usize),
}

#[cfg(test)]
mod tests {
    use super::{Config, ConfigError, Limits, MAX_LIMIT};

    #[test]
    fn defaults_and_minimum_are_valid() {
        assert_eq!(Config::default().check(), Ok(()));
        assert_eq!(Limits::MINIMUM.check(), Ok(()));
    }

    #[test]
    fn a_limit_below_its_minimum_is_named() {
        let mut config = Config::default();
        config.limits.max_calls = 63;
        assert_eq!(
            config.check().unwrap_err().to_string(),
            format!("max_calls is 63; it must be from 64 to {MAX_LIMIT}")
        );
    }

    #[test]
    fn pings_must_not_come_too_often() {
        let config = Config {
            keep_alive_interval: std::time::Duration::from_millis(999),
            ..Config::default()
        };
        assert_eq!(
            config.check().unwrap_err().to_string(),
            "keep_alive_interval is 999ms; it must be at least 1s"
        );
    }

    #[test]
    fn two_calls_must_be_able_to_wait() {
        let mut config = Config {
            max_waiting_calls: 1,
            ..Config::default()
        };
        assert_eq!(
            config.check().unwrap_err().to_string(),
            "max_waiting_calls is 1; it must be at least 2"
        );
        config.max_waiting_calls = 2;
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn metadata_must_fit_into_a_packet() {
        let mut config = Config::default();
        config.limits.max_metadata_bytes = config.limits.max_packet_bytes;
        assert!(matches!(
            config.check(),
            Err(ConfigError::MetadataOverPacket { .. })
        ));
    }

    #[test]
    fn identity_and_opaque_parts_are_bounded() {
        let mut config = Config {
            identity: "i".repeat(256),
            ..Config::default()
        };
        assert_eq!(config.check(), Err(ConfigError::Identity(256)));
        config.identity.clear();
        config.services = vec![0; crate::hello::MAX_OPAQUE_BYTES + 1].into();
        assert!(matches!(config.check(), Err(ConfigError::Opaque { .. })));
    }
}
