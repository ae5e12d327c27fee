//! One try to connect: from the socket to the end of the hook.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::time::timeout;
use wawo_protocol::{CloseCode, Config, ConnectionError, Side};

use crate::{
    connection::{ConnectionHandle, ConnectionState, Driver, NewConnection},
    panic::Catch,
    peer::{
        Peer,
        handle::Handle,
        redial::dial::Dial,
        redial_link::{ConnectionOwner, RedialLink},
    },
    request::Caller,
    response::Response,
    serve::inbound::Inbound,
    status::{Result, Status},
    transport::{Address, BoxFuture},
};

/// A function of the application that runs over each new connection, before it carries calls of others.
#[derive(Clone)]
pub(crate) struct ConnectHook(Arc<dyn Fn(Peer) -> BoxFuture<'static, Result<()>> + Send + Sync>);

/// The reason in the close packet of a connection whose hook has failed.
pub(crate) const HOOK_FAILED: &str = "on_connect of the other side failed";

impl ConnectHook {
    pub(crate) fn new<F, Fut>(hook: F) -> Self
    where
        F: Fn(Peer) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        Self(Arc::new(move |peer| Box::pin(hook(peer))))
    }

    /// Runs the hook for a peer; `config` bounds its time.
    ///
    /// # Errors
    ///
    /// If the hook fails or panics, or if it takes longer than the connect timeout.
    pub(crate) async fn run(&self, peer: Peer, config: &Config) -> Result<()> {
        let hook = self.0.clone();
        // A response, because that is what panics are caught in.
        let hook = async move { hook(peer).await.map(|()| Response::empty()) };
        let max = config.connect_timeout();
        match timeout(max, Catch::new(hook)).await {
            Ok(result) => result.map(drop),
            Err(_) => {
                let text = format!("on_connect did not end within {max:?} (connect_timeout)");
                Err(Status::deadline_exceeded(text))
            }
        }
    }
}

impl fmt::Debug for ConnectHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectHook")
    }
}

/// Why a try to connect failed.
#[derive(Debug)]
pub(crate) enum TryError<E> {
    /// The connection could not be opened.
    Dial(E),
    /// The connection ended before it carried calls.
    Lost(ConnectionError),
    /// The hook failed.
    Hook(Status),
}

impl<E: fmt::Display> fmt::Display for TryError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(error) => error.fmt(f),
            Self::Lost(error) => write!(f, "the connection ended before it could be used: {error}"),
            Self::Hook(status) => write!(f, "on_connect failed: {status}"),
        }
    }
}

impl<E: Error> Error for TryError<E> {
    /// Begins after the cause that `Display` ends with.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Dial(error) => error.source(),
            Self::Lost(error) => error.source(),
            Self::Hook(status) => status.source(),
        }
    }
}

/// All that each try needs.
#[derive(Debug)]
pub(super) struct Attempt<D> {
    pub(super) dial: D,
    pub(super) config: Arc<Config>,
    /// Serves the calls of the other side. A service need not be shareable between threads, so it is locked
    /// while it is cloned.
    pub(super) inbound: Mutex<Inbound>,
    pub(super) hook: Option<ConnectHook>,
    pub(super) link: Arc<RedialLink>,
    /// It is weak: a strong one would keep the peer open for ever.
    pub(super) handle: Weak<Handle>,
}

impl<D: Dial> Attempt<D> {
    /// Opens a connection, runs the hook over it, and returns it. If the future is dropped, the connection
    /// is closed.
    pub(super) async fn run(
        &self,
        elsewhere: Option<&Address>,
    ) -> Result<Arc<ConnectionHandle>, TryError<D::Error>> {
        let connection = self.dial.dial(elsewhere).await.map_err(TryError::Dial)?;
        let open = self.open(connection)?;
        if let Some(hook) = &self.hook {
            self.run_hook(hook, &open).await.inspect_err(|_| {
                open.handle.close(CloseCode::Normal, HOOK_FAILED);
            })?;
        }
        match ended(&open.handle) {
            Some(error) => Err(TryError::Lost(error)),
            None => Ok(open.keep()),
        }
    }

    /// Spawns the driver of a new connection.
    fn open(&self, new: NewConnection) -> Result<OpenConnection, TryError<D::Error>> {
        let owner = Arc::new(ConnectionOwner::new(&self.link));
        let (names, decoded) = (self.link.names().clone(), self.link.decoded().clone());
        let side = Side::Connecting;
        let connection = ConnectionHandle::new(side, &self.config, names, decoded, owner.clone());
        owner.set_connection(&connection);
        if !self.link.add(&connection) {
            return Err(TryError::Lost(ConnectionError::ClosedHere));
        }
        let caller: Weak<dyn Caller> = self.handle.clone();
        let inbound = self.inbound.lock();
        let inbound = inbound.unwrap_or_else(PoisonError::into_inner).clone();
        let driver = Driver::new(new, &self.config, inbound, connection.clone(), caller);
        let (handle, carrier) = (self.handle.clone(), connection.clone());
        let caller = move || {
            let handle = handle.upgrade()?;
            Some(handle.called_over(carrier.clone()) as Arc<dyn Caller>)
        };
        tokio::spawn(driver.with_own_caller(caller).run());
        Ok(OpenConnection {
            handle: connection,
            is_kept: false,
        })
    }

    /// Runs the hook until it ends, or the connection does.
    async fn run_hook(
        &self,
        hook: &ConnectHook,
        open: &OpenConnection,
    ) -> Result<(), TryError<D::Error>> {
        let lost = || TryError::Lost(ConnectionError::ClosedHere);
        let handle = self.handle.upgrade().ok_or_else(lost)?;
        let peer = Peer::of(handle.bound_to(open.handle.clone()));
        // The hook must not keep the peer open.
        drop(handle);
        let mut state = open.handle.state();
        let over = state.wait_for(|state| matches!(state, ConnectionState::Closed(_)));
        tokio::select! {
            biased;
            result = hook.run(peer, &self.config) => result.map_err(TryError::Hook),
            _ = pin!(over) => Err(TryError::Lost(ended(&open.handle).unwrap_or(ConnectionError::ClosedHere))),
        }
    }
}

/// Why a connection is over, if it is over.
pub(super) fn ended(connection: &ConnectionHandle) -> Option<ConnectionError> {
    match &*connection.state().borrow() {
        ConnectionState::Closed(error) => Some(error.clone()),
        _ => None,
    }
}

/// A connection that carries no calls of others yet. Dropping it closes the connection.
struct OpenConnection {
    handle: Arc<ConnectionHandle>,
    is_kept: bool,
}

impl OpenConnection {
    fn keep(mut self) -> Arc<ConnectionHandle> {
        self.is_kept = true;
        self.handle.clone()
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if !self.is_kept {
            let reason = "the try to connect was not finished";
            self.handle.close(CloseCode::Normal, reason);
        }
    }
}
