//! A drain that a program asks for.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    peer::DrainReport,
    server::{drain_request::DrainRequest, state::ServerState},
    transport::{Address, BoxFuture},
};

/// A drain of a server: a future that begins it when it is first polled, and resolves to the report of the
/// calls. Made by [`ServerHandle::drain`](crate::ServerHandle::drain).
///
/// Dropping it after it has begun changes nothing: the server drains all the same.
#[must_use = "a drain begins when it is first polled"]
pub struct ServerDrain {
    shared: Arc<ServerState>,
    request: DrainRequest,
    /// Waits for the end of the server, once the drain has begun.
    ended: Option<BoxFuture<'static, DrainReport>>,
}

impl ServerDrain {
    pub(crate) fn new(shared: Arc<ServerState>, grace: Duration) -> Self {
        let request = DrainRequest {
            grace,
            spread: Duration::ZERO,
            address: None,
        };
        Self {
            shared,
            request,
            ended: None,
        }
    }

    /// Spreads the peers over this time, so that they do not all connect anew at once. Default zero: all
    /// are drained at once. More than 49 days count as 49 days.
    ///
    /// Each peer is asked to come back in a slice of the time that is its own. Until then it is served as
    /// before, new calls included. A peer that [reconnects](crate::PeerBuilder::reconnect) connects anew
    /// within its slice, and then ends its old connection when its calls have ended. One second after the
    /// slice the peer is drained, whether it has moved or not. The grace begins when the last one is.
    ///
    /// The server takes no new connections from the beginning.
    ///
    /// Only the first drain of a server spreads. If a later one asks for an end before the last peer would be
    /// drained, all that are left are drained at once; otherwise they keep their times.
    pub fn spread(mut self, time: Duration) -> Self {
        self.request.spread = time;
        self
    }

    /// Asks peers to connect to this address. Default: the address that each of them has connected to,
    /// where another process may have taken over. Without a [`spread`](Self::spread), no peer is asked to
    /// move, and only the first drain of a server asks.
    pub fn move_to(mut self, address: Address) -> Self {
        self.request.address = Some(address);
        self
    }
}

impl Future for ServerDrain {
    type Output = DrainReport;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<DrainReport> {
        let Self {
            shared,
            request,
            ended,
        } = self.get_mut();
        let ended = ended.get_or_insert_with(|| {
            shared.begin_drain(request);
            let shared = shared.clone();
            Box::pin(async move { shared.ended().await })
        });
        ended.as_mut().poll(cx)
    }
}

impl fmt::Debug for ServerDrain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerDrain")
            .field("request", &self.request)
            .field("has_begun", &self.ended.is_some())
            .finish_non_exhaustive()
    }
}
