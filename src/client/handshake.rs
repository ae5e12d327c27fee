//! The handshake of a connection that this side opens.

use std::{future::poll_fn, sync::Arc, time::Instant};

use bytes::Bytes;
use wawo_protocol::{Config, Side};

use crate::{
    client::error::ConnectError,
    clock,
    identity::{Credentials, CredentialsSource, HelloCheck},
    peer::{NATIVE_PROTOCOL, NewConnection, PendingCheck, log_end},
    status::BoxError,
    transport::{Address, Transport},
};

/// The part of a connecting side that its handshakes need.
pub(super) struct Handshake {
    pub(super) config: Arc<Config>,
    /// The credentials of this side.
    pub(super) credentials: Option<CredentialsSource>,
    /// The check of the other side.
    pub(super) check: Arc<HelloCheck>,
}

impl Handshake {
    /// The credentials of this side for one connection.
    pub(super) async fn credentials(&self) -> Result<Bytes, ConnectError> {
        match &self.credentials {
            None => Ok(Bytes::new()),
            Some(source) => {
                let asked = source.ask().await;
                asked.map(Credentials::into_bytes).map_err(no_credentials)
            }
        }
    }

    /// Exchanges the hellos over a transport, before there is a peer.
    pub(super) async fn run(
        &self,
        transport: Box<dyn Transport>,
        credentials: Bytes,
        address: Option<&Address>,
    ) -> Result<NewConnection, ConnectError> {
        let (config, now) = (self.config.clone(), clock::now());
        let new = NewConnection::connecting(transport.into(), config, credentials, now);
        let new = new.map_err(no_credentials)?;
        let mut new = new.checked_by(self.pending_check(address, now));
        let Err(source) = poll_fn(|cx| new.poll_handshake(cx)).await else {
            return Ok(new);
        };
        let (error, address) = (source.clone(), address.cloned());
        let peer = address.as_ref().map(ToString::to_string);
        log_end(
            &peer.as_deref().unwrap_or("a transport"),
            Side::Connecting,
            &error,
        );
        // The caller does not wait until the other side has the reason.
        tokio::spawn(async move { new.end(&error).await });
        Err(ConnectError::of_handshake(address, source))
    }

    /// The check of the answer to the hello of this side; `None` if there is nothing to check.
    fn pending_check(
        &self,
        address: Option<&Address>,
        since: Instant,
    ) -> Option<Box<PendingCheck>> {
        (!self.check.is_empty()).then(|| {
            Box::new(PendingCheck {
                check: self.check.clone(),
                protocol: NATIVE_PROTOCOL.into(),
                address: address.cloned(),
                since,
                timeout: self.config.handshake_timeout(),
            })
        })
    }
}

pub(super) fn no_credentials(error: impl Into<BoxError>) -> ConnectError {
    ConnectError::Credentials(error.into())
}
