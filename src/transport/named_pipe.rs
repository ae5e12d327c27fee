//! Named pipes of Windows: a transport between processes of one machine.

#[cfg(windows)]
mod connect;
#[cfg(windows)]
mod listener;
#[cfg(windows)]
mod stream;

use std::io;

#[cfg(windows)]
use crate::transport::named_pipe::{connect::connect, listener::PipeListener};
use crate::transport::{
    Address, Attempts, BoxFuture, Connect, Listen, Listener, SocketOptions, Transport,
};

/// Connects to and listens at named pipes, `pipe://`. Built in; Windows only: on other systems,
/// connecting and listening fail with `Unsupported`.
///
/// A pipe is reached from its own machine only. Its permissions are the default ones of Windows: the user
/// who made it, administrators and the system may connect. Other users may open it for reading, and so
/// see the hello of the server, until the handshake's time is over. Names belong to nobody: whoever
/// listens first at a name has it, so a client cannot know which user's server it reaches. It lets the
/// server know who it is, but not act as it.
#[derive(Debug, Clone, Copy)]
#[allow(
    clippy::exhaustive_structs,
    reason = "it is its name, and has nothing to set"
)]
pub struct NamedPipe;

const SCHEME: &str = "pipe";

impl Connect for NamedPipe {
    fn scheme(&self) -> &str {
        SCHEME
    }

    #[cfg(windows)]
    fn connect<'a>(
        &'a self,
        address: &'a Address,
        _: &'a SocketOptions,
        attempts: &'a mut Attempts,
    ) -> BoxFuture<'a, io::Result<Box<dyn Transport>>> {
        Box::pin(async move {
            let stream = connect(name_of(address)?, attempts).await?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }

    #[cfg(not(windows))]
    fn connect<'a>(
        &'a self,
        _: &'a Address,
        _: &'a SocketOptions,
        _: &'a mut Attempts,
    ) -> BoxFuture<'a, io::Result<Box<dyn Transport>>> {
        Box::pin(async { Err(no_named_pipes()) })
    }
}

impl Listen for NamedPipe {
    fn scheme(&self) -> &str {
        SCHEME
    }

    #[cfg(windows)]
    fn listen<'a>(
        &'a self,
        address: &'a Address,
        options: &'a SocketOptions,
    ) -> BoxFuture<'a, io::Result<Vec<Box<dyn Listener>>>> {
        Box::pin(async move {
            let listener = PipeListener::bind(name_of(address)?, options).await?;
            Ok(vec![Box::new(listener) as Box<dyn Listener>])
        })
    }

    #[cfg(not(windows))]
    fn listen<'a>(
        &'a self,
        _: &'a Address,
        _: &'a SocketOptions,
    ) -> BoxFuture<'a, io::Result<Vec<Box<dyn Listener>>>> {
        Box::pin(async { Err(no_named_pipes()) })
    }
}

#[cfg(windows)]
fn name_of(address: &Address) -> io::Result<&str> {
    match address {
        Address::Pipe(name) => Ok(name),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

#[cfg(not(windows))]
fn no_named_pipes() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "pipe:// is Windows only; use unix:///path",
    )
}
