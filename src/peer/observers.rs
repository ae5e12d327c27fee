//! The observers of a peer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use wawo_protocol::Side;

use crate::{
    connection::ConnectionEvent,
    observe::{FarEnd, Observers},
    peer_id::PeerId,
    transport::Address,
};

/// The observers of a peer. The peer counts in their metrics from its first connection to its end.
#[derive(Debug)]
pub(super) struct PeerObservers {
    pub(super) observers: Arc<Observers>,
    pub(super) far_end: Arc<FarEnd>,
    side: Side,
    is_counted: AtomicBool,
}

impl PeerObservers {
    /// The observers of a new peer. `side` is that of this program.
    pub(super) fn new(
        observers: Arc<Observers>,
        side: Side,
        id: PeerId,
        address: Option<&Address>,
    ) -> Self {
        Self {
            observers,
            far_end: Arc::new(FarEnd::native(Some(id), address)),
            side,
            is_counted: AtomicBool::new(false),
        }
    }

    /// Counts the peer by an event of it, which may come again.
    pub(super) fn connection_changed(&self, event: &ConnectionEvent) {
        let Some(metrics) = self.observers.metrics() else {
            return;
        };
        match event {
            ConnectionEvent::Opened if !self.is_counted.swap(true, Ordering::Relaxed) => {
                metrics.peer_opened(self.side);
            }
            ConnectionEvent::Ended(_) if self.is_counted.swap(false, Ordering::Relaxed) => {
                metrics.peer_ended(self.side);
            }
            _ => {}
        }
    }
}

/// A peer whose runtime has ended reports no end.
impl Drop for PeerObservers {
    fn drop(&mut self) {
        if let Some(metrics) = self.observers.metrics()
            && *self.is_counted.get_mut()
        {
            metrics.peer_ended(self.side);
        }
    }
}
