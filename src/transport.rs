//! What carries the bytes of a connection.

mod address;
mod attempts;
mod listener;
mod memory;
mod options;
mod socket;
mod tcp;
#[cfg(unix)]
mod unix;

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

pub use crate::transport::{
    address::{Address, AddressError},
    listener::OpenListener,
    options::{SocketOptions, SocketOptionsError},
};
pub(crate) use crate::transport::{
    attempts::Attempts,
    listener::{AcceptedSocket, Listener},
};

/// Anything that carries bytes both ways, in order: a socket, a pipe, a TLS stream.
///
/// It is implemented for every type that fits. [`PeerBuilder::connect_over`] and
/// [`Server::accept_over`] take one of your own.
///
/// [`PeerBuilder::connect_over`]: crate::PeerBuilder::connect_over
/// [`Server::accept_over`]: crate::Server::accept_over
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for T {}

/// Opens a transport to an address; takes as long as it needs. When the future is dropped before its
/// end, `attempts` tells how far it came.
pub(crate) async fn connect(
    address: &Address,
    options: &SocketOptions,
    attempts: &mut Attempts,
) -> io::Result<Box<dyn Transport>> {
    match address {
        Address::Tcp(host) => Ok(Box::new(tcp::connect(host, options, attempts).await?)),
        #[cfg(unix)]
        Address::Unix(_) | Address::Abstract(_) => {
            Ok(Box::new(unix::connect(address, options, attempts).await?))
        }
        #[cfg(not(unix))]
        Address::Unix(_) | Address::Abstract(_) => Err(no_unix_sockets()),
        Address::Memory(name) => Ok(Box::new(memory::connect(name).await?)),
    }
}

#[cfg(not(unix))]
fn no_unix_sockets() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "unix:// addresses need a Unix system; use tcp:// or mem://",
    )
}
