//! The limits that a side announces, in one table with their numbers on the wire.
//!
//! Each is a setting of the [`Config`](crate::Config), and an entry of the [`Hello`](crate::Hello). The
//! least value of a limit is the value that each side must accept, and the one that holds until the
//! hello of the other side has come (docs/protocol.md, "Limits"). The greatest value keeps sums of a
//! few limits within 32 bits.

use wawo_settings::{ConfigError, Row, Unit, settings, u32_of};

/// Passes the table to a macro. A row has the number of the hello's entry, the unit, the name, the
/// default, the least and the greatest value.
macro_rules! limits {
    ($then:ident) => {
        $then! {
            /// The payload of one packet, in bytes.
            1 Bytes max_packet_bytes = "128 KiB", least "16 KiB", most "1 GiB";
            /// One whole message, in bytes.
            2 Bytes max_message_bytes = "4 MiB", least "64 KiB", most "1 GiB";
            /// The metadata block of a call or reply, in bytes. It must leave 64 bytes of a packet to
            /// other fields; with the default of `max_packet_bytes` that is ample.
            3 Bytes max_metadata_bytes = "8 KiB", least "8 KiB", most "1 GiB";
            /// Entries in a metadata block; the wire counts them in two bytes.
            4 Count max_metadata_entries = "64", least "64", most "65535";
            /// Calls in flight that the other side may have with us; one-way calls do not count. The
            /// other side leaves a sixteenth of these slots to calls that its handlers make, and
            /// refuses calls of depth 2 or more for which no slot is free.
            5 Count max_calls = "1024", least "64", most "1073741824";
            /// Message bytes that the other side may send in one direction of a call before we grant
            /// more.
            6 Bytes initial_credit_bytes = "256 KiB", least "64 KiB", most "1 GiB";
            /// Bytes of one-way messages, and of the messages of streams after the first, that the
            /// other side may send in all of its calls together before we grant more. Each message
            /// costs its length and [`MESSAGE_COST_BYTES`](crate::MESSAGE_COST_BYTES); one that begins
            /// while some credit is left may exceed it.
            7 Bytes request_credit_bytes = "8 MiB", least "64 KiB", most "1 GiB";
            /// The same as `request_credit_bytes`, for streams of replies to our calls. It is separate,
            /// so that requests and replies cannot hold up each other.
            12 Bytes reply_credit_bytes = "8 MiB", least "64 KiB", most "1 GiB";
        }
    };
}
pub(crate) use limits;

macro_rules! define {
    ($(
        $(#[$doc:meta])*
        $wire:literal $unit:ident $name:ident = $default:literal, least $least:literal, most $most:literal;
    )*) => {
        /// The limits that a side announces in its hello, and that the other side must keep.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Limits {
            $(
                $(#[$doc])*
                ///
                #[doc = settings!(@doc $default, least $least, most $most)]
                pub $name: u32,
            )*
        }

        impl Limits {
            /// The least values that a side may announce, which hold until its hello has come.
            pub const MINIMUM: Self = Self { $($name: u32_of(Unit::$unit.amount($least)),)* };

            /// The table.
            const LIMITS: &[Limit] = &[$(Limit {
                wire: $wire,
                row: settings!(@row $unit $name = $default, least $least, most $most),
            },)*];
        }

        impl Default for Limits {
            fn default() -> Self {
                const { Self { $($name: u32_of(Unit::$unit.amount($default)),)* } }
            }
        }
    };
}
limits!(define);

/// The packet size that each side must accept at least, in bytes of payload; until its hello has come,
/// no packet may be larger.
pub const MIN_PACKET_BYTES: u32 = Limits::MINIMUM.max_packet_bytes;
/// The message size that each side must accept at least, in bytes.
pub const MIN_MESSAGE_BYTES: u32 = Limits::MINIMUM.max_message_bytes;
/// The least metadata that each side must accept with a call, in bytes.
pub const MIN_METADATA_BYTES: u32 = Limits::MINIMUM.max_metadata_bytes;
/// The least number of entries of metadata that each side must accept.
pub const MIN_METADATA_ENTRIES: u32 = Limits::MINIMUM.max_metadata_entries;
/// The least number of calls in flight that each side must accept.
pub const MIN_CALLS: u32 = Limits::MINIMUM.max_calls;
/// The least credit that each side must give, in bytes.
pub const MIN_CREDIT_BYTES: u32 = Limits::MINIMUM.initial_credit_bytes;

/// The greatest value of any length or count, so that sums of a few fit into 32 bits.
pub const MAX_LIMIT: u32 = 1 << 30;

/// A row of the table.
#[derive(Debug)]
struct Limit {
    /// The number of the entry in a hello.
    wire: u16,
    row: Row<Limits>,
}

/// The bytes of a packet that the largest metadata must leave to other fields: the ids, the timeout and
/// the total length of a call.
const CALL_HEADER_BYTES: u32 = 64;

impl Limits {
    /// The numbers and values of the entries in a hello.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u16, u32)> {
        let limits = Self::LIMITS.iter();
        limits.filter_map(|limit| Some((limit.wire, (limit.row.get)(self)? as u32)))
    }

    /// Sets the limit of an entry in a hello; false if there is none with this number.
    pub(crate) fn set(&mut self, wire: u16, value: u32) -> bool {
        let mut limits = Self::LIMITS.iter();
        let limit = limits.find(|limit| limit.wire == wire);
        limit.is_some_and(|limit| (limit.row.set)(self, Some(value.into())))
    }

    /// Checks each limit against its range, and the largest metadata against the largest packet.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        Self::rows().try_for_each(|row| row.check(self))?;
        let most = self.max_packet_bytes - CALL_HEADER_BYTES;
        match self.max_metadata_bytes <= most {
            true => Ok(()),
            false => Err(ConfigError::disagreement(
                "max_metadata_bytes",
                self.max_metadata_bytes,
                format!("max_packet_bytes {}", self.max_packet_bytes),
                format!("may be at most {most}"),
            )),
        }
    }

    pub(crate) fn rows() -> impl Iterator<Item = &'static Row<Self>> {
        Self::LIMITS.iter().map(|limit| &limit.row)
    }
}
