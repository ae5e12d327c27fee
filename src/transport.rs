//! What carries the bytes of a connection.

mod address;
mod memory;
#[cfg(unix)]
mod unix;

use std::io;

#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpListener, TcpStream},
};

pub use crate::transport::address::{Address, AddressError};

/// Anything that carries bytes both ways, in order: a socket, a pipe, a TLS stream.
///
/// It is implemented for every type that fits. [`PeerBuilder::connect_over`] and
/// [`Server::accept_over`] take one of your own.
///
/// [`PeerBuilder::connect_over`]: crate::PeerBuilder::connect_over
/// [`Server::accept_over`]: crate::Server::accept_over
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for T {}

/// Opens a transport to an address.
pub(crate) async fn connect(address: &Address) -> io::Result<Box<dyn Transport>> {
    match address {
        Address::Tcp(host) => {
            let stream = TcpStream::connect(host).await?;
            // Packets are gathered before they are written; waiting for more only adds delay.
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
        #[cfg(unix)]
        Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        #[cfg(not(unix))]
        Address::Unix(_) => Err(no_unix_sockets()),
        Address::Memory(name) => Ok(Box::new(memory::connect(name).await?)),
    }
}

/// Takes connections at an address.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(unix::Listener),
    Memory(memory::Listener),
}

impl Listener {
    pub(crate) async fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(host) => Ok(Self::Tcp(TcpListener::bind(host).await?)),
            #[cfg(unix)]
            Address::Unix(path) => Ok(Self::Unix(unix::Listener::bind(path)?)),
            #[cfg(not(unix))]
            Address::Unix(_) => Err(no_unix_sockets()),
            Address::Memory(name) => Ok(Self::Memory(memory::Listener::bind(name)?)),
        }
    }

    /// The address that connections are taken at; for port 0, with the port that was chosen.
    pub(crate) fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => Ok(Address::Tcp(listener.local_addr()?.to_string())),
            #[cfg(unix)]
            Self::Unix(listener) => Ok(Address::Unix(listener.path().to_owned())),
            Self::Memory(listener) => Ok(Address::Memory(listener.name().to_owned())),
        }
    }

    /// The next connection, and the address it comes from.
    pub(crate) async fn accept(&mut self) -> io::Result<(Accepted, Address)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Accepted::Tcp(stream), Address::Tcp(from.to_string())))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let stream = listener.accept().await?;
                let from = Address::Unix(listener.path().to_owned());
                Ok((Accepted::Unix(stream), from))
            }
            Self::Memory(listener) => {
                let stream = listener.accept().await?;
                let from = Address::Memory(listener.name().to_owned());
                Ok((Accepted::Memory(stream), from))
            }
        }
    }
}

/// A connection that was taken. The runtime that took it is the one that hears when it is ready.
#[derive(Debug)]
pub(crate) enum Accepted {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Memory(DuplexStream),
}

impl Accepted {
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

#[cfg(not(unix))]
fn no_unix_sockets() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "unix:// addresses need a Unix system; use tcp:// or mem://",
    )
}
