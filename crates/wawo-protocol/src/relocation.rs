//! The request of an accepting side that the other side connects anew.

use std::time::Duration;

use thiserror::Error;

/// The request of the accepting side that the connecting side makes a new connection: when, and where
/// (docs/protocol.md, "Move").
///
/// ```
/// # use std::time::Duration;
/// # use wawo_protocol::Relocation;
/// let second = Duration::from_secs(1);
/// let relocation = Relocation::new(second, 2 * second, "tcp://10.0.0.7:4000")?;
/// assert_eq!(relocation.address(), "tcp://10.0.0.7:4000");
/// # Ok::<(), wawo_protocol::RelocationError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocation {
    /// In milliseconds from when the packet comes.
    not_before: u32,
    not_after: u32,
    address: String,
}

/// Why there is no such request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RelocationError {
    /// The last moment comes before the first.
    #[error("the last moment to move, {not_after:?}, comes before the first, {not_before:?}")]
    Reversed {
        /// The first moment.
        not_before: Duration,
        /// The last moment.
        not_after: Duration,
    },
    /// The address is too long.
    #[error("an address of {0} bytes to move to; it may have at most {MAX_ADDRESS_BYTES}")]
    AddressTooLong(usize),
}

/// The longest address to move to, in bytes. A host name has at most 253, and a path of a Unix socket
/// about 100.
const MAX_ADDRESS_BYTES: usize = 1024;

impl Relocation {
    /// A request to connect anew between these times from now, each cut to whole milliseconds and at most
    /// 49 days. An empty address stands for that to which the other side has connected before.
    ///
    /// # Errors
    ///
    /// If `not_after` comes before `not_before`, or the address is longer than 1,024 bytes.
    pub fn new(
        not_before: Duration,
        not_after: Duration,
        address: impl Into<String>,
    ) -> Result<Self, RelocationError> {
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let address = address.into();
        Self::of_wire(millis(not_before), millis(not_after), address)
    }

    /// The request with the numbers of a packet.
    pub(crate) fn of_wire(
        not_before: u32,
        not_after: u32,
        address: String,
    ) -> Result<Self, RelocationError> {
        let relocation = Self {
            not_before,
            not_after,
            address,
        };
        if not_after < not_before {
            return Err(RelocationError::Reversed {
                not_before: relocation.not_before(),
                not_after: relocation.not_after(),
            });
        }
        match relocation.address.len() {
            0..=MAX_ADDRESS_BYTES => Ok(relocation),
            length => Err(RelocationError::AddressTooLong(length)),
        }
    }

    /// The first moment at which the new connection may begin, from when the request has come.
    pub fn not_before(&self) -> Duration {
        Duration::from_millis(self.not_before.into())
    }

    /// The last moment at which it should begin. The old connection may end some time after it.
    pub fn not_after(&self) -> Duration {
        Duration::from_millis(self.not_after.into())
    }

    /// The address to connect to, as text; empty for the one of before.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The numbers of the packet, before the address.
    pub(crate) fn wire_times(&self) -> (u32, u32) {
        (self.not_before, self.not_after)
    }
}
