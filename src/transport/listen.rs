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
///
/// ```
/// use std::io;
/// use wawo::{
///     Address, SocketOptions,
///     transport::{BoxFuture, Listen, Listener, Tcp},
/// };
///
/// /// `near://7` is port 4007 of this machine.
/// struct Near;
///
/// impl Listen for Near {
///     fn scheme(&self) -> &str {
///         "near"
///     }
///
///     fn listen<'a>(
///         &'a self,
///         address: &'a Address,
///         options: &'a SocketOptions,
///     ) -> BoxFuture<'a, io::Result<Vec<Box<dyn Listener>>>> {
///         Box::pin(async move {
///             let Address::Other { rest, .. } = address else {
///                 return Err(io::ErrorKind::InvalidInput.into());
///             };
///             let at = Address::Tcp(format!("localhost:400{rest}"));
///             Tcp.listen(&at, options).await
///         })
///     }
/// }
///
/// let server = wawo::Server::builder().listener(Near);
/// ```
pub trait Listen: Send + Sync + 'static {
    /// The scheme, such as `vsock`, without `://`. It may be that of a built-in listener, such as `tcp`,
    /// which is replaced.
    fn scheme(&self) -> &str;

    /// Listens at an address, whose scheme is that of [`scheme`](Self::scheme). If it is a name for
    /// several places, it listens at each of them. To return no listener is an error of `bind`.
    ///
    /// `options` are those of the server, for listeners that are sockets of the operating system.
    ///
    /// # Errors
    ///
    /// If it cannot listen there; the error that the caller gets names the address.
    fn listen<'a>(
        &'a self,
        address: &'a Address,
        options: &'a SocketOptions,
    ) -> BoxFuture<'a, io::Result<Vec<Box<dyn Listener>>>>;
}

/// Accepts transports at one place. Dropping it stops listening. A listener that can accept no more stays
/// pending: an error would be tried again.
pub trait Listener: Send + 'static {
    /// The address at which transports are accepted, with the parts that the system chose, such as a
    /// port.
    ///
    /// # Errors
    ///
    /// If the address is not known; then the server does not list it.
    fn address(&self) -> io::Result<Address>;

    /// Accepts the next transport. It is polled until it is ready, and again for the next one.
    ///
    /// # Errors
    ///
    /// If it is of the kind `ConnectionAborted`, `ConnectionReset` or `ConnectionRefused`, only one
    /// connection failed, and others are accepted at once. After any other error the server pauses, for 5
    /// ms to 1 s, before it tries again.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<AcceptedSocket>>;
}

/// A transport that was accepted, and the address it came from.
///
/// The limits of a server by host count sockets whose address is `tcp://`, and no others.
#[derive(Debug)]
pub struct AcceptedSocket {
    from: Address,
    transport: SocketKind,
}

/// The kind of socket. The reactor of the runtime that accepted a socket also watches it, so that a
/// socket has to be moved before another runtime can serve it.
enum SocketKind {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Memory(DuplexStream),
    Other(Box<dyn Transport>),
}

impl AcceptedSocket {
    /// Wraps a transport of any kind. If it belongs to a runtime, it stays with the one in which it was
    /// accepted, but another may serve its connection ([`ServerConfigBuilder::workers`]). So prefer
    /// [`tcp`](Self::tcp) and `unix` for sockets.
    ///
    /// [`ServerConfigBuilder::workers`]: crate::ServerConfigBuilder::workers
    pub fn new(transport: impl Transport, from: Address) -> Self {
        let transport = SocketKind::Other(Box::new(transport));
        Self { from, transport }
    }

    /// Wraps a TCP socket, which is moved to the runtime that serves it.
    pub fn tcp(stream: TcpStream, from: Address) -> Self {
        let transport = SocketKind::Tcp(stream);
        Self { from, transport }
    }

    /// Wraps a Unix socket, which is moved to the runtime that serves it.
    #[cfg(unix)]
    pub fn unix(stream: UnixStream, from: Address) -> Self {
        let transport = SocketKind::Unix(stream);
        Self { from, transport }
    }

    pub(crate) fn memory(stream: DuplexStream, from: Address) -> Self {
        let transport = SocketKind::Memory(stream);
        Self { from, transport }
    }

    /// The address that the transport came from.
    pub fn address(&self) -> &Address {
        &self.from
    }

    /// Replaces the address that the transport came from, such as by one that a proxy reports.
    #[must_use = "returns the socket with the address"]
    pub fn with_address(self, from: Address) -> Self {
        Self { from, ..self }
    }

    /// Moves it to the current runtime.
    pub(crate) fn moved_here(self) -> io::Result<Self> {
        let transport = match self.transport {
            SocketKind::Tcp(stream) => SocketKind::Tcp(TcpStream::from_std(stream.into_std()?)?),
            #[cfg(unix)]
            SocketKind::Unix(stream) => SocketKind::Unix(UnixStream::from_std(stream.into_std()?)?),
            // A pipe belongs to no runtime, and of other transports the runtime is not known.
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
