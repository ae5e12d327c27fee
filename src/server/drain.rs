//! The end of a server in good order.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use wawo_protocol::time::after;

use crate::{peer::DrainReport, server::Server};

/// How long the peers that were cut have to be told.
const TELL_TIMEOUT: Duration = Duration::from_millis(100);

impl Server {
    /// Stops listening, lets what is in flight end within the grace, and cuts the rest.
    pub(crate) async fn drain(mut self, grace: Duration) -> DrainReport {
        let end = after(Instant::now().into_std(), grace).into();
        // First of all, so that new peers go elsewhere.
        self.listeners.clear();
        let peers = self.handle.peers();
        peers.iter().for_each(|peer| peer.begin_drain());
        let connections = &mut self.connections;
        let mut all_gone = async || while connections.join_next().await.is_some() {};
        if timeout_at(end, all_gone()).await.is_err() {
            peers.iter().for_each(|peer| peer.cut());
            let _ = timeout(TELL_TIMEOUT, all_gone()).await;
        }
        self.connections.shutdown().await;
        let mut report = DrainReport::default();
        peers.iter().for_each(|peer| report.add(peer));
        self.report.send_replace(Some(report.clone()));
        report
    }
}
