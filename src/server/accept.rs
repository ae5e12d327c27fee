//! The loop that accepts connections.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use crate::{
    peer::{DrainReport, PeerEvent},
    server::{
        Bound, ServeError, Server,
        workers::{Seat, Workers},
    },
    transport::{Address, Transport},
};

/// After an error that more connections would meet too, such as too many open files, accepting
/// pauses for this long; twice as long each time it happens again.
const MIN_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The next pause, if that was for nothing.
fn longer(pause: Duration) -> Duration {
    (2 * pause).min(MAX_PAUSE)
}

impl Server {
    /// Accepts and serves connections, until the server is drained by its handle. An error of one
    /// connection never ends it.
    ///
    /// # Errors
    ///
    /// If the server listens nowhere.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the server, and with it all connections.
    pub async fn run(self) -> Result<(), ServeError> {
        self.run_until_drained().await.map(drop)
    }

    /// Accepts and serves connections until `signal` resolves; then drains, for `grace` at most.
    /// See [`ServerHandle::drain`](crate::ServerHandle::drain).
    ///
    /// # Errors
    ///
    /// If the server listens nowhere.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the server, and with it all connections.
    pub async fn run_until(
        self,
        signal: impl Future<Output = ()>,
        grace: Duration,
    ) -> Result<DrainReport, ServeError> {
        let handle = self.handle();
        let mut running = pin!(self.run_until_drained());
        tokio::select! {
            report = &mut running => return report,
            () = signal => handle.begin_drain(grace),
        }
        running.await
    }

    async fn run_until_drained(mut self) -> Result<DrainReport, ServeError> {
        if self.listeners.is_empty() {
            return Err(ServeError::Unbound);
        }
        let handle = self.handle();
        let grace = tokio::select! {
            biased;
            grace = handle.drain_begun() => grace,
            error = self.accept_all() => return Err(error),
        };
        Ok(self.drain(grace).await)
    }

    /// Accepts connections for ever.
    async fn accept_all(&mut self) -> ServeError {
        let mut pause = MIN_PAUSE;
        loop {
            while self.connections.try_join_next().is_some() {}
            if self.connections.len() >= self.limits.connections {
                self.connections.join_next().await;
                continue;
            }
            match accept(&mut self.listeners, &self.workers).await {
                Ok(arrival) => {
                    pause = MIN_PAUSE;
                    if let Err(error) = self.admit(arrival) {
                        return error;
                    }
                }
                Err(error) if ends_one_connection(&error) => self.tell(error),
                Err(error) => {
                    tracing::warn!(%error, ?pause, "cannot accept connections; will try again");
                    self.tell(error);
                    tokio::time::sleep(pause).await;
                    pause = longer(pause);
                }
            }
        }
    }

    /// Serves a connection, if the limits let it in.
    fn admit(&mut self, arrival: Arrival) -> Result<(), ServeError> {
        let Arrival {
            transport,
            from,
            seat,
        } = arrival;
        let registry = &self.handle.shared.registry;
        if registry.count_at_host(&from) >= self.limits.a_host {
            tracing::debug!(%from, "closed: too many from one host (max_connections_per_host)");
            return Ok(());
        }
        if let Some(silent) = registry.oldest_greeting(self.limits.greeting) {
            silent.close("no hello, and others wait (max_greeting)");
        }
        self.accept(transport, Some(from), seat).map(drop)
    }

    fn tell(&self, error: io::Error) {
        let event = || PeerEvent::AcceptFailed(Arc::new(error));
        self.handle.shared.teller.tell(event);
    }
}

/// A connection that was accepted, and who is to serve it.
struct Arrival {
    transport: Box<dyn Transport>,
    from: Address,
    /// Where it is served; in the current runtime if there are no workers.
    seat: Option<Seat>,
}

/// The next connection at any listener.
async fn accept(listeners: &mut [Bound], workers: &Workers) -> io::Result<Arrival> {
    let mut accepting: Vec<_> = listeners
        .iter_mut()
        .map(|bound| Box::pin(bound.accept(workers)))
        .collect();
    let next = poll_fn(|cx| {
        let mut ready = accepting.iter_mut().map(|accept| accept.as_mut().poll(cx));
        ready.find(Poll::is_ready).unwrap_or(Poll::Pending)
    });
    pin!(next).await
}

impl Bound {
    async fn accept(&mut self, workers: &Workers) -> io::Result<Arrival> {
        let (accepted, from) = self.listener.accept().await?;
        let seat = workers.seat();
        let transport = match &seat {
            Some(seat) => {
                let _there = seat.enter();
                (self.wrap)(accepted.moved_here()?.into_transport())
            }
            None => (self.wrap)(accepted.into_transport()),
        };
        Ok(Arrival {
            transport,
            from,
            seat,
        })
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

#[cfg(test)]
mod tests {
    use std::iter::successors;

    use super::{MAX_PAUSE, MIN_PAUSE, longer};

    #[test]
    fn pauses_grow_to_the_longest() {
        let mut pauses = successors(Some(MIN_PAUSE), |&pause| Some(longer(pause)));
        assert_eq!(pauses.nth(1), Some(2 * MIN_PAUSE));
        assert_eq!(pauses.nth(100), Some(MAX_PAUSE));
    }
}
