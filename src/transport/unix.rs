//! Unix sockets: by path, with a file that lasts as long as the listener, or by abstract name.

#[cfg(unix)]
mod connect;
#[cfg(unix)]
mod file;
#[cfg(unix)]
mod listener;
#[cfg(unix)]
mod lock;
#[cfg(unix)]
mod socket;
#[cfg(unix)]
mod user;

use std::io;

#[cfg(unix)]
pub(crate) use crate::transport::unix::listener::SocketListener;
use crate::transport::{
    Address, Attempts, BoxFuture, Connect, Listen, Listener, SocketOptions, Transport,
};

/// Connects to and listens at Unix sockets, `unix://`. Built in; Unix only: on other systems, connecting
/// and listening fail with `Unsupported`.
#[derive(Debug, Clone, Copy)]
#[allow(
    clippy::exhaustive_structs,
    reason = "it is its name, and has nothing to set"
)]
pub struct Unix;

const SCHEME: &str = "unix";

impl Connect for Unix {
    fn scheme(&self) -> &str {
        SCHEME
    }

    #[cfg(unix)]
    fn connect<'a>(
        &'a self,
        address: &'a Address,
        options: &'a SocketOptions,
        attempts: &'a mut Attempts,
    ) -> BoxFuture<'a, io::Result<Box<dyn Transport>>> {
        Box::pin(async move {
            let stream = connect::connect(address, options, attempts).await?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }

    #[cfg(not(unix))]
    fn connect<'a>(
        &'a self,
        _: &'a Address,
        _: &'a SocketOptions,
        _: &'a mut Attempts,
    ) -> BoxFuture<'a, io::Result<Box<dyn Transport>>> {
        Box::pin(async { Err(no_unix_sockets()) })
    }
}

impl Listen for Unix {
    fn scheme(&self) -> &str {
        SCHEME
    }

    #[cfg(unix)]
    fn listen<'a>(
        &'a self,
        address: &'a Address,
        options: &'a SocketOptions,
    ) -> BoxFuture<'a, io::Result<Vec<Box<dyn Listener>>>> {
        Box::pin(async move {
            let listener = match address {
                Address::Unix(path) => SocketListener::bind(path, options)?,
                Address::Abstract(name) => SocketListener::bind_abstract(name, options)?,
                _ => return Err(io::ErrorKind::InvalidInput.into()),
            };
            Ok(vec![Box::new(listener) as Box<dyn Listener>])
        })
    }

    #[cfg(not(unix))]
    fn listen<'a>(
        &'a self,
        _: &'a Address,
        _: &'a SocketOptions,
    ) -> BoxFuture<'a, io::Result<Vec<Box<dyn Listener>>>> {
        Box::pin(async { Err(no_unix_sockets()) })
    }
}

#[cfg(not(unix))]
fn no_unix_sockets() -> io::Error {
    let text = match cfg!(windows) {
        true => "unix:// is Unix only; use pipe://name",
        false => "unix:// is Unix only; use tcp://host:port",
    };
    io::Error::new(io::ErrorKind::Unsupported, text)
}
