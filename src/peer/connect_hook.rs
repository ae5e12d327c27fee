//! The function of the application that runs over each new connection of a peer.

use std::{any::Any, fmt, future::Future, sync::Arc};

use tokio::time::timeout;
use wawo_protocol::{CloseCode, Config, ConnectionError};

use crate::{
    panic,
    panic_fence::PanicFence,
    peer::Peer,
    status::{Result, Status},
    transport::BoxFuture,
};

/// A function of the application that runs over each new connection, before it carries calls of others.
#[derive(Clone)]
pub(crate) struct ConnectHook(Arc<dyn Fn(Peer) -> BoxFuture<'static, Result<()>> + Send + Sync>);

/// Why a new connection carries no calls.
#[derive(Debug)]
pub(crate) enum HookError {
    /// The connection ended before the hook, or with it.
    Lost(ConnectionError),
    /// The hook failed or panicked, or took longer than the connect timeout.
    Failed(Status),
}

/// The reason in the close packet of a connection whose hook has failed.
const HOOK_FAILED: &str = "on_connect of the other side failed";

impl ConnectHook {
    pub(crate) fn new<F, Fut>(hook: F) -> Self
    where
        F: Fn(Peer) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        Self(Arc::new(move |peer| Box::pin(hook(peer))))
    }

    /// Runs the hook for a peer that has one connection, until the hook ends or the connection does;
    /// `config` bounds its time. If the hook fails, the connection is closed.
    ///
    /// # Errors
    ///
    /// If the hook fails or panics, if it takes longer than the connect timeout, or if the connection is
    /// over.
    pub(crate) async fn run(&self, peer: &Peer, config: &Config) -> Result<(), HookError> {
        let max = config.connect_timeout();
        let result = tokio::select! {
            biased;
            result = timeout(max, self.call(peer.clone())) => result,
            error = peer.closed() => return Err(HookError::Lost(error)),
        };
        let late = || {
            let text = format!("on_connect did not end within {max:?} (connect_timeout)");
            Status::deadline_exceeded(text)
        };
        match result.unwrap_or_else(|_| Err(late())) {
            Ok(()) => peer
                .0
                .link()
                .end()
                .map_or(Ok(()), |error| Err(HookError::Lost(error))),
            Err(status) => {
                peer.close_with(CloseCode::Normal, HOOK_FAILED);
                Err(HookError::Failed(status))
            }
        }
    }

    /// Calls the function. A panic becomes a status.
    async fn call(&self, peer: Peer) -> Result<()> {
        match PanicFence::new(|| (self.0)(peer)) {
            Ok(hook) => hook.await.unwrap_or_else(|panic| Err(panicked(&*panic))),
            Err(panic) => Err(panicked(&*panic)),
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Status {
    Status::from_panic("on_connect panicked", panic::text(panic))
}

impl fmt::Debug for ConnectHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectHook")
    }
}
