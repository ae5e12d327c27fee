//! The numbers by which the wire names things.

use std::fmt;

/// Which end of a connection this is. Only call ids and the preface order depend on it: either
/// side may call.
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

/// A service: set in the schema, or derived from its full name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(
    clippy::exhaustive_structs,
    reason = "a number with a name; generated code matches on it"
)]
pub struct ServiceId(pub u32);

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

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{CallId, Side};

    #[test]
    fn call_ids_are_split_by_side_and_name_their_slot() {
        for index in [0, 1, 2, 1000] {
            for side in [Side::Connecting, Side::Accepting] {
                let id = CallId::new(side, index);
                assert_eq!((id.side(), id.index()), (side, index as usize));
                assert_eq!(CallId::from_wire(id.to_wire()), Some(id));
            }
        }
        assert_eq!(CallId::from_wire(0), None);
    }
}
