//! Why a try to connect failed.

use std::{error::Error, fmt};

use wawo_protocol::ConnectionError;

use crate::{peer::connect_hook::HookError, status::Status};

/// Why a try to connect failed.
#[derive(Debug)]
pub(crate) enum TryError<E> {
    /// The connection could not be opened.
    Dial(E),
    /// The connection ended before it carried calls.
    Lost(ConnectionError),
    /// The hook failed.
    Hook(Status),
}

impl<E> From<HookError> for TryError<E> {
    fn from(error: HookError) -> Self {
        match error {
            HookError::Lost(error) => Self::Lost(error),
            HookError::Failed(status) => Self::Hook(status),
        }
    }
}

impl<E: fmt::Display> fmt::Display for TryError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(error) => error.fmt(f),
            Self::Lost(error) => write!(f, "the connection ended before it could be used: {error}"),
            Self::Hook(status) => write!(f, "on_connect failed: {status}"),
        }
    }
}

impl<E: Error> Error for TryError<E> {
    /// Begins after the cause that `Display` ends with.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Dial(error) => error.source(),
            Self::Lost(error) => error.source(),
            Self::Hook(status) => status.source(),
        }
    }
}
