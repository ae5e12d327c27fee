//! Draining a connection: no more calls, and an end when those in flight are done.

use std::{
    io,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use wawo_protocol::{CloseCode, ConnectionError, time::after};

use crate::{
    backstop::timeout_at,
    clock,
    connection::{driver::Driver, mailbox::Command},
    peer::{ConnectionState, Peer},
    transport::Address,
};

/// What became of the calls that were in flight when a drain began.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct DrainReport {
    /// Peers that were connected.
    pub peers: usize,
    /// Calls that ended by themselves, both ways.
    pub finished: usize,
    /// Peers whose calls did not all end by themselves. A peer is missing whose driver heard of the
    /// drain too late, since a handler blocked its thread for all of the grace.
    pub cut: Vec<CutPeer>,
}

/// A peer whose calls were cut off when a drain ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CutPeer {
    /// See [`Peer::id`].
    pub id: u64,
    /// See [`Peer::address`].
    pub address: Option<Address>,
    /// See [`Peer::identity`].
    pub identity: String,
    /// How many of its calls were cut, both ways.
    pub calls: usize,
    /// `None` if this side cut them, as the grace was over or its server was dropped; else why the
    /// connection ended before.
    pub by_peer: Option<ConnectionError>,
}

/// The words with which a connection closes whose drain is over.
pub(crate) const DRAINED: &str = "drained";

/// Whether the other side ended a connection since it drains. The system may throw its words away with
/// the bytes that it has not read; then the connection is reset.
pub(crate) fn ended_by_drain(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::ClosedByPeer { code, text } => {
            *code == CloseCode::Normal && text == DRAINED
        }
        ConnectionError::Lost(error) => error.kind() == io::ErrorKind::ConnectionReset,
        _ => false,
    }
}

/// How long a peer that was cut has to be told.
pub(crate) const TELL_TIMEOUT: Duration = Duration::from_millis(100);

impl Peer {
    /// Takes no more calls from the peer, and waits until all calls in flight, both ways, have
    /// ended; then closes the connection. Calls that the peer makes from now on are refused, and
    /// it knows that they may be made elsewhere; calls to it go on.
    ///
    /// When `grace` is over, what is left is cut. It ends within `grace` and 100 ms.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection drains on, without an end to the grace.
    pub async fn drain(&self, grace: Duration) -> DrainReport {
        let end = after(clock::now(), grace);
        self.begin_drain();
        if timeout_at(end, pin!(self.closed())).await.is_none() {
            self.cut(grace);
            timeout_at(after(clock::now(), TELL_TIMEOUT), pin!(self.closed())).await;
        }
        let mut report = DrainReport::default();
        report.add(self);
        report.log();
        report
    }

    /// Takes no more calls, and closes when those in flight have ended.
    pub(crate) fn begin_drain(&self) {
        self.0.shared.mailbox.push_end(Command::Drain);
    }

    /// Ends a drain whose grace, which was so long, is over.
    pub(crate) fn cut(&self, grace: Duration) {
        if self.is_closed() {
            return;
        }
        self.0.shared.drain.lock().cut_after = Some(grace);
        self.close("the grace for draining is over");
    }
}

impl DrainReport {
    /// Writes down what this side has cut, if anything.
    pub(crate) fn log(&self) {
        let by_us = self.cut.iter().filter(|cut| cut.by_peer.is_none());
        let calls: usize = by_us.clone().map(|cut| cut.calls).sum();
        if calls > 0 {
            let (peers, finished) = (by_us.count(), self.finished);
            tracing::warn!(
                calls,
                peers,
                finished,
                "a drain cut calls, as its grace was over"
            );
        }
    }

    /// Counts a peer whose drain is over.
    pub(crate) fn add(&mut self, peer: &Peer) {
        let shared = &peer.0.shared;
        let drain = shared.drain.lock();
        self.peers += 1;
        self.finished += drain.began_with.saturating_sub(drain.still_in_flight);
        if drain.still_in_flight > 0 {
            let by_peer = match &*shared.state.borrow() {
                // Closed here without a cut: the server was dropped, or a limit made it.
                ConnectionState::Closed(ConnectionError::ClosedHere) => None,
                ConnectionState::Closed(error) if drain.cut_after.is_none() => Some(error.clone()),
                _ => None,
            };
            self.cut.push(CutPeer {
                id: peer.id(),
                address: peer.address().cloned(),
                identity: peer.identity().to_owned(),
                calls: drain.still_in_flight,
                by_peer,
            });
        }
    }
}

/// The drain of one connection, as its driver tells it.
#[derive(Debug, Default)]
pub(crate) struct Drain(Mutex<DrainProgress>);

#[derive(Debug, Default)]
struct DrainProgress {
    /// Calls in flight when it began.
    began_with: usize,
    /// Of those, and of calls that they made, still in flight.
    still_in_flight: usize,
    /// The grace, once it is over.
    cut_after: Option<Duration>,
}

impl Drain {
    /// Why this side has cut what was in flight, if it has.
    pub(crate) fn why_cut(&self) -> Option<String> {
        let grace = self.lock().cut_after?;
        Some(format!(
            "the grace of this side's drain, {grace:?}, was over"
        ))
    }

    fn lock(&self) -> MutexGuard<'_, DrainProgress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver {
    pub(crate) fn drain(&mut self) {
        if self.is_draining {
            return;
        }
        self.is_draining = true;
        self.connection.drain();
        let in_flight = self.in_flight();
        let mut drain = self.shared.drain.lock();
        (drain.began_with, drain.still_in_flight) = (in_flight, in_flight);
        drop(drain);
        self.announce_drain();
    }

    /// Ends the connection when nothing is in flight any more and all is written.
    pub(crate) fn check_drained(&mut self) -> Result<(), ConnectionError> {
        if !self.is_draining {
            return Ok(());
        }
        self.count_drained();
        if self.in_flight() > 0 || !self.is_written() {
            return Ok(());
        }
        self.connection.close(CloseCode::Normal, DRAINED);
        Err(ConnectionError::ClosedHere)
    }

    /// Notes what is left in flight, for the report.
    pub(crate) fn count_drained(&self) {
        if self.is_draining {
            self.shared.drain.lock().still_in_flight = self.in_flight();
        }
    }

    fn in_flight(&self) -> usize {
        let calls = self.connection.calls_served() + self.connection.calls_started();
        calls + self.incoming.one_way_messages()
    }
}
