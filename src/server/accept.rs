//! The loop that accepts connections.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use crate::{
    clock, panic,
    peer::{ConnectionLimit, PeerEvent},
    server::{
        ServeError,
        listeners::Arrival,
        refuse,
        registry::{Displaced, NoPlace, Place},
        shared::Shared,
    },
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

impl Shared {
    /// Accepts connections for ever. An error, or a panic, of one connection never ends it.
    pub(crate) async fn accept_all(&self) -> Infallible {
        let mut pause = MIN_PAUSE;
        loop {
            // The next ones wait in the backlog, rather than keep those that are here from their
            // first turn.
            self.registry.has_turns().await;
            match poll_fn(|cx| self.poll_accept(cx)).await {
                Ok(arrival) => {
                    pause = MIN_PAUSE;
                    self.admit(arrival);
                }
                Err(error) if ends_one_connection(&error) => self.tell_failed(error),
                Err(error) => {
                    tracing::warn!(%error, ?pause, "cannot accept connections; will try again");
                    self.tell_failed(error);
                    tokio::time::sleep(pause).await;
                    pause = longer(pause);
                }
            }
        }
    }

    /// Serves a connection, if the limits let it in.
    fn admit(&self, arrival: Arrival) {
        let host = self.trusted.host_of(&arrival.from);
        match self.registry.admit(host) {
            Ok((place, displaced)) => {
                self.tell_displaced(displaced);
                self.begin(place, arrival);
            }
            Err(NoPlace::Full(limit)) => self.refuse(arrival, limit),
            // The server drains, and this loop is about to end.
            Err(NoPlace::Closed) => {}
        }
    }

    fn begin(&self, place: Place, arrival: Arrival) {
        let from = arrival.from.clone();
        let seat = self.seat();
        let begun = caught(|| {
            let there = seat.as_ref().map(|seat| seat.runtime().enter());
            let accepted = match there.is_some() {
                true => arrival.accepted.moved_here()?,
                false => arrival.accepted,
            };
            let transport = (arrival.wrap)(accepted.into_transport());
            drop(there);
            match self.serve(place, transport, Some(arrival.from), seat) {
                Ok(_) | Err(ServeError::Draining) => Ok(()),
                Err(error) => Err(io::Error::other(error)),
            }
        });
        if let Err(error) = begun {
            tracing::error!(%from, %error, "a connection could not be served; others go on");
            self.tell_failed(error);
        }
    }

    /// Turns a connection away, and tells it why.
    fn refuse(&self, arrival: Arrival, limit: ConnectionLimit) {
        let text = refuse::text(limit, &self.registry.limits());
        if let Some(count) = self.refused.is_due(clock::now()) {
            tracing::warn!(from = %arrival.from, count, "connections were refused: {text}");
        }
        let from = arrival.from;
        self.teller.tell(|| PeerEvent::Refused(from, limit));
        let Some(refused) = self.registry.refuse() else {
            return;
        };
        let wrapped = caught(|| Ok((arrival.wrap)(arrival.accepted.into_transport())));
        match wrapped {
            Ok(transport) => drop(tokio::spawn(refuse::tell(transport, text, refused))),
            Err(error) => tracing::error!(%error, "a connection was refused without a word"),
        }
    }

    fn tell_displaced(&self, displaced: Displaced) {
        if displaced.makes_room
            && let Some(count) = self.displaced.is_due(clock::now())
        {
            let text = "connections of hosts with more than their share made room for others";
            tracing::warn!(count, "{text} (max_connections)");
        }
    }

    fn tell_failed(&self, error: io::Error) {
        let event = || PeerEvent::AcceptFailed(Arc::new(error));
        self.teller.tell(event);
    }
}

/// Runs what opens one connection: the closure of `bind_with` and the clone of a service are the
/// user's. What they leave behind when they panic belongs to that connection, and goes with it.
fn caught<T>(open: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|panic| {
        let text = panic::text(panic.as_ref());
        Err(io::Error::other(format!(
            "opening the connection panicked: {text}"
        )))
    })
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
