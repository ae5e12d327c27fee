//! Names a connection that a server takes.

/// The place of a connection among those that a server takes, counted from the first one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PlaceId(pub(super) u64);
