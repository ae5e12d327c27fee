//! Orders for the task that dials.

use std::sync::Weak;

use wawo_protocol::Relocation;

use crate::connection::ConnectionHandle;

/// Orders that the task that dials has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Dial no more, and end when the last connection has.
    pub(crate) stop: bool,
    /// Dial now, since the network has changed.
    pub(crate) dial_now: bool,
    /// Connect anew, since the other side asks for it. A later one replaces it.
    pub(crate) moved: Option<Move>,
}

/// The request of the other side to connect anew.
#[derive(Debug)]
pub(crate) struct Move {
    /// The connection over which it came.
    pub(crate) from: Weak<ConnectionHandle>,
    pub(crate) relocation: Relocation,
}
