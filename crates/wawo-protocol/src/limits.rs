//! The limits that a side announces, in one table with their numbers on the wire.
//!
//! Each is a setting of the [`Config`](crate::Config), and an entry of the
//! [`Hello`](crate::Hello). Its least is what each side must accept, and what holds until the hello of
//! the other side is there (docs/protocol.md, "Limits"). Its most keeps sums of a few limits within 32
//! bits.

use crate::{
    setting::{ConfigError, Row, Unit, u32_of},
    settings,
};

/// Hands the table to a macro. A row says the number of the hello's entry, the unit, the name, the
/// default, the least and the most.
macro_rules! limits {
    ($then:ident) => {
        $then! {
            /// The payload of one packet, in bytes.
            1 Bytes max_packet_bytes = "128 KiB", least "16 KiB", most "1 GiB";
            /// One whole message, in bytes.
            2 Bytes max_message_bytes = "4 MiB", least "64 KiB", most "1 GiB";
            /// The metadata block of a call or reply, in bytes. It must fit into a packet beside 64
            /// bytes, for which the default of `max_packet_bytes` has ample room.
            3 Bytes max_metadata_bytes = "8 KiB", least "8 KiB", most "1 GiB";
            /// Entries in a metadata block; the wire counts them in two bytes.
            4 Count max_metadata_entries = "64", least "64", most "65535";
            /// Calls in flight that the other side may have with us; one-way calls do not count. The
            /// other side leaves a sixteenth of them to calls that its handlers make, and refuses deep
            /// ones for which none is left.
            5 Count max_calls = "1024", least "64", most "1073741824";
            /// Message bytes that the other side may send in one direction of a call before we grant
            /// more.
            6 Bytes initial_credit_bytes = "256 KiB", least "64 KiB", most "1 GiB";
            /// Bytes that the other side may have with us, over all of its calls, in one-way messages
            /// and in the messages of streams after the first, before we grant more. Each message costs
            /// its length and [`MESSAGE_COST_BYTES`](crate::MESSAGE_COST_BYTES); one that begins while
            /// some credit is left may exceed it.
            7 Bytes request_credit_bytes = "8 MiB", least "64 KiB", most "1 GiB";
            /// The same as `request_credit_bytes` for streams of replies to our calls, apart from
            /// requests: neither can hold up the other.
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
            /// The least that a side may announce, and what holds until its hello is there.
            pub const MINIMUM: Self = Self { $($name: u32_of(Unit::$unit.amount($least)),)* };

            /// The table.
            const LIMITS: &[Limit] = &[$(Limit {
                wire: $wire,
                row: settings!(@row $unit $name = $default, least $least, most $most),
                get: |limits| limits.$name,
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

/// The least packet that each side must accept, in bytes; until the hello has come, the most.
pub const MIN_PACKET_BYTES: u32 = Limits::MINIMUM.max_packet_bytes;
/// The least message that each side must accept, in bytes.
pub const MIN_MESSAGE_BYTES: u32 = Limits::MINIMUM.max_message_bytes;
/// The least metadata that each side must accept with a call, in bytes.
pub const MIN_METADATA_BYTES: u32 = Limits::MINIMUM.max_metadata_bytes;
/// The least number of entries of metadata that each side must accept.
pub const MIN_METADATA_ENTRIES: u32 = Limits::MINIMUM.max_metadata_entries;
/// The least number of calls in flight that each side must accept.
pub const MIN_CALLS: u32 = Limits::MINIMUM.max_calls;
/// The least credit that each side must give, in bytes.
pub const MIN_CREDIT_BYTES: u32 = Limits::MINIMUM.initial_credit_bytes;

/// No length or count may be set to more, so that sums of a few fit into 32 bits.
pub const MAX_LIMIT: u32 = 1 << 30;

/// A row of the table.
#[derive(Debug)]
struct Limit {
    /// The number of the entry in a hello.
    wire: u16,
    row: Row<Limits>,
    get: fn(&Limits) -> u32,
}

/// The bytes of a packet that are left when metadata has all of its own: ids, a timeout and the total
/// length stand beside the metadata of a call.
const CALL_HEADER_BYTES: u32 = 64;

impl Limits {
    /// The numbers and values of the entries in a hello.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u16, u32)> {
        let limits = Self::LIMITS.iter();
        limits.map(|limit| (limit.wire, (limit.get)(self)))
    }

    /// Sets the limit of an entry in a hello; false if there is none with this number.
    pub(crate) fn set(&mut self, wire: u16, value: u32) -> bool {
        let mut limits = Self::LIMITS.iter();
        let limit = limits.find(|limit| limit.wire == wire);
        limit.is_some_and(|limit| (limit.row.set)(self, Some(value.into())))
    }

    /// Checks each limit against its range, and metadata against the packet.
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
