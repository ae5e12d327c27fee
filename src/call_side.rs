//! The two sides of a call.

/// The side of a call on which it is observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums, reason = "a call has two sides")]
pub enum CallSide {
    /// The side that makes the call.
    Client,
    /// The side that serves it.
    Server,
}

impl CallSide {
    /// The name in metrics and logs: `client` or `server`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}
