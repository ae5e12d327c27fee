//! Listens at a named pipe.

use std::{
    fmt, io,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::net::windows::named_pipe::{NamedPipeServer, ServerOptions};

use crate::transport::{
    AcceptedSocket, Address, BoxFuture, Listener, SocketOptions, address::pipe_path,
};

/// Accepts connections at one named pipe.
///
/// An instance of a pipe serves one client. So there is always one instance more than there are clients,
/// to which the next client connects: while the listener lives, the name exists, and no client is refused.
pub(super) struct PipeListener {
    name: String,
    /// The next instance, until a client is connected to it; `None` if it could not be made.
    next: Option<BoxFuture<'static, io::Result<NamedPipeServer>>>,
}

impl PipeListener {
    /// Listens at a name. Unless the options let it share the name, nothing else may listen there.
    pub(super) async fn bind(name: &str, options: &SocketOptions) -> io::Result<Self> {
        let instance = first_instance(name, options.pipe_shared).await;
        let instance = instance.map_err(|error| explained(&error, options.pipe_shared))?;
        Ok(Self {
            name: name.to_owned(),
            next: Some(connected(instance)),
        })
    }

    fn new_next(&self) -> io::Result<BoxFuture<'static, io::Result<NamedPipeServer>>> {
        instance(&self.name, false).map(connected)
    }
}

impl Listener for PipeListener {
    fn address(&self) -> io::Result<Address> {
        Ok(Address::Pipe(self.name.clone()))
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<AcceptedSocket>> {
        let next = match self.next.take() {
            Some(next) => next,
            None => self.new_next()?,
        };
        let stream = ready!(self.next.insert(next).as_mut().poll(cx));
        // The next instance comes before the first one can end, so that the name never vanishes. If it
        // cannot be made now, the next poll tries again, and returns the error.
        self.next = self.new_next().ok();
        let from = Address::Pipe(self.name.clone());
        Poll::Ready(Ok(AcceptedSocket::new(stream?, from)))
    }
}

impl fmt::Debug for PipeListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PipeListener").field(&self.name).finish()
    }
}

/// The number of attempts at a name that is in use: with their pauses, they take 45 ms.
const MAX_ATTEMPTS: usize = 10;

/// The pause between these attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// The first instance of a server. A pipe that this process has just dropped is closed only when its runtime
/// has polled for I/O again, so a name that is in use is tried again for a moment.
async fn first_instance(name: &str, is_shared: bool) -> io::Result<NamedPipeServer> {
    for _ in 1..MAX_ATTEMPTS {
        match instance(name, !is_shared) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
    instance(name, !is_shared)
}

/// An instance of the pipe that is not connected yet. It has the default permissions, and takes no clients
/// from other machines.
fn instance(name: &str, is_first: bool) -> io::Result<NamedPipeServer> {
    ServerOptions::new()
        .first_pipe_instance(is_first)
        .reject_remote_clients(true)
        .create(pipe_path(name)?)
}

/// The instance, once a client is connected to it.
fn connected(instance: NamedPipeServer) -> BoxFuture<'static, io::Result<NamedPipeServer>> {
    Box::pin(async move {
        instance.connect().await?;
        Ok(instance)
    })
}

/// Windows reports a name in use as if permission were missing.
fn explained(error: &io::Error, is_shared: bool) -> io::Error {
    let (kind, text) = match error.kind() {
        io::ErrorKind::PermissionDenied if is_shared => (
            io::ErrorKind::PermissionDenied,
            "the pipe belongs to another user",
        ),
        io::ErrorKind::PermissionDenied => (
            io::ErrorKind::AddrInUse,
            "a process listens there, or has connections from there; \
             servers of one user may share a name (pipe_shared)",
        ),
        kind => (kind, "cannot make an instance of the pipe"),
    };
    io::Error::new(kind, format!("{text}: {error}"))
}
