//! The state of a connection, as its peer and others outside of the driver see it.

use wawo_protocol::ConnectionError;

/// The state of a connection. A state is only followed by states below it; all but the last may be
/// left out.
#[derive(Debug, Clone)]
pub(crate) enum ConnectionState {
    /// The hello of the other side has not come.
    Handshaking,
    /// Both sides take calls.
    Open,
    /// One side takes no more calls.
    Draining,
    /// The connection is over.
    Closed(ConnectionError),
}

impl ConnectionState {
    /// Whether one side takes no more calls, or the connection is over.
    pub(crate) fn takes_no_calls(&self) -> bool {
        matches!(self, Self::Draining | Self::Closed(_))
    }

    /// Whether the connection is over.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// Why the connection is over, if it is over.
    pub(crate) fn end(&self) -> Option<ConnectionError> {
        match self {
            Self::Closed(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// Records that one side takes no more calls. Returns whether this was new.
    pub(crate) fn drain(&mut self) -> bool {
        let was_open = matches!(self, Self::Open);
        if was_open {
            *self = Self::Draining;
        }
        was_open
    }
}
