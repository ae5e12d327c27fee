//! This side's end of a connection: what it serves, and the function that runs when it is new.

use std::sync::Arc;

use wawo_protocol::{Config, Side};

use crate::{
    client::error::ConnectError,
    peer::{ConnectHook, EventSender, NewConnection, NewPeer, Peer, TryError},
    serve::BoxService,
    transport::Address,
};

/// This side's end of a connection that is about to be opened.
pub(super) struct End {
    pub(super) service: BoxService,
    pub(super) config: Arc<Config>,
    pub(super) on_connect: Option<ConnectHook>,
}

impl End {
    /// Makes the peer of a connection whose hellos are exchanged, and spawns its driver.
    pub(super) async fn drive(
        self,
        new: NewConnection,
        address: Option<Address>,
    ) -> Result<Peer, ConnectError> {
        let (side, event_sender) = (Side::Connecting, EventSender::default());
        let (config, hook) = (self.config, self.on_connect);
        let peer = NewPeer::new(
            side,
            address,
            config.clone(),
            self.service,
            event_sender,
            None,
        );
        let (peer, driver) = peer.drive(new);
        tokio::spawn(driver);
        if let Some(hook) = hook {
            let ran = hook.run(&peer, &config).await;
            ran.map_err(|error| failed_try(error.into(), peer.address()))?;
        }
        Ok(peer)
    }
}

/// The error of a try that has failed.
pub(super) fn failed_try(error: TryError<ConnectError>, address: Option<&Address>) -> ConnectError {
    let address = address.cloned();
    match error {
        TryError::Dial(error) => error,
        TryError::Lost(source) => ConnectError::of_handshake(address, source),
        TryError::Hook(status) => ConnectError::OnConnect { address, status },
    }
}
