//! Listening, at any kind of address or at a socket that is open already.

use std::io;

#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{io::DuplexStream, net::TcpStream};

#[cfg(not(unix))]
use crate::transport::no_unix_sockets;
#[cfg(unix)]
use crate::transport::unix;
use crate::transport::{Address, SocketOptions, Transport, memory, tcp};

/// Takes connections at one socket.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(tcp::Listener),
    #[cfg(unix)]
    Unix(unix::Listener),
    Memory(memory::Listener),
}

impl Listener {
    /// Listens at an address: at several sockets if it is a name with several addresses.
    pub(crate) async fn bind(address: &Address, options: &SocketOptions) -> io::Result<Vec<Self>> {
        match address {
            Address::Tcp(host) => {
                let listeners = tcp::Listener::bind(host, options).await?;
                Ok(listeners.into_iter().map(Self::Tcp).collect())
            }
            #[cfg(unix)]
            Address::Unix(path) => Ok(vec![Self::Unix(unix::Listener::bind(path, options)?)]),
            #[cfg(unix)]
            Address::Abstract(name) => {
                let listener = unix::Listener::bind_abstract(name, options)?;
                Ok(vec![Self::Unix(listener)])
            }
            #[cfg(not(unix))]
            Address::Unix(_) | Address::Abstract(_) => Err(no_unix_sockets()),
            Address::Memory(name) => Ok(vec![Self::Memory(memory::Listener::bind(name)?)]),
        }
    }

    /// Takes connections at a socket that is open already.
    pub(crate) fn open(open: OpenListener, options: &SocketOptions) -> io::Result<Self> {
        match open.0 {
            Open::Tcp(listener) => Ok(Self::Tcp(tcp::Listener::new(listener, options)?)),
            Open::StdTcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                Ok(Self::Tcp(tcp::Listener::new(listener, options)?))
            }
            #[cfg(unix)]
            Open::Unix(listener) => Ok(Self::Unix(unix::Listener::new(listener, options)?)),
            #[cfg(unix)]
            Open::StdUnix(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                Ok(Self::Unix(unix::Listener::new(listener, options)?))
            }
        }
    }

    /// The address that connections are taken at; for port 0, with the port that was chosen.
    pub(crate) fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => listener.address(),
            #[cfg(unix)]
            Self::Unix(listener) => Ok(listener.address().clone()),
            Self::Memory(listener) => Ok(Address::Memory(listener.name().to_owned())),
        }
    }

    /// The next connection, and the address it comes from.
    pub(crate) async fn accept(&mut self) -> io::Result<(AcceptedSocket, Address)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok((AcceptedSocket::Tcp(stream), from))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let stream = listener.accept().await?;
                Ok((AcceptedSocket::Unix(stream), listener.address().clone()))
            }
            Self::Memory(listener) => {
                let stream = listener.accept().await?;
                let from = Address::Memory(listener.name().to_owned());
                Ok((AcceptedSocket::Memory(stream), from))
            }
        }
    }
}

/// A socket that listens already, for [`Server::listen_on`](crate::Server::listen_on): made from a
/// `TcpListener` or, on Unix, a `UnixListener`, of the standard library or of tokio.
#[derive(Debug)]
pub struct OpenListener(Open);

#[derive(Debug)]
enum Open {
    Tcp(tokio::net::TcpListener),
    StdTcp(std::net::TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
    #[cfg(unix)]
    StdUnix(std::os::unix::net::UnixListener),
}

impl From<tokio::net::TcpListener> for OpenListener {
    fn from(listener: tokio::net::TcpListener) -> Self {
        Self(Open::Tcp(listener))
    }
}

impl From<std::net::TcpListener> for OpenListener {
    fn from(listener: std::net::TcpListener) -> Self {
        Self(Open::StdTcp(listener))
    }
}

#[cfg(unix)]
impl From<tokio::net::UnixListener> for OpenListener {
    fn from(listener: tokio::net::UnixListener) -> Self {
        Self(Open::Unix(listener))
    }
}

#[cfg(unix)]
impl From<std::os::unix::net::UnixListener> for OpenListener {
    fn from(listener: std::os::unix::net::UnixListener) -> Self {
        Self(Open::StdUnix(listener))
    }
}

/// A connection that was taken. The runtime that took it is the one that hears when it is ready.
#[derive(Debug)]
pub(crate) enum AcceptedSocket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Memory(DuplexStream),
}

impl AcceptedSocket {
    /// Gives it to the current runtime.
    pub(crate) fn moved_here(self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => Ok(Self::Tcp(TcpStream::from_std(stream.into_std()?)?)),
            #[cfg(unix)]
            Self::Unix(stream) => Ok(Self::Unix(UnixStream::from_std(stream.into_std()?)?)),
            // A pipe belongs to no runtime.
            Self::Memory(_) => Ok(self),
        }
    }

    pub(crate) fn into_transport(self) -> Box<dyn Transport> {
        match self {
            Self::Tcp(stream) => Box::new(stream),
            #[cfg(unix)]
            Self::Unix(stream) => Box::new(stream),
            Self::Memory(stream) => Box::new(stream),
        }
    }
}
