//! Why a server cannot serve.

use std::{error::Error, fmt, io};

use wawo_protocol::ConfigError;

use crate::{
    dispatch::DuplicateService,
    error_chain::ErrorChain,
    server::host::TrustedProxyError,
    transport::{Address, AddressError, SocketOptionsError},
};

/// Why a server cannot serve. `Display` ends with the cause, and [`source`](Error::source) goes
/// on behind that. `Debug` prints all causes, since that is what `main` prints.
#[non_exhaustive]
pub enum ServeError {
    /// The address is not one.
    Address(AddressError),
    /// The address cannot be listened at.
    Bind {
        /// The address.
        address: Address,
        /// Why.
        source: io::Error,
    },
    /// The socket of [`Server::listen_on`](crate::Server::listen_on) cannot be listened at.
    OpenListener(io::Error),
    /// Two services have one id.
    DuplicateService(DuplicateService),
    /// A setting is out of its range.
    Config(ConfigError),
    /// An option of the sockets is out of its range.
    SocketOptions(SocketOptionsError),
    /// The workers cannot be started, or are too many.
    Workers(io::Error),
    /// A limit of the server lets nobody in, or nobody would serve.
    Zero(&'static str),
    /// A message may take more than all messages of the server: it could never be served.
    DecodedOverServer {
        /// [`Config::max_decoded_bytes`](crate::Config::max_decoded_bytes).
        message: usize,
        /// [`ServerBuilder::max_server_decoded_bytes`](crate::ServerBuilder::max_server_decoded_bytes).
        server: usize,
    },
    /// A trusted proxy is neither an address nor a prefix.
    TrustedProxy(TrustedProxyError),
    /// The server drains or has ended.
    Draining,
    /// There is no runtime to serve in.
    NoRuntime,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::Bind { address, source } => write!(f, "cannot listen at {address}: {source}"),
            Self::DuplicateService(error) => error.fmt(f),
            Self::OpenListener(error) => {
                write!(f, "cannot listen at the socket that was given: {error}")
            }
            Self::Config(error) => write!(f, "the configuration is wrong: {error}"),
            Self::SocketOptions(error) => error.fmt(f),
            Self::Workers(error) => write!(f, "cannot start the workers: {error}"),
            Self::Zero(setting) => write!(f, "{setting} is 0; it must be at least 1"),
            Self::DecodedOverServer { message, server } => write!(
                f,
                "max_server_decoded_bytes is {server}; \
                 it must be at least max_decoded_bytes, which is {message}"
            ),
            Self::TrustedProxy(error) => write!(f, "trusted_proxies: {error}"),
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
    /// Begins behind the cause that `Display` ends with.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Bind { source, .. } => source.source(),
            Self::Workers(error) => error.source(),
            Self::Address(error) => error.source(),
            Self::DuplicateService(error) => error.source(),
            Self::OpenListener(error) => error.source(),
            Self::Config(error) => error.source(),
            Self::SocketOptions(error) => error.source(),
            Self::TrustedProxy(error) => error.source(),
            Self::Zero(_) | Self::DecodedOverServer { .. } | Self::Draining | Self::NoRuntime => {
                None
            }
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

impl From<TrustedProxyError> for ServeError {
    fn from(error: TrustedProxyError) -> Self {
        Self::TrustedProxy(error)
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
