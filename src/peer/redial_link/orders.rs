//! Orders for the task that dials.

/// Orders that the task that dials has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Dial no more, and end when the last connection has.
    pub(crate) stop: bool,
    /// Dial now, since the network has changed.
    pub(crate) dial_now: bool,
}
