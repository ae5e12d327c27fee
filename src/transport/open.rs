//! Sockets that a program has opened itself, of the standard library or of tokio.

use std::io;

#[cfg(unix)]
use crate::transport::unix;
use crate::transport::{Listener, SocketOptions, Transport, tcp};

/// A type that can be used as an open transport: any [`Transport`], and the sockets of the standard
/// library, `TcpStream` and on Unix `UnixStream`.
///
/// `Kind` only distinguishes the two implementations; it is always inferred.
pub trait IntoTransport<Kind>: Send + 'static {
    /// Makes the transport. Sockets of the standard library are made non-blocking, and belong to the
    /// current runtime from then on.
    ///
    /// # Errors
    ///
    /// If the socket cannot be made non-blocking or the runtime does not take it.
    ///
    /// # Panics
    ///
    /// For sockets of the standard library: outside of a tokio runtime, or if that has no I/O.
    fn into_transport(self) -> io::Result<Box<dyn Transport>>;
}

/// The kind of all types that are a [`Transport`] themselves.
#[derive(Debug)]
#[non_exhaustive]
pub enum TokioTransport {}

/// The kind of the sockets of the standard library.
#[derive(Debug)]
#[non_exhaustive]
pub enum StdSocket {}

impl<T: Transport> IntoTransport<TokioTransport> for T {
    fn into_transport(self) -> io::Result<Box<dyn Transport>> {
        Ok(Box::new(self))
    }
}

impl IntoTransport<StdSocket> for std::net::TcpStream {
    fn into_transport(self) -> io::Result<Box<dyn Transport>> {
        self.set_nonblocking(true)?;
        Ok(Box::new(tokio::net::TcpStream::from_std(self)?))
    }
}

#[cfg(unix)]
impl IntoTransport<StdSocket> for std::os::unix::net::UnixStream {
    fn into_transport(self) -> io::Result<Box<dyn Transport>> {
        self.set_nonblocking(true)?;
        Ok(Box::new(tokio::net::UnixStream::from_std(self)?))
    }
}

/// A socket that listens already, for [`Server::listen_on`](crate::Server::listen_on): made from a
/// `TcpListener` or, on Unix, a `UnixListener`, of the standard library or of tokio; or any
/// [`Listener`], by [`new`](Self::new).
pub struct OpenListener {
    kind: ListenerKind,
    is_tls: bool,
}

/// The kind of a listening socket, which decides how it is made ready to accept.
enum ListenerKind {
    Tcp(tokio::net::TcpListener),
    StdTcp(std::net::TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
    #[cfg(unix)]
    StdUnix(std::os::unix::net::UnixListener),
    Other(Box<dyn Listener>),
}

impl OpenListener {
    /// A listener of any kind.
    pub fn new(listener: impl Listener) -> Self {
        Self::of(ListenerKind::Other(Box::new(listener)))
    }

    fn of(kind: ListenerKind) -> Self {
        let is_tls = false;
        Self { kind, is_tls }
    }

    /// Takes TLS only there, with the certificate of [`ServerBuilder::tls`](crate::ServerBuilder::tls), as at an
    /// address of `tls://`.
    #[cfg(feature = "tls")]
    #[must_use = "returns the listener for TLS"]
    pub fn tls(mut self) -> Self {
        self.is_tls = true;
        self
    }

    /// Whether it takes TLS only.
    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Accepts connections at the socket.
    pub(crate) fn into_listener(self, options: &SocketOptions) -> io::Result<Box<dyn Listener>> {
        Ok(match self.kind {
            ListenerKind::Tcp(listener) => Box::new(tcp::PortListener::new(listener, options)?),
            ListenerKind::StdTcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                Box::new(tcp::PortListener::new(listener, options)?)
            }
            #[cfg(unix)]
            ListenerKind::Unix(listener) => Box::new(unix::SocketListener::new(listener, options)?),
            #[cfg(unix)]
            ListenerKind::StdUnix(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                Box::new(unix::SocketListener::new(listener, options)?)
            }
            ListenerKind::Other(listener) => listener,
        })
    }
}

impl std::fmt::Debug for OpenListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.kind {
            ListenerKind::Tcp(_) | ListenerKind::StdTcp(_) => "OpenListener(TcpListener)",
            #[cfg(unix)]
            ListenerKind::Unix(_) | ListenerKind::StdUnix(_) => "OpenListener(UnixListener)",
            ListenerKind::Other(_) => "OpenListener(Listener)",
        })
    }
}

impl From<tokio::net::TcpListener> for OpenListener {
    fn from(listener: tokio::net::TcpListener) -> Self {
        Self::of(ListenerKind::Tcp(listener))
    }
}

impl From<std::net::TcpListener> for OpenListener {
    fn from(listener: std::net::TcpListener) -> Self {
        Self::of(ListenerKind::StdTcp(listener))
    }
}

#[cfg(unix)]
impl From<tokio::net::UnixListener> for OpenListener {
    fn from(listener: tokio::net::UnixListener) -> Self {
        Self::of(ListenerKind::Unix(listener))
    }
}

#[cfg(unix)]
impl From<std::os::unix::net::UnixListener> for OpenListener {
    fn from(listener: std::os::unix::net::UnixListener) -> Self {
        Self::of(ListenerKind::StdUnix(listener))
    }
}
