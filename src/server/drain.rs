//! Drains a server: ends it once its calls have ended, or their grace is over.
//!
//! ```text
//!                    no spread
//!  begin_drain ──────────────────────► all peers drained ── no call left ──────► the report
//!       │                                  ▲       │                                ▲
//!       └── all are asked to move ─────────┘       └── grace over: calls are cut ───┘
//!                each is drained after its slice
//! ```

mod departures;
mod request;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    time::{sleep_until, timeout},
};
use wawo_protocol::time::after;

pub use crate::server::drain::request::ServerDrain;
use crate::{
    clock,
    connection::CLOSE_PACKET_TIMEOUT,
    peer::{DrainReport, Peer},
    server::{
        drain::departures::{Departures, slices, time_to_leave},
        drain_request::DrainRequest,
        lifecycle::{DrainEffect, Lifecycle},
        log,
        state::ServerState,
    },
};

/// The drain of a server, in a task of its own: it goes on whether or not somebody waits for it, and
/// whether or not the server runs. When it is dropped, at its end or with its runtime, it cuts the calls
/// that are left and makes the report.
#[derive(Debug)]
struct Drain {
    shared: Arc<ServerState>,
    peers: Vec<Peer>,
    /// The peers that are not drained yet.
    departures: Departures<Peer>,
    /// When the last peer was drained: the beginning of the grace.
    grace_began: Instant,
}

impl ServerState {
    /// Begins to drain, or moves the end of a drain that is under way to an earlier time.
    pub(crate) fn begin_drain(self: &Arc<Self>, request: &DrainRequest) {
        let now = clock::now();
        let end = after(after(now, time_to_leave(request.spread)), request.grace);
        let mut effect = DrainEffect::Nothing;
        self.lifecycle.send_if_modified(|lifecycle| {
            effect = lifecycle.drain(end);
            effect != DrainEffect::Nothing
        });
        match effect {
            DrainEffect::Begins => {}
            DrainEffect::Hastens => return log::drain_hastened(request.grace, request.spread),
            DrainEffect::Nothing => return,
        }
        // The first step, so that new peers connect elsewhere.
        self.stop_accepting();
        let peers = self.registry.close();
        log::draining(peers.len(), request.grace, request.spread);
        let departures = depart(&peers, request, now);
        let drain = Drain {
            shared: self.clone(),
            peers,
            departures,
            grace_began: now,
        };
        // A server that never had a connection may never have been in a runtime. It has nothing to wait
        // for.
        if let Some(runtime) = Handle::try_current().ok().or_else(|| self.runtime()) {
            runtime.spawn(drain.run());
        }
    }

    /// Waits until the server has ended, and returns the report of its calls.
    pub(crate) async fn ended(&self) -> DrainReport {
        let mut lifecycle = self.lifecycle.subscribe();
        let ended = lifecycle
            .wait_for(|lifecycle| lifecycle.report().is_some())
            .await;
        // `self` holds the sender, so it cannot be dropped meanwhile.
        let ended = ended.ok();
        ended
            .and_then(|lifecycle| lifecycle.report().cloned())
            .unwrap_or_default()
    }
}

impl Drain {
    /// Waits until all calls have ended, within the grace, and cuts the rest.
    async fn run(mut self) {
        let mut lifecycle = self.shared.lifecycle.subscribe();
        loop {
            let Some(end) = lifecycle.borrow_and_update().end() else {
                return;
            };
            let next = self.departures.next().map_or(end, |next| next.min(end));
            tokio::select! {
                biased;
                () = self.shared.registry.emptied() => return,
                () = sleep_until(next.into()) => match next < end {
                    true => self.drain_due(),
                    false => break,
                },
                // Another call of `drain` has asked for an earlier end.
                _ = lifecycle.changed() => {
                    if let Some(end) = lifecycle.borrow().end() {
                        self.hasten(end);
                    }
                }
            }
        }
        self.cut().await;
    }

    /// Drains the peers whose time has come.
    fn drain_due(&mut self) {
        let now = clock::now();
        let due: Vec<_> = self.departures.take_due(now).collect();
        self.drain_peers(&due, now);
    }

    /// Drains all peers that are left if some of them would leave only after the end. Otherwise they keep
    /// their times: all at once, they would connect anew at once.
    fn hasten(&mut self, end: Instant) {
        if self.departures.last().is_none_or(|last| last < end) {
            return;
        }
        let left: Vec<_> = self.departures.take_all().collect();
        self.drain_peers(&left, clock::now());
    }

    fn drain_peers(&mut self, peers: &[Peer], now: Instant) {
        if !peers.is_empty() {
            self.grace_began = now;
            peers.iter().for_each(Peer::begin_drain);
        }
    }

    /// Cuts the calls that are left.
    async fn cut(self) {
        let registry = &self.shared.registry;
        let grace = clock::now().saturating_duration_since(self.grace_began);
        let grace = Duration::from_millis(grace.as_millis() as u64);
        self.peers.iter().for_each(|peer| peer.cut(grace));
        if timeout(CLOSE_PACKET_TIMEOUT, registry.emptied())
            .await
            .is_err()
        {
            registry.abort();
            // The tasks of the cut connections may take this long to send the close packet.
            let _ = timeout(CLOSE_PACKET_TIMEOUT, registry.emptied()).await;
        }
    }
}

/// Asks each peer to move in its part of the spread. Without a spread, drains all of them.
fn depart(peers: &[Peer], request: &DrainRequest, now: Instant) -> Departures<Peer> {
    if request.spread.is_zero() {
        peers.iter().for_each(Peer::begin_drain);
        return Departures::new([], now);
    }
    let address = request.address.as_ref();
    let slices = slices(peers.len(), request.spread).zip(peers.iter().cloned());
    let slices: Vec<_> = slices.collect();
    for (slice, peer) in &slices {
        peer.ask_to_move(slice.not_before, slice.not_after, address);
    }
    Departures::new(slices, now)
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.shared.registry.abort();
        let mut report = DrainReport::default();
        self.peers.iter().for_each(|peer| report.add(peer));
        report.log();
        log::drained(&report);
        self.shared
            .lifecycle
            .send_if_modified(|lifecycle: &mut Lifecycle| lifecycle.drained(report));
    }
}
