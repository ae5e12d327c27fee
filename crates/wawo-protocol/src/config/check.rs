//! Which settings are allowed, each alone and together with others, and what an error says.

use std::time::Duration;

use thiserror::Error;

use crate::config::{Config, Limits, MAX_LIMIT};

/// The least of every time but the interval of pings: the wire counts in milliseconds, and with no
/// time at all every call or connection would end at once.
const MIN_TIME: Duration = Duration::from_millis(1);

/// A side pings no more often than this (docs/protocol.md, "Keep-alive").
const MIN_PING_INTERVAL: Duration = Duration::from_secs(1);

/// The least that the other side may do, as it may rely on that (docs/protocol.md, "Abuse",
/// "Keep-alive", "Messages").
const MIN_CANCELS_PER_SECOND: u32 = 1_000;
const MIN_EARLY_PINGS: u32 = 3;
const MIN_IDLE_PACKETS: u32 = 1_000;
const MIN_SMALL_CHUNKS: u32 = 100;

/// One call must be able to wait in the connection, and one before it.
const MIN_WAITING_CALLS: usize = 2;

/// A message that takes no more is not counted, so it is always taken.
const MIN_DECODED_BYTES: usize = 16 * 1024;

/// A packet of a reply may wait, and calls still go on.
const MIN_WAITING_REPLY_BYTES: usize = 16 * 1024;

/// Ids, a timeout and the total length stand beside the metadata of a call in its packet.
const CALL_HEADER_BYTES: u32 = 64;

/// The longest identity, in bytes: the hello counts it in one.
const MAX_IDENTITY_BYTES: usize = 255;

impl Limits {
    /// Each limit with its name, the least and the most that it may be.
    pub(crate) fn named(&self) -> [(&'static str, u32, u32, u32); 8] {
        let (own, least) = (self, Self::MINIMUM);
        let bounded = |name, of: fn(&Self) -> u32, most: u32| (name, of(own), of(&least), most);
        [
            bounded(
                "max_packet_bytes",
                |limits| limits.max_packet_bytes,
                MAX_LIMIT,
            ),
            bounded(
                "max_message_bytes",
                |limits| limits.max_message_bytes,
                MAX_LIMIT,
            ),
            bounded(
                "max_metadata_bytes",
                |limits| limits.max_metadata_bytes,
                MAX_LIMIT,
            ),
            // The wire counts entries in two bytes.
            bounded(
                "max_metadata_entries",
                |limits| limits.max_metadata_entries,
                u16::MAX.into(),
            ),
            bounded("max_calls", |limits| limits.max_calls, MAX_LIMIT),
            bounded(
                "initial_credit_bytes",
                |limits| limits.initial_credit_bytes,
                MAX_LIMIT,
            ),
            bounded(
                "request_credit_bytes",
                |limits| limits.request_credit_bytes,
                MAX_LIMIT,
            ),
            bounded(
                "reply_credit_bytes",
                |limits| limits.reply_credit_bytes,
                MAX_LIMIT,
            ),
        ]
    }

    /// Checks every limit against its least and its greatest value.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for (name, value, least, most) in self.named() {
            if !(least..=most).contains(&value) {
                return Err(ConfigError::Limit {
                    name,
                    value,
                    least,
                    most,
                });
            }
        }
        let room = self.max_packet_bytes - CALL_HEADER_BYTES;
        if self.max_metadata_bytes > room {
            return Err(ConfigError::MetadataOverPacket {
                metadata: self.max_metadata_bytes,
                packet: self.max_packet_bytes,
                room,
            });
        }
        Ok(())
    }
}

impl Config {
    /// # Errors
    ///
    /// Names the first setting that is out of its range, and the range; or two settings that
    /// contradict each other.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.limits.check()?;
        self.check_opening()?;
        self.check_counts()?;
        self.check_decoded()?;
        self.check_times()?;
        self.check_hello()
    }

    /// Each time with its name and the least that it may be. The first two may be `None`.
    fn times(&self) -> [(&'static str, Option<Duration>, Duration); 10] {
        [
            ("default_timeout", self.default_timeout, MIN_TIME),
            ("stream_timeout", self.stream_timeout, MIN_TIME),
            ("max_timeout", self.max_timeout, MIN_TIME),
            ("max_stream_time", self.max_stream_time, MIN_TIME),
            ("handshake_timeout", Some(self.handshake_timeout), MIN_TIME),
            (
                "keep_alive_interval",
                Some(self.keep_alive_interval),
                MIN_PING_INTERVAL,
            ),
            (
                "keep_alive_timeout",
                Some(self.keep_alive_timeout),
                MIN_TIME,
            ),
            ("packet_timeout", Some(self.packet_timeout), MIN_TIME),
            ("write_timeout", Some(self.write_timeout), MIN_TIME),
            ("stall_timeout", Some(self.stall_timeout), MIN_TIME),
        ]
    }

    fn check_times(&self) -> Result<(), ConfigError> {
        for (name, time, least) in self.times() {
            ConfigError::check_time(name, time, least)?;
        }
        Ok(())
    }

    /// Each count that has a least, with its name.
    fn counts(&self) -> [(&'static str, usize, usize); 8] {
        let small = |name, value: u32, least: u32| (name, value as usize, least as usize);
        [
            small(
                "max_cancels_per_second",
                self.max_cancels_per_second,
                MIN_CANCELS_PER_SECOND,
            ),
            small("max_early_pings", self.max_early_pings, MIN_EARLY_PINGS),
            small("max_idle_packets", self.max_idle_packets, MIN_IDLE_PACKETS),
            small("max_small_chunks", self.max_small_chunks, MIN_SMALL_CHUNKS),
            (
                "max_waiting_calls",
                self.max_waiting_calls,
                MIN_WAITING_CALLS,
            ),
            (
                "max_decoded_bytes",
                self.max_decoded_bytes,
                MIN_DECODED_BYTES,
            ),
            (
                "max_connection_decoded_bytes",
                self.max_connection_decoded_bytes,
                MIN_DECODED_BYTES,
            ),
            (
                "max_waiting_reply_bytes",
                self.max_waiting_reply_bytes,
                MIN_WAITING_REPLY_BYTES,
            ),
        ]
    }

    fn check_counts(&self) -> Result<(), ConfigError> {
        let mut counts = self.counts().into_iter();
        match counts.find(|(_, value, least)| value < least) {
            Some((name, value, least)) => Err(ConfigError::Count { name, value, least }),
            None => Ok(()),
        }
    }

    /// A call with the longest message and metadata can be served.
    fn check_opening(&self) -> Result<(), ConfigError> {
        let (message, metadata) = (
            self.limits.max_message_bytes,
            self.limits.max_metadata_bytes,
        );
        let least = message as usize + metadata as usize;
        match self.max_opening_bytes < least {
            true => Err(ConfigError::MessageOverOpening {
                opening: self.max_opening_bytes,
                message,
                metadata,
                least,
            }),
            false => Ok(()),
        }
    }

    /// A message that takes as much memory as it may can be served.
    fn check_decoded(&self) -> Result<(), ConfigError> {
        let (message, connection) = (self.max_decoded_bytes, self.max_connection_decoded_bytes);
        match message > connection {
            true => Err(ConfigError::DecodedOverConnection {
                message,
                connection,
            }),
            false => Ok(()),
        }
    }

    /// The hello has room for its contents.
    fn check_hello(&self) -> Result<(), ConfigError> {
        if self.identity.len() > MAX_IDENTITY_BYTES {
            return Err(ConfigError::Identity(self.identity.len()));
        }
        let length = self.credentials.len() + self.services.len();
        let room = crate::hello::MAX_OPAQUE_BYTES;
        match length > room {
            true => Err(ConfigError::Opaque { length, room }),
            false => Ok(()),
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
        /// The value that it was set to.
        value: u32,
        /// The least that every side must accept.
        least: u32,
        /// The most that it may be.
        most: u32,
    },
    /// The metadata of a call would not fit into one packet.
    #[error(
        "max_metadata_bytes is {metadata}; with max_packet_bytes {packet} it may be at most {room}"
    )]
    MetadataOverPacket {
        /// `max_metadata_bytes`.
        metadata: u32,
        /// `max_packet_bytes`.
        packet: u32,
        /// Bytes that fit.
        room: u32,
    },
    /// The largest call could never be served.
    #[error(
        "max_opening_bytes is {opening}; with max_message_bytes {message} and max_metadata_bytes \
         {metadata} it must be at least {least}"
    )]
    MessageOverOpening {
        /// `max_opening_bytes`.
        opening: usize,
        /// `max_message_bytes`.
        message: u32,
        /// `max_metadata_bytes`.
        metadata: u32,
        /// Both together.
        least: usize,
    },
    /// A message may take more than all messages of its connection: it could never be served.
    #[error(
        "max_decoded_bytes is {message}; \
         it may be at most max_connection_decoded_bytes, which is {connection}"
    )]
    DecodedOverConnection {
        /// `max_decoded_bytes`.
        message: usize,
        /// `max_connection_decoded_bytes`.
        connection: usize,
    },
    /// A time is so short that every call or connection would end at once, or, for the interval of
    /// pings, that they would come more often than a peer must take them.
    #[error("{name} is {time:?}; it must be at least {least:?}{}", or_none(name))]
    Time {
        /// The setting.
        name: &'static str,
        /// The value that it was set to.
        time: Duration,
        /// The least that it may be.
        least: Duration,
    },
    /// A count, or a number of bytes, is below what a peer may rely on, or below what calls need to
    /// go on.
    #[error("{name} is {value}; it must be at least {least}")]
    Count {
        /// The setting.
        name: &'static str,
        /// The value that it was set to.
        value: usize,
        /// The least that it may be.
        least: usize,
    },
    /// The identity is too long.
    #[error("identity of {0} bytes; it may have at most {MAX_IDENTITY_BYTES}")]
    Identity(usize),
    /// Credentials and service table do not fit into a hello.
    #[error("credentials and services have {length} bytes together; a hello has room for {room}")]
    Opaque {
        /// Their length.
        length: usize,
        /// Bytes that fit.
        room: usize,
    },
}

impl ConfigError {
    /// Checks a time that is a setting; `None`, for "no limit", is always right.
    ///
    /// # Errors
    ///
    /// If the time is shorter than the least.
    pub fn check_time(
        name: &'static str,
        time: Option<Duration>,
        least: Duration,
    ) -> Result<(), Self> {
        match time {
            Some(time) if time < least => Err(Self::Time { name, time, least }),
            _ => Ok(()),
        }
    }
}

/// How to switch off the settings that can be.
fn or_none(name: &str) -> &'static str {
    match name {
        "default_timeout" | "stream_timeout" => ", or None for calls without a deadline",
        "max_timeout" | "max_stream_time" => ", or None for no limit",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
