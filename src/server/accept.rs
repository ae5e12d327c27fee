//! The loop that accepts connections.

use std::{future::poll_fn, io, pin::pin, task::Poll, time::Duration};

use crate::{
    server::{Bound, ServeError, Server},
    transport::{Address, Transport},
};

/// After an error that more connections would meet too, such as too many open files, accepting
/// pauses for this long; twice as long each time it happens again.
const MIN_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(1);

impl Server {
    /// Accepts and serves connections, for ever. An error of one connection never ends it.
    ///
    /// # Errors
    ///
    /// If the server listens nowhere.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the server, and with it all connections.
    pub async fn run(mut self) -> Result<(), ServeError> {
        if self.listeners.is_empty() {
            return Err(ServeError::Unbound);
        }
        let mut pause = MIN_PAUSE;
        loop {
            while self.connections.try_join_next().is_some() {}
            if self.connections.len() >= self.max_connections {
                self.connections.join_next().await;
                continue;
            }
            match accept(&mut self.listeners).await {
                Ok((transport, from)) => {
                    pause = MIN_PAUSE;
                    self.accept(transport, Some(from))?;
                }
                Err(error) if ends_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, ?pause, "cannot accept connections; will try again");
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(MAX_PAUSE);
                }
            }
        }
    }
}

/// The next connection at any listener.
async fn accept(listeners: &mut [Bound]) -> io::Result<(Box<dyn Transport>, Address)> {
    let mut accepting: Vec<_> = listeners
        .iter_mut()
        .map(|bound| Box::pin(bound.accept()))
        .collect();
    let next = poll_fn(|cx| {
        let mut ready = accepting.iter_mut().map(|accept| accept.as_mut().poll(cx));
        ready.find(Poll::is_ready).unwrap_or(Poll::Pending)
    });
    pin!(next).await
}

impl Bound {
    async fn accept(&mut self) -> io::Result<(Box<dyn Transport>, Address)> {
        let (transport, from) = self.listener.accept().await?;
        Ok(((self.wrap)(transport), from))
    }
}

/// Whether an error is about the connection that was to be accepted, and not about accepting.
fn ends_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}
