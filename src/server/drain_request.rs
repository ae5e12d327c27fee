//! How a server drains, by its settings or as a program asks for.

use std::time::Duration;

use crate::transport::Address;

/// How a server drains.
#[derive(Debug, Clone)]
pub(crate) struct DrainRequest {
    /// How long calls in flight may go on.
    pub(crate) grace: Duration,
    /// The time over which peers are asked to move, before they are drained. Zero: all are drained at once.
    pub(crate) spread: Duration,
    /// Where peers are asked to connect anew; `None` for the address that they connected to.
    pub(crate) address: Option<Address>,
}
