//! Why a connect failed.

use std::{error::Error, fmt, io, time::Duration};

use wawo_protocol::{CloseCode, ConfigError, ConnectionError};

use crate::{
    dispatch::DuplicateService,
    error_chain::ErrorChain,
    status::{BoxError, Status},
    transport::{Address, AddressError, SocketOptionsError},
};

/// The reason why connecting to a peer failed. `Display` ends with the cause, and
/// [`source`](Error::source) begins after that cause. `Debug` prints the whole chain, since `main` prints
/// errors with it.
#[non_exhaustive]
pub enum ConnectError {
    /// The text is not an address.
    Address(AddressError),
    /// The builder has no connector for the scheme of the address.
    NoConnector {
        /// The address.
        address: Address,
        /// The crate, feature or call that provides a connector.
        advice: String,
    },
    /// The socket of [`PeerBuilder::connect_over`](crate::PeerBuilder::connect_over) cannot be used.
    OpenSocket(io::Error),
    /// The address cannot be reached.
    Transport {
        /// The address.
        address: Address,
        /// The error of the operating system or the connector.
        source: io::Error,
    },
    /// The connect timeout passed.
    TimedOut {
        /// The address.
        address: Address,
        /// The connect timeout.
        timeout: Duration,
        /// How far it came: whether the socket was connected and only the hello is missing. If several
        /// addresses were tried, how each of them failed; for a Unix socket or a named pipe, whether it is
        /// busy.
        attempts: String,
    },
    /// The other end is not a wawo peer, or refused this one.
    Hello {
        /// Its address, if there was one to connect to.
        address: Option<Address>,
        /// The reason why the connection ended.
        source: ConnectionError,
    },
    /// The function of [`PeerBuilder::on_connect`](crate::PeerBuilder::on_connect) failed.
    OnConnect {
        /// The address of the peer, if there was one to connect to.
        address: Option<Address>,
        /// The status with which it failed.
        status: Status,
    },
    /// There is no runtime to drive the connection.
    NoRuntime,
    /// Two services of this side have the same id or name.
    DuplicateService(DuplicateService),
    /// The table of services does not fit into a hello.
    Config(ConfigError),
    /// The other end did not let this side in: its authenticator did not accept the credentials.
    Unauthenticated {
        /// Its address, if there was one to connect to.
        address: Option<Address>,
        /// The reason that it gave.
        reason: String,
    },
    /// This side has no credentials: their provider failed, or they do not fit into a hello.
    Credentials(BoxError),
    /// An option of the socket is out of its range.
    SocketOptions(SocketOptionsError),
}

impl ConnectError {
    /// The error of a handshake that has failed.
    pub(super) fn of_handshake(address: Option<Address>, source: ConnectionError) -> Self {
        match source {
            ConnectionError::ClosedByPeer {
                code: CloseCode::Unauthenticated,
                text: reason,
            } => Self::Unauthenticated { address, reason },
            source => Self::Hello { address, source },
        }
    }

    /// The error of a connector. A server may have refused the connection in wawo's own words before its
    /// transport was open, as one does that takes no more handshakes of TLS.
    pub(super) fn of_transport(address: &Address, source: io::Error) -> Self {
        let address = address.clone();
        let refused = source.get_ref().and_then(|inner| inner.downcast_ref());
        match refused.cloned() {
            Some(source) => Self::of_handshake(Some(address), source),
            None => Self::Transport { address, source },
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::NoConnector { address, advice } => {
                write!(f, "cannot connect to {address}: {advice}")
            }
            Self::OpenSocket(error) => write!(f, "cannot use the socket that was given: {error}"),
            Self::Transport { address, source } => {
                write!(f, "cannot connect to {address}: {source}")
            }
            Self::TimedOut {
                address,
                timeout,
                attempts,
            } => {
                let separator = if attempts.is_empty() { "" } else { ": " };
                write!(
                    f,
                    "{address} did not answer within {timeout:?} (connect_timeout){separator}{attempts}"
                )
            }
            Self::Hello {
                address: Some(address),
                source,
            } => write!(f, "no connection to {address}: {source}"),
            Self::Hello {
                address: None,
                source,
            } => write!(f, "no connection to the peer: {source}"),
            Self::OnConnect {
                address: Some(address),
                status,
            } => write!(f, "no connection to {address}: on_connect failed: {status}"),
            Self::OnConnect {
                address: None,
                status,
            } => write!(f, "no connection to the peer: on_connect failed: {status}"),
            Self::DuplicateService(error) => error.fmt(f),
            Self::Config(error) => write!(f, "the configuration is wrong: {error}"),
            Self::Unauthenticated { address, reason } => {
                match address {
                    Some(address) => write!(f, "{address} refused the credentials")?,
                    None => f.write_str("the peer refused the credentials")?,
                }
                let separator = if reason.is_empty() { "" } else { ": " };
                write!(f, "{separator}{reason}")
            }
            Self::Credentials(error) => write!(f, "this side has no credentials: {error}"),
            Self::SocketOptions(error) => error.fmt(f),
            Self::NoRuntime => f.write_str(
                "connecting needs a tokio runtime; call it in one, as in `#[tokio::main]`",
            ),
        }
    }
}

impl Error for ConnectError {
    /// Begins after the cause that `Display` ends with.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Transport { source, .. } => source.source(),
            Self::Hello { source, .. } => source.source(),
            Self::OnConnect { status, .. } => status.source(),
            Self::Address(error) => error.source(),
            Self::DuplicateService(error) => error.source(),
            Self::Config(error) => error.source(),
            Self::Credentials(error) => error.source(),
            Self::SocketOptions(error) => error.source(),
            Self::OpenSocket(error) => error.source(),
            Self::NoConnector { .. }
            | Self::TimedOut { .. }
            | Self::Unauthenticated { .. }
            | Self::NoRuntime => None,
        }
    }
}

impl From<AddressError> for ConnectError {
    fn from(error: AddressError) -> Self {
        Self::Address(error)
    }
}

impl From<DuplicateService> for ConnectError {
    fn from(error: DuplicateService) -> Self {
        Self::DuplicateService(error)
    }
}

impl From<ConfigError> for ConnectError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<SocketOptionsError> for ConnectError {
    fn from(error: SocketOptionsError) -> Self {
        Self::SocketOptions(error)
    }
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&ErrorChain(self), f)
    }
}
