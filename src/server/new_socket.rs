//! A socket as a listener has accepted it.

use std::{io, sync::Arc};

use crate::transport::{AcceptedSocket, Transport};

/// Wraps each transport that is accepted into the one that is served.
pub(crate) type Wrap = Arc<dyn Fn(Box<dyn Transport>) -> Box<dyn Transport> + Send + Sync>;

/// A socket before anything was read from it, and what is around the bytes that it carries.
pub(crate) struct NewSocket<S = Box<dyn Transport>> {
    pub(crate) socket: S,
    /// Whether its bytes are TLS.
    pub(crate) is_tls: bool,
    /// Wraps the transport inside of TLS, or the transport itself; `None` if the program does not ask for it,
    /// or if that is done.
    pub(crate) wrap: Option<Wrap>,
}

impl NewSocket<AcceptedSocket> {
    /// Moves it to the current runtime.
    pub(super) fn moved_here(mut self) -> io::Result<Self> {
        self.socket = self.socket.moved_here()?;
        Ok(self)
    }

    /// The same as a transport of the current runtime.
    pub(super) fn into_opened(self) -> NewSocket {
        NewSocket {
            socket: self.socket.into_transport(),
            is_tls: self.is_tls,
            wrap: self.wrap,
        }
    }
}

impl NewSocket {
    /// The same, wrapped already if there is no TLS to come first. It runs the user's code.
    pub(super) fn wrapped(mut self) -> Self {
        match self.wrap.take_if(|_| !self.is_tls) {
            Some(wrap) => wrap(self.socket).into(),
            None => self,
        }
    }

    /// The transport, for a few bytes before the handshake. It runs the user's code.
    pub(super) fn into_transport(self) -> Box<dyn Transport> {
        self.wrapped().socket
    }
}

/// A transport that is wrapped already, or need not be.
impl From<Box<dyn Transport>> for NewSocket {
    fn from(socket: Box<dyn Transport>) -> Self {
        Self {
            socket,
            is_tls: false,
            wrap: None,
        }
    }
}
