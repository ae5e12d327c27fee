//! A socket as a listener has accepted it.

use std::sync::Arc;

use crate::{
    server::listeners::{NewSocket, Wrap},
    transport::Transport,
};

/// A socket before anything was read from it, and what is around the bytes that it carries.
pub(crate) struct BareSocket {
    pub(crate) transport: Box<dyn Transport>,
    /// Whether its bytes are TLS.
    pub(crate) is_tls: bool,
    /// Wraps the transport inside of TLS, or the transport itself.
    pub(crate) wrap: Wrap,
}

impl BareSocket {
    /// The same, wrapped already if there is no TLS to come first. It runs the user's code.
    pub(super) fn wrapped(self) -> Self {
        match self.is_tls {
            true => self,
            false => (self.wrap)(self.transport).into(),
        }
    }

    /// The transport, for a few bytes before the handshake. It runs the user's code.
    pub(super) fn into_transport(self) -> Box<dyn Transport> {
        self.wrapped().transport
    }
}

impl From<NewSocket> for BareSocket {
    fn from(new: NewSocket) -> Self {
        Self {
            transport: new.socket.into_transport(),
            is_tls: new.is_tls,
            wrap: new.wrap,
        }
    }
}

/// A transport that is wrapped already, or need not be.
impl From<Box<dyn Transport>> for BareSocket {
    fn from(transport: Box<dyn Transport>) -> Self {
        Self {
            transport,
            is_tls: false,
            wrap: Arc::new(|transport| transport),
        }
    }
}
