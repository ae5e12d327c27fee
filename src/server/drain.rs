//! Drains a server: ends it once its calls have ended, or their grace is over.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    time::{sleep_until, timeout},
};
use wawo_protocol::time::after;

use crate::{
    clock,
    connection::CLOSE_PACKET_TIMEOUT,
    peer::{DrainReport, Peer},
    server::{
        lifecycle::{DrainEffect, Lifecycle},
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
    began: Instant,
}

impl ServerState {
    /// Begins to drain, or moves the end of a drain that is under way to an earlier time.
    pub(crate) fn begin_drain(self: &Arc<Self>, grace: Duration) {
        let end = after(clock::now(), grace);
        let mut effect = DrainEffect::Nothing;
        self.lifecycle.send_if_modified(|lifecycle| {
            effect = lifecycle.drain(end);
            effect != DrainEffect::Nothing
        });
        if effect != DrainEffect::Begins {
            return;
        }
        // The first step, so that new peers connect elsewhere.
        self.stop_accepting();
        let drain = Drain {
            shared: self.clone(),
            peers: self.registry.close(),
            began: clock::now(),
        };
        drain.peers.iter().for_each(Peer::begin_drain);
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
    /// Waits within the grace until all calls have ended, and cuts the rest.
    async fn run(self) {
        let registry = &self.shared.registry;
        let mut lifecycle = self.shared.lifecycle.subscribe();
        loop {
            let Some(end) = lifecycle.borrow_and_update().end() else {
                return;
            };
            tokio::select! {
                biased;
                () = registry.emptied() => return,
                () = sleep_until(end.into()) => break,
                // Another call of `drain` has asked for an earlier end.
                _ = lifecycle.changed() => {}
            }
        }
        let grace = clock::now().saturating_duration_since(self.began);
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

impl Drop for Drain {
    fn drop(&mut self) {
        self.shared.registry.abort();
        let mut report = DrainReport::default();
        self.peers.iter().for_each(|peer| report.add(peer));
        report.log();
        self.shared
            .lifecycle
            .send_if_modified(|lifecycle: &mut Lifecycle| lifecycle.drained(report));
    }
}
