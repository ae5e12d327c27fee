//! Connections within one process: pipes between two ends, found by name.

use std::{
    collections::HashMap,
    io,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};

use crate::transport::{
    AcceptedSocket, Address, Attempts, BoxFuture, Connect, Listen, Listener, SocketOptions,
    Transport,
};

/// Connects to and listens at names within this process, `mem://`. Built in.
#[derive(Debug, Clone, Copy)]
#[allow(
    clippy::exhaustive_structs,
    reason = "it is its name, and has nothing to set"
)]
pub struct Memory;

const SCHEME: &str = "mem";

/// How many bytes a pipe holds in each direction.
const PIPE_BYTES: usize = 256 * 1024;

/// How many connections wait to be accepted. Further ones wait in `connect`.
const BACKLOG: usize = 128;

/// The listeners, by name.
static LISTENERS: LazyLock<Mutex<HashMap<String, mpsc::Sender<DuplexStream>>>> =
    LazyLock::new(Mutex::default);

fn listeners() -> MutexGuard<'static, HashMap<String, mpsc::Sender<DuplexStream>>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connect for Memory {
    fn scheme(&self) -> &str {
        SCHEME
    }

    fn connect<'a>(
        &'a self,
        address: &'a Address,
        _: &'a SocketOptions,
        _: &'a mut Attempts,
    ) -> BoxFuture<'a, io::Result<Box<dyn Transport>>> {
        Box::pin(async move {
            let stream = connect(name_of(address)?).await?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }
}

impl Listen for Memory {
    fn scheme(&self) -> &str {
        SCHEME
    }

    fn listen<'a>(
        &'a self,
        address: &'a Address,
        _: &'a SocketOptions,
    ) -> BoxFuture<'a, io::Result<Vec<Box<dyn Listener>>>> {
        Box::pin(async move {
            let listener = PipeListener::bind(name_of(address)?)?;
            Ok(vec![Box::new(listener) as Box<dyn Listener>])
        })
    }
}

fn name_of(address: &Address) -> io::Result<&str> {
    match address {
        Address::Memory(name) => Ok(name),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

async fn connect(name: &str) -> io::Result<DuplexStream> {
    let refused = || {
        let text = "nothing listens there";
        io::Error::new(io::ErrorKind::ConnectionRefused, text)
    };
    let listener = listeners().get(name).cloned();
    let listener = listener.ok_or_else(refused)?;
    let (here, there) = duplex(PIPE_BYTES);
    listener.send(there).await.map_err(|_| refused())?;
    Ok(here)
}

/// Accepts the pipes of one name.
#[derive(Debug)]
struct PipeListener {
    name: String,
    incoming: mpsc::Receiver<DuplexStream>,
}

impl PipeListener {
    fn bind(name: &str) -> io::Result<Self> {
        let mut listeners = listeners();
        if listeners.contains_key(name) {
            let text = "something listens there already";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        let (sender, incoming) = mpsc::channel(BACKLOG);
        listeners.insert(name.to_owned(), sender);
        Ok(Self {
            name: name.to_owned(),
            incoming,
        })
    }
}

impl Listener for PipeListener {
    fn address(&self) -> io::Result<Address> {
        Ok(Address::Memory(self.name.clone()))
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<AcceptedSocket>> {
        let stream = ready!(self.incoming.poll_recv(cx));
        // The table holds a sender as long as this listener lives, so the channel is not closed.
        let stream = stream.ok_or(io::ErrorKind::BrokenPipe)?;
        let from = Address::Memory(self.name.clone());
        Poll::Ready(Ok(AcceptedSocket::memory(stream, from)))
    }
}

impl Drop for PipeListener {
    fn drop(&mut self) {
        listeners().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{PipeListener, connect};

    #[tokio::test]
    async fn a_pipe_is_found_by_name_while_its_listener_lives() {
        let name = "a_pipe_is_found_by_name";
        let error = connect(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

        let mut listener = PipeListener::bind(name).unwrap();
        assert_eq!(
            PipeListener::bind(name).unwrap_err().kind(),
            ErrorKind::AddrInUse
        );
        let mut here = connect(name).await.unwrap();
        let mut there = listener.incoming.recv().await.unwrap();
        here.write_all(b"hi").await.unwrap();
        let mut bytes = [0; 2];
        there.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hi");

        drop(listener);
        assert!(connect(name).await.is_err());
        PipeListener::bind(name).unwrap();
    }
}
