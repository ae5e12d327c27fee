//! The id of a connection's place in a server.

/// The place of a connection among those of a server. Places are counted from the first connection on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PlaceId(pub(super) u64);
