//! The hello: the first packet of each side, with its limits and its claimed name.

use std::{fmt, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::{config::Config, error::PeerMisbehaved, id::Side, limits::Limits};

/// The hello of one side (docs/protocol.md, "Hello").
///
/// On the wire it is a list of entries of type, length and value. A type that this version does
/// not know is skipped, so that later versions can add some. `Debug` does not print the credentials.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hello {
    /// Features that its side has, as bits. Version 1 defines none yet, and a receiver ignores those that
    /// it does not know.
    pub features: u32,
    /// The side that sent it; `None` if it does not say so.
    pub role: Option<Side>,
    /// The shortest time between two pings that its side asks for; `None` if it does not ask.
    pub keep_alive: Option<Duration>,
    /// The limits that the receiver of the hello must keep.
    pub limits: Limits,
    /// The timeout of its calls that carry none; `None` for no deadline.
    pub default_timeout: Option<Duration>,
    /// The name that its side claims; not checked here.
    pub claimed_name: String,
    /// The proof of who its side is, for the layers above.
    pub credentials: Bytes,
    /// The table of the services that its side serves, for the layers above.
    pub services: Bytes,
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = match self.credentials.is_empty() {
            true => "none",
            false => "..",
        };
        f.debug_struct("Hello")
            .field("limits", &self.limits)
            .field("default_timeout", &self.default_timeout)
            .field("claimed_name", &self.claimed_name)
            .field("credentials", &format_args!("{credentials}"))
            .field("services", &self.services)
            .finish_non_exhaustive()
    }
}

/// The credentials for a hello are too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "credentials of {length} bytes; beside the table of services, the hello has room for {most} \
     (Config::max_credentials_bytes)"
)]
#[non_exhaustive]
pub struct CredentialsTooLong {
    /// Their length.
    pub length: usize,
    /// The room.
    pub most: usize,
}

const DEFAULT_TIMEOUT: u16 = 8;
const CLAIMED_NAME: u16 = 9;
const CREDENTIALS: u16 = 10;
const SERVICES: u16 = 11;
const FEATURES: u16 = 13;
const ROLE: u16 = 14;
const KEEP_ALIVE: u16 = 15;

/// The entries of version 1 have the numbers up to this one.
const LAST_ENTRY: u16 = KEEP_ALIVE;

impl Hello {
    /// The hello of a side with this configuration.
    pub(crate) fn new(
        side: Side,
        config: &Config,
        credentials: Bytes,
    ) -> Result<Self, CredentialsTooLong> {
        let (length, most) = (credentials.len(), config.max_credentials_bytes());
        if length > most {
            return Err(CredentialsTooLong { length, most });
        }
        Ok(Self {
            features: 0,
            role: Some(side),
            keep_alive: Some(config.keep_alive_interval()),
            limits: *config.limits(),
            default_timeout: config.default_timeout(),
            claimed_name: config.claimed_name().to_owned(),
            credentials,
            services: config.services().clone(),
        })
    }

    pub(crate) fn encode(&self, out: &mut BytesMut) {
        let millis = self.default_timeout.map_or(0, timeout_to_wire);
        for (entry, value) in self.limits.entries() {
            put_entry(out, entry, &value.to_be_bytes());
        }
        put_entry(out, DEFAULT_TIMEOUT, &millis.to_be_bytes());
        put_optional(out, CLAIMED_NAME, self.claimed_name.as_bytes());
        put_optional(out, CREDENTIALS, &self.credentials);
        put_optional(out, SERVICES, &self.services);
        if self.features != 0 {
            put_entry(out, FEATURES, &self.features.to_be_bytes());
        }
        if let Some(side) = self.role {
            put_entry(out, ROLE, &[role_to_wire(side)]);
        }
        if let Some(interval) = self.keep_alive {
            let millis = timeout_to_wire(interval);
            put_entry(out, KEEP_ALIVE, &millis.to_be_bytes());
        }
    }

    pub(crate) fn decode(mut payload: Bytes) -> Result<Self, PeerMisbehaved> {
        let mut hello = Self {
            features: 0,
            role: None,
            keep_alive: None,
            limits: Limits::MINIMUM,
            default_timeout: None,
            claimed_name: String::new(),
            credentials: Bytes::new(),
            services: Bytes::new(),
        };
        let mut seen = 0_u32;
        while !payload.is_empty() {
            let (entry, value) = take_entry(&mut payload)?;
            if !(1..=LAST_ENTRY).contains(&entry) {
                continue;
            }
            if seen & (1 << entry) != 0 {
                return Err(PeerMisbehaved::HelloEntryTwice(entry));
            }
            seen |= 1 << entry;
            hello.set(entry, value)?;
        }
        let checked = hello.limits.check();
        checked.map_err(|error| PeerMisbehaved::HelloLimit(Box::new(error)))?;
        Ok(hello)
    }

    fn set(&mut self, entry: u16, value: Bytes) -> Result<(), PeerMisbehaved> {
        match entry {
            DEFAULT_TIMEOUT => self.default_timeout = timeout_from_wire(number(entry, &value)?),
            CLAIMED_NAME => self.claimed_name = claimed_name(&value)?,
            // The value is copied: a hello is kept as long as its connection, and must not keep the
            // buffer that it was read into.
            CREDENTIALS => self.credentials = Bytes::copy_from_slice(&value),
            SERVICES => self.services = Bytes::copy_from_slice(&value),
            FEATURES => self.features = number(entry, &value)?,
            ROLE => self.role = Some(role(&value)?),
            KEEP_ALIVE => self.keep_alive = timeout_from_wire(number(entry, &value)?),
            limit => drop(self.limits.set(limit, number(entry, &value)?)),
        }
        Ok(())
    }
}

/// A timeout in the form of the wire: whole milliseconds, rounded up so that it is never shorter than
/// the setting, and at least one, since zero means "none".
pub(crate) fn timeout_to_wire(timeout: Duration) -> u32 {
    let millis = timeout.as_nanos().div_ceil(1_000_000);
    u32::try_from(millis).unwrap_or(u32::MAX).max(1)
}

pub(crate) fn timeout_from_wire(millis: u32) -> Option<Duration> {
    (millis != 0).then(|| Duration::from_millis(millis.into()))
}

fn put_optional(out: &mut BytesMut, entry: u16, value: &[u8]) {
    if !value.is_empty() {
        put_entry(out, entry, value);
    }
}

fn put_entry(out: &mut BytesMut, entry: u16, value: &[u8]) {
    out.put_u16(entry);
    // The whole hello fits into 16 KiB: `ConfigBuilder::build`, `Config::with_services` and `Hello::new`
    // see to it.
    out.put_u32(value.len() as u32);
    out.put_slice(value);
}

fn take_entry(payload: &mut Bytes) -> Result<(u16, Bytes), PeerMisbehaved> {
    if payload.len() < 6 {
        return Err(PeerMisbehaved::HelloCutOff);
    }
    let entry = payload.get_u16();
    let length = payload.get_u32() as usize;
    if length > payload.len() {
        return Err(PeerMisbehaved::HelloCutOff);
    }
    Ok((entry, payload.split_to(length)))
}

fn number(entry: u16, value: &[u8]) -> Result<u32, PeerMisbehaved> {
    let bytes = value.try_into();
    let wrong = |_| PeerMisbehaved::HelloEntryLength {
        entry,
        length: value.len(),
        expected: 4,
    };
    bytes.map(u32::from_be_bytes).map_err(wrong)
}

fn role(value: &[u8]) -> Result<Side, PeerMisbehaved> {
    match *value {
        [1] => Ok(Side::Connecting),
        [2] => Ok(Side::Accepting),
        [other] => Err(PeerMisbehaved::HelloRole(other)),
        _ => Err(PeerMisbehaved::HelloEntryLength {
            entry: ROLE,
            length: value.len(),
            expected: 1,
        }),
    }
}

fn role_to_wire(side: Side) -> u8 {
    match side {
        Side::Connecting => 1,
        Side::Accepting => 2,
    }
}

fn claimed_name(value: &[u8]) -> Result<String, PeerMisbehaved> {
    match std::str::from_utf8(value) {
        Ok(text) if text.len() <= 255 => Ok(text.to_owned()),
        _ => Err(PeerMisbehaved::HelloClaimedName),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{timeout_from_wire, timeout_to_wire};

    #[test]
    fn timeouts_round_up_and_never_become_none() {
        assert_eq!(timeout_to_wire(Duration::from_nanos(1)), 1);
        assert_eq!(timeout_to_wire(Duration::from_micros(1001)), 2);
        assert_eq!(timeout_to_wire(Duration::ZERO), 1);
        assert_eq!(timeout_to_wire(Duration::MAX), u32::MAX);
        assert_eq!(timeout_from_wire(0), None);
        assert_eq!(timeout_from_wire(5), Some(Duration::from_millis(5)));
    }
}
