//! Opens the connections of a peer: the same way for the first and for each that follows.

use std::{future::poll_fn, sync::Arc};

use bytes::Bytes;
use wawo_protocol::{Config, Side};

use crate::{
    client::ConnectError,
    clock, connection,
    peer::{Dial, NewConnection},
    transport::{Address, Attempts, Connect, Connectors, SocketOptions, Transport},
};

/// Opens connections to one address.
#[derive(Debug)]
pub(super) struct Dialler {
    pub(super) address: Address,
    pub(super) connectors: Connectors,
    pub(super) options: SocketOptions,
    pub(super) config: Arc<Config>,
}

/// How often a dial tries again, if the server drains. Such a server closes connections that it has just
/// accepted, while another may have taken its place. A dial meets one draining server, or two in a row;
/// more are a fault, which should show.
const MAX_DRAINED: usize = 3;

impl Dialler {
    /// # Errors
    ///
    /// If there is no connector for the address, or an option of the socket is out of its range.
    pub(super) fn check(&self) -> Result<(), ConnectError> {
        self.options.check()?;
        self.connector(&self.address).map(drop)
    }

    fn connector(&self, address: &Address) -> Result<Arc<dyn Connect>, ConnectError> {
        let found = self.connectors.find(address);
        found.map_err(|advice| ConnectError::NoConnector {
            address: address.clone(),
            advice,
        })
    }

    async fn open(
        &self,
        address: &Address,
        attempts: &mut Attempts,
    ) -> Result<NewConnection, ConnectError> {
        let connector = self.connector(address)?;
        let mut drained = 0;
        loop {
            let transport = connector.connect(address, &self.options, attempts).await;
            let transport = transport.map_err(|source| ConnectError::Transport {
                address: address.clone(),
                source,
            })?;
            // The socket is connected. A later error, such as a missing hello, is not about the attempts
            // before.
            *attempts = Attempts::connected("no hello came");
            match shake_hands(transport, self.config.clone(), Some(address)).await {
                Err(ConnectError::Hello { source, .. })
                    if drained < MAX_DRAINED && connection::ended_by_drain(&source) =>
                {
                    drained += 1;
                }
                result => return result,
            }
        }
    }
}

impl Dial for Dialler {
    type Error = ConnectError;

    async fn dial(&self, elsewhere: Option<&Address>) -> Result<NewConnection, ConnectError> {
        let address = elsewhere.unwrap_or(&self.address);
        let (timeout, mut attempts) = (self.config.connect_timeout(), Attempts::default());
        // If both times are over, this one says more than the timeout of the handshake.
        tokio::select! {
            biased;
            () = tokio::time::sleep(timeout) => {}
            result = self.open(address, &mut attempts) => return result,
        }
        Err(ConnectError::TimedOut {
            address: address.clone(),
            timeout,
            attempts: attempts.to_string(),
        })
    }
}

/// Exchanges the hellos over a transport, before there is a peer.
pub(super) async fn shake_hands(
    transport: Box<dyn Transport>,
    config: Arc<Config>,
    address: Option<&Address>,
) -> Result<NewConnection, ConnectError> {
    let (credentials, now) = (Bytes::new(), clock::now());
    let mut new = NewConnection::connecting(transport.into(), config, credentials, now)?;
    let Err(source) = poll_fn(|cx| new.poll_hello(cx)).await else {
        return Ok(new);
    };
    let (error, address) = (source.clone(), address.cloned());
    tracing::debug!(%error, ?address, side = ?Side::Connecting, "connection over");
    // The caller does not wait until the other side has the reason.
    tokio::spawn(async move { new.end(&error).await });
    Err(ConnectError::Hello { address, source })
}
