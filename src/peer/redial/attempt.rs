//! One try to connect: from the socket to the end of the hook.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use wawo_protocol::{CloseCode, Config, ConnectionError, Side};

use crate::{
    connection::{ConnectionHandle, Driver, NewConnection},
    peer::{
        Peer,
        connect_hook::ConnectHook,
        handle::Handle,
        redial::{dial::Dial, error::TryError},
        redial_link::{ConnectionOwner, RedialLink},
    },
    request::Caller,
    serve::inbound::Inbound,
    transport::Address,
};

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
            hook.run(&self.bound_peer(&open)?, &self.config).await?;
        }
        match open.handle.why_closed() {
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

    /// The peer that the hook gets. It does not keep the peer open.
    fn bound_peer(&self, open: &OpenConnection) -> Result<Peer, TryError<D::Error>> {
        let lost = || TryError::Lost(ConnectionError::ClosedHere);
        let handle = self.handle.upgrade().ok_or_else(lost)?;
        Ok(Peer::of(handle.bound_to(open.handle.clone())))
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
