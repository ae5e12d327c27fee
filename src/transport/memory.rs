//! Connections within one process: pipes, found by name.

use std::{
    collections::HashMap,
    io,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};

/// Bytes that a pipe holds in each direction.
const PIPE_BYTES: usize = 256 * 1024;

/// Connections that wait to be accepted; more wait in `connect`.
const BACKLOG: usize = 128;

/// Who listens, by name.
static LISTENERS: LazyLock<Mutex<HashMap<String, mpsc::Sender<DuplexStream>>>> =
    LazyLock::new(Mutex::default);

fn listeners() -> MutexGuard<'static, HashMap<String, mpsc::Sender<DuplexStream>>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) async fn connect(name: &str) -> io::Result<DuplexStream> {
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

#[derive(Debug)]
pub(crate) struct Listener {
    name: String,
    incoming: mpsc::Receiver<DuplexStream>,
}

impl Listener {
    pub(crate) fn bind(name: &str) -> io::Result<Self> {
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

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) async fn accept(&mut self) -> io::Result<DuplexStream> {
        let stream = self.incoming.recv().await;
        // The table holds a sender for as long as this listener lives.
        stream.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        listeners().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{Listener, connect};

    #[tokio::test]
    async fn a_pipe_is_found_by_name_while_its_listener_lives() {
        let name = "a_pipe_is_found_by_name";
        let error = connect(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

        let mut listener = Listener::bind(name).unwrap();
        assert_eq!(
            Listener::bind(name).unwrap_err().kind(),
            ErrorKind::AddrInUse
        );
        let mut here = connect(name).await.unwrap();
        let mut there = listener.accept().await.unwrap();
        here.write_all(b"hi").await.unwrap();
        let mut bytes = [0; 2];
        there.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hi");

        drop(listener);
        assert!(connect(name).await.is_err());
        Listener::bind(name).unwrap();
    }
}
