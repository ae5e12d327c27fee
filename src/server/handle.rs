//! What others may do with a server that runs.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    peer::{DrainReport, Events, Peer, Teller},
    server::registry::Registry,
};

/// A [`Server`](crate::Server) that runs elsewhere: who is connected, what happens, and its end.
/// Cheap to clone; it does not keep the server running.
#[derive(Debug, Clone)]
pub struct ServerHandle {
    pub(crate) shared: Arc<Shared>,
    report: watch::Receiver<Option<DrainReport>>,
}

/// What a server shares with its handles.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) registry: Registry,
    pub(crate) teller: Teller,
    /// The grace, once a drain was asked for.
    drain: watch::Sender<Option<Duration>>,
}

impl ServerHandle {
    /// Returns also where the report of a drain will be put.
    pub(crate) fn new() -> (Self, watch::Sender<Option<DrainReport>>) {
        let (sender, report) = watch::channel(None);
        let shared = Arc::new(Shared {
            registry: Registry::default(),
            teller: Teller::default(),
            drain: watch::Sender::new(None),
        });
        (Self { shared, report }, sender)
    }

    /// Everyone who is connected now, in no order.
    pub fn peers(&self) -> Vec<Peer> {
        self.shared.registry.peers()
    }

    /// What happens to all peers from now on.
    pub fn events(&self) -> Events {
        self.shared.teller.events()
    }

    /// Ends the server in good order: it stops listening, tells all peers that it takes no more
    /// calls, and waits until those in flight have ended. When `grace` is over, what is left is
    /// cut. It ends within `grace` and some 100 ms, and [`Server::run`](crate::Server::run) with it.
    ///
    /// Calls that peers make from now on are refused; they know that these may be made elsewhere.
    /// Streams hear of it by [`Peer::draining`].
    ///
    /// Returns what became of the calls; an empty report if the server has gone already. Who asks
    /// a second time waits for the first drain.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server drains all the same.
    pub async fn drain(&self, grace: Duration) -> DrainReport {
        self.begin_drain(grace);
        let mut report = self.report.clone();
        let done = report.wait_for(Option::is_some).await;
        done.ok()
            .and_then(|report| report.clone())
            .unwrap_or_default()
    }

    pub(crate) fn begin_drain(&self, grace: Duration) {
        self.shared.drain.send_if_modified(|drain| {
            let is_first = drain.is_none();
            drain.get_or_insert(grace);
            is_first
        });
    }

    /// Waits until a drain is asked for; returns the grace.
    pub(crate) async fn drain_begun(&self) -> Duration {
        let mut drain = self.shared.drain.subscribe();
        // The sender is in `self`.
        let grace = drain.wait_for(Option::is_some).await;
        grace.ok().and_then(|grace| *grace).unwrap_or_default()
    }
}

/// Resolves when the process is asked to end: by Ctrl-C, and on Unix by SIGTERM too.
///
/// ```no_run
/// # async fn serve(chat: impl wawo::Serve) -> Result<(), wawo::ServeError> {
/// # use std::time::Duration;
/// let grace = Duration::from_secs(10);
/// let server = wawo::Server::builder().add_service(chat);
/// let report = server.serve_until("tcp://127.0.0.1:4000", wawo::shutdown_signal(), grace).await?;
/// # Ok(())
/// # }
/// ```
///
/// Once it was awaited, the process no longer ends by these signals: later ones do nothing, and
/// it is the grace that ends a drain.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub async fn shutdown_signal() {
    let ctrl_c = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "cannot listen for Ctrl-C");
            std::future::pending().await
        }
    };
    tokio::select! {
        () = ctrl_c => {}
        () = terminated() => {}
    }
}

#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(error) => {
            tracing::warn!(%error, "cannot listen for SIGTERM");
            std::future::pending().await
        }
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending().await
}
