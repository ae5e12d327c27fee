//! Why a server cannot serve.

use std::{error::Error, fmt, io};

use wawo_protocol::ConfigError;

use crate::{
    dispatch::DuplicateService,
    error_chain::ErrorChain,
    peer::ConnectionLimit,
    transport::{Address, AddressError, SocketOptionsError},
};

/// The reason why a server cannot serve. `Display` ends with the cause, and [`source`](Error::source)
/// begins after that cause. `Debug` prints the whole chain, since `main` prints errors with it.
#[non_exhaustive]
pub enum ServeError {
    /// The text is not an address.
    Address(AddressError),
    /// The server has no listener for the scheme of the address.
    NoListener {
        /// The address.
        address: Address,
        /// The crate, feature or call that provides a listener.
        advice: String,
    },
    /// The socket of [`ServerHandle::accept_over`](crate::ServerHandle::accept_over) cannot be used.
    OpenSocket(io::Error),
    /// The server cannot listen at the address.
    Bind {
        /// The address.
        address: Address,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The server cannot listen at the socket of [`Server::listen_on`](crate::Server::listen_on).
    OpenListener(io::Error),
    /// Two services have the same id or name.
    DuplicateService(DuplicateService),
    /// The table of services does not fit into a hello.
    Config(ConfigError),
    /// An option of the sockets is out of its range.
    SocketOptions(SocketOptionsError),
    /// The workers cannot be started.
    Workers(io::Error),
    /// A limit refuses the transport of [`ServerHandle::accept_from`](crate::ServerHandle::accept_from).
    Refused(ConnectionLimit),
    /// The server drains or has ended.
    Draining,
    /// There is no runtime to serve in.
    NoRuntime,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::NoListener { address, advice } => {
                write!(f, "cannot listen at {address}: {advice}")
            }
            Self::OpenSocket(error) => write!(f, "cannot use the socket that was given: {error}"),
            Self::Bind { address, source } => write!(f, "cannot listen at {address}: {source}"),
            Self::DuplicateService(error) => error.fmt(f),
            Self::OpenListener(error) => {
                write!(f, "cannot listen at the socket that was given: {error}")
            }
            Self::Config(error) => write!(f, "the configuration is wrong: {error}"),
            Self::SocketOptions(error) => error.fmt(f),
            Self::Workers(error) => write!(f, "cannot start the workers: {error}"),
            Self::Refused(limit) => {
                write!(
                    f,
                    "the server takes no more connections of this kind ({limit})"
                )
            }
            Self::Draining => {
                f.write_str("the server drains or has ended, and takes no more connections")
            }
            Self::NoRuntime => {
                f.write_str("serving needs a tokio runtime; call it in one, as in `#[tokio::main]`")
            }
        }
    }
}

impl Error for ServeError {
    /// Begins after the cause that `Display` ends with.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Bind { source, .. } => source.source(),
            Self::OpenSocket(error) => error.source(),
            Self::Workers(error) => error.source(),
            Self::Address(error) => error.source(),
            Self::DuplicateService(error) => error.source(),
            Self::OpenListener(error) => error.source(),
            Self::Config(error) => error.source(),
            Self::SocketOptions(error) => error.source(),
            Self::NoListener { .. } | Self::Refused(_) | Self::Draining | Self::NoRuntime => None,
        }
    }
}

impl From<AddressError> for ServeError {
    fn from(error: AddressError) -> Self {
        Self::Address(error)
    }
}

impl From<DuplicateService> for ServeError {
    fn from(error: DuplicateService) -> Self {
        Self::DuplicateService(error)
    }
}

impl From<ConfigError> for ServeError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<SocketOptionsError> for ServeError {
    fn from(error: SocketOptionsError) -> Self {
        Self::SocketOptions(error)
    }
}

impl fmt::Debug for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&ErrorChain(self), f)
    }
}
