//! Accepting transports, by the scheme of an address.

use std::{
    fmt, io,
    task::{Context, Poll},
};

#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{io::DuplexStream, net::TcpStream};

use crate::transport::{Address, BoxFuture, SocketOptions, Transport};

/// Listens at addresses of one scheme. See
/// [`ServerBuilder::listener`](crate::ServerBuilder::listener).
pub trait Listen: Send + Sync + 'static {
    /// The scheme, such as `vsock`, without `://`. One that is built in, such as `tcp`, is replaced.
    fn scheme(&self) -> &str;

    /// Listens at an address, whose scheme is that of [`scheme`](Self::scheme): at several places if
    /// it is a name for several.
    ///
    /// `options` are those of the server, for listeners that are sockets of the system.
    ///
    /// # Errors
    ///
    /// If it cannot be listened there; the error that the caller gets names the address.
    fn listen<'a>(
        &'a self,
        address: &'a Address,
        options: &'a SocketOptions,
    ) -> BoxFuture<'a, io::Result<Vec<Box<dyn Listener>>>>;
}

/// Accepts transports at one place. Dropping it ends that.
pub trait Listener: Send + 'static {
    /// The address that transports are accepted at, with what the system chose of it, such as a port.
    ///
    /// # Errors
    ///
    /// If that is not known; then the server does not show it.
    fn address(&self) -> io::Result<Address>;

    /// The next transport. It is polled until it is ready, and again for the next one.
    ///
    /// # Errors
    ///
    /// Of the kinds `ConnectionAborted`, `ConnectionReset` and `ConnectionRefused` if one connection
    /// failed and others may be accepted at once. After any other error the server pauses, for 5 ms
    /// to 1 s, before it tries again.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<AcceptedSocket>>;
}

/// A transport that was accepted, and the address it came from.
///
/// An address of `tcp://` counts for the limits by host of a server; others do not.
#[derive(Debug)]
pub struct AcceptedSocket {
    from: Address,
    transport: SocketKind,
}

/// The runtime that accepted a socket is the one that hears when it is ready.
enum SocketKind {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Memory(DuplexStream),
    Other(Box<dyn Transport>),
}

impl AcceptedSocket {
    /// A transport of any kind. It stays with the runtime in which it was accepted, if it is of one;
    /// its connection may be served by another ([`ServerBuilder::workers`]), so prefer
    /// [`tcp`](Self::tcp) and `unix` for sockets.
    ///
    /// [`ServerBuilder::workers`]: crate::ServerBuilder::workers
    pub fn new(transport: impl Transport, from: Address) -> Self {
        let transport = SocketKind::Other(Box::new(transport));
        Self { from, transport }
    }

    /// A TCP socket, which is given to the runtime that serves it.
    pub fn tcp(stream: TcpStream, from: Address) -> Self {
        let transport = SocketKind::Tcp(stream);
        Self { from, transport }
    }

    /// A Unix socket, which is given to the runtime that serves it.
    #[cfg(unix)]
    pub fn unix(stream: UnixStream, from: Address) -> Self {
        let transport = SocketKind::Unix(stream);
        Self { from, transport }
    }

    pub(crate) fn memory(stream: DuplexStream, from: Address) -> Self {
        let transport = SocketKind::Memory(stream);
        Self { from, transport }
    }

    /// The address that it came from.
    pub fn from(&self) -> &Address {
        &self.from
    }

    /// With another address that it came from, such as one that a proxy tells.
    #[must_use = "returns the socket with the address"]
    pub fn named(self, from: Address) -> Self {
        Self { from, ..self }
    }

    /// Gives it to the current runtime.
    pub(crate) fn moved_here(self) -> io::Result<Self> {
        let transport = match self.transport {
            SocketKind::Tcp(stream) => SocketKind::Tcp(TcpStream::from_std(stream.into_std()?)?),
            #[cfg(unix)]
            SocketKind::Unix(stream) => SocketKind::Unix(UnixStream::from_std(stream.into_std()?)?),
            // A pipe belongs to no runtime, and nothing is known of others.
            kept @ (SocketKind::Memory(_) | SocketKind::Other(_)) => kept,
        };
        let from = self.from;
        Ok(Self { from, transport })
    }

    pub(crate) fn into_transport(self) -> Box<dyn Transport> {
        match self.transport {
            SocketKind::Tcp(stream) => Box::new(stream),
            #[cfg(unix)]
            SocketKind::Unix(stream) => Box::new(stream),
            SocketKind::Memory(stream) => Box::new(stream),
            SocketKind::Other(transport) => transport,
        }
    }
}

/// The next transport of a listener.
#[cfg(test)]
pub(super) async fn accept(listener: &mut dyn Listener) -> io::Result<AcceptedSocket> {
    std::future::poll_fn(|cx| listener.poll_accept(cx)).await
}

#[cfg(test)]
impl AcceptedSocket {
    pub(super) fn into_tcp(self) -> TcpStream {
        match self.transport {
            SocketKind::Tcp(stream) => stream,
            other => panic!("{other:?} is no TCP socket"),
        }
    }
}

impl fmt::Debug for SocketKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "TcpStream",
            #[cfg(unix)]
            Self::Unix(_) => "UnixStream",
            Self::Memory(_) => "DuplexStream",
            Self::Other(_) => "Transport",
        })
    }
}
