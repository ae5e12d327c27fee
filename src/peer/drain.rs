//! Drains a peer, and reports how its calls ended.

use std::{pin::pin, time::Duration};

use wawo_protocol::{ConnectionError, Relocation, time::after};

use crate::{
    backstop::timeout_at, clock, connection::CLOSE_PACKET_TIMEOUT, peer::Peer, peer_id::PeerId,
    transport::Address,
};

/// The outcome of the calls that were in flight when a drain began: from [`Peer::drain`] and
/// [`ServerHandle::drain`](crate::ServerHandle::drain).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct DrainReport {
    /// Peers that were connected.
    pub peers: usize,
    /// Calls that ended by themselves, both ways.
    pub finished: usize,
    /// Peers whose calls did not all end by themselves. A peer is missing here if a handler blocked its
    /// driver's thread for all of the grace, so that the driver did not learn of the drain in time.
    pub cut: Vec<CutPeer>,
}

/// A peer whose calls were cut off when a drain ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CutPeer {
    /// See [`Peer::id`].
    pub id: PeerId,
    /// See [`Peer::address`].
    pub address: Option<Address>,
    /// See [`Peer::claimed_name`].
    pub claimed_name: String,
    /// How many of its calls were cut, both ways.
    pub calls: usize,
    /// `None` if this side cut the calls, because the grace was over or the server was dropped; else the
    /// reason for which the connection ended before.
    pub by_peer: Option<ConnectionError>,
}

impl Peer {
    /// Takes no more calls from the peer, and waits until all calls in flight, both ways, have
    /// ended; then closes the connection. Calls that the peer makes from now on are refused, and
    /// it knows that they may be made elsewhere; calls to it go on.
    ///
    /// When `grace` is over, what is left is cut. It ends within `grace` and 100 ms.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection drains on, without a limit of its time.
    pub async fn drain(&self, grace: Duration) -> DrainReport {
        let end = after(clock::now(), grace);
        self.begin_drain();
        if timeout_at(end, pin!(self.closed())).await.is_none() {
            self.cut(grace);
            timeout_at(
                after(clock::now(), CLOSE_PACKET_TIMEOUT),
                pin!(self.closed()),
            )
            .await;
        }
        let mut report = DrainReport::default();
        report.add(self);
        report.log();
        report
    }

    /// Asks the peer to connect anew, between these times from now in milliseconds. `None` stands for the
    /// address that it has connected to. A guest is not asked, nor is a peer that this side has connected
    /// to.
    pub(crate) fn ask_to_move(&self, not_before: u32, not_after: u32, address: Option<&Address>) {
        let time = |millis: u32| Duration::from_millis(millis.into());
        let address = address.map_or_else(String::new, Address::to_string);
        match Relocation::new(time(not_before), time(not_after), address) {
            Ok(relocation) => self.0.link().move_peer(relocation),
            Err(error) => {
                let state = self.0.state();
                state
                    .event_sender()
                    .warnings()
                    .not_asked_to_move(state, &error);
            }
        }
    }

    /// Takes no more calls, and closes when those in flight have ended.
    pub(crate) fn begin_drain(&self) {
        self.0.link().begin_drain();
    }

    /// Ends a drain whose grace, of this length, is over.
    pub(crate) fn cut(&self, grace: Duration) {
        if self.is_closed() {
            return;
        }
        self.0.link().cut(grace);
    }
}

impl DrainReport {
    /// Logs how many calls this side has cut, if any.
    pub(crate) fn log(&self) {
        let by_us = self.cut.iter().filter(|cut| cut.by_peer.is_none());
        let calls: usize = by_us.clone().map(|cut| cut.calls).sum();
        if calls > 0 {
            let (peers, finished) = (by_us.count(), self.finished);
            tracing::warn!(
                target: "wawo::peer",
                calls,
                peers,
                finished,
                "a drain cut calls, as its grace was over"
            );
        }
    }

    /// Adds the outcome of a peer whose drain is over.
    pub(crate) fn add(&mut self, peer: &Peer) {
        let outcome = peer.0.link().drain_outcome();
        self.peers += 1;
        self.finished += outcome.finished;
        if outcome.cut == 0 {
            return;
        }
        let by_peer = match peer.0.link().end() {
            // Closed by this side for another reason than the grace: the server was dropped, or a limit
            // closed it.
            Some(ConnectionError::ClosedHere) => None,
            Some(error) if !outcome.is_cut_here => Some(error),
            _ => None,
        };
        self.cut.push(CutPeer {
            id: peer.id(),
            address: peer.address().cloned(),
            claimed_name: peer.claimed_name(),
            calls: outcome.cut,
            by_peer,
        });
    }
}
