//! The ids of calls, services and methods on the wire, and how ids follow from names.

use std::fmt;

/// The end of a connection that a peer has. Only call ids and the order of the prefaces depend on
/// it: either side may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a connection has two ends, and always will"
)]
pub enum Side {
    /// Opened the connection; its calls have odd ids.
    Connecting,
    /// Accepted the connection; its calls have even ids.
    Accepting,
}

impl Side {
    /// The name in metrics and logs: `connecting` or `accepting`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Accepting => "accepting",
        }
    }

    /// The other end.
    pub const fn other(self) -> Self {
        match self {
            Self::Connecting => Self::Accepting,
            Self::Accepting => Self::Connecting,
        }
    }
}

/// A call of one side of a connection, never zero.
///
/// Ids are dense and are used again once a call has ended, so that both sides find a call by
/// index: the n-th call slot (from 0) of the connecting side is `2n + 1`, of the accepting side
/// `2n + 2` (docs/protocol.md, "Call ids").
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(u32);

impl CallId {
    /// The id on the wire, or `None` for zero, which means "no call".
    pub const fn from_wire(id: u32) -> Option<Self> {
        match id {
            0 => None,
            id => Some(Self(id)),
        }
    }

    /// The id of call slot `index` of `side`. Slots are bounded by `max_calls`, far below the
    /// 2^31 that fit.
    pub const fn new(side: Side, index: u32) -> Self {
        match side {
            Side::Connecting => Self(2 * index + 1),
            Side::Accepting => Self(2 * index + 2),
        }
    }

    /// The side that started this call.
    pub const fn side(self) -> Side {
        if self.0 % 2 == 1 {
            Side::Connecting
        } else {
            Side::Accepting
        }
    }

    /// The slot of this call in the table of its side.
    pub const fn index(self) -> usize {
        ((self.0 - 1) / 2) as usize
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({})", self.0)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The highest bit of an id. It is set in ids that are derived from names and not in ids that a
/// schema sets, so the two kinds never meet (docs/protocol.md, "Service and method ids").
pub const DERIVED_ID: u32 = 1 << 31;

/// A service: set in the schema, or derived from its full name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(
    clippy::exhaustive_structs,
    reason = "a number with a name; generated code matches on it"
)]
pub struct ServiceId(pub u32);

impl ServiceId {
    /// The id of a service whose schema sets none: FNV-1a with 32 bits over its full name, such as
    /// `chat.v1.Chat`, with the highest bit set.
    pub const fn of(full_name: &str) -> Self {
        Self(fnv1a_32(full_name) | DERIVED_ID)
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A method within its service: set in the schema, or derived from its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(
    clippy::exhaustive_structs,
    reason = "a number with a name; generated code matches on it"
)]
pub struct MethodId(pub u32);

impl MethodId {
    /// The id of a method whose schema sets none: FNV-1a with 32 bits over its name within the
    /// service, such as `Join`, with the highest bit set.
    pub const fn of(name: &str) -> Self {
        Self(fnv1a_32(name) | DERIVED_ID)
    }
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const fn fnv1a_32(text: &str) -> u32 {
    let bytes = text.as_bytes();
    let (mut hash, mut at) = (0x811c_9dc5_u32, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    hash
}
