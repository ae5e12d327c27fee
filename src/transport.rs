//! What carries the bytes of a connection.

mod address;
mod memory;
#[cfg(unix)]
mod unix;

use std::io;

use tokio::{
    io::{AsyncRead, AsyncWrite},
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
        Address::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
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
    pub(crate) async fn accept(&mut self) -> io::Result<(Box<dyn Transport>, Address)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Address::Tcp(from.to_string())))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let stream = listener.accept().await?;
                let from = Address::Unix(listener.path().to_owned());
                Ok((Box::new(stream), from))
            }
            Self::Memory(listener) => {
                let stream = listener.accept().await?;
                let from = Address::Memory(listener.name().to_owned());
                Ok((Box::new(stream), from))
            }
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
