//! A socket that speaks another protocol, as that protocol has it.

use std::fmt;

use crate::{
    server::{gateway::Gateway, state::SocketOrigin},
    transport::{Address, BoxFuture, Transport},
};

/// A socket that a server has accepted and whose protocol was recognised: its
/// [`Protocol`](crate::Protocol) has it beside the transport.
///
/// Dropping it changes nothing: the socket counts as a connection of the server until the future of
/// [`Protocol::serve`](crate::Protocol::serve) ends.
pub struct Arrival {
    origin: SocketOrigin,
    /// The name of the protocol.
    protocol: String,
}

impl Arrival {
    pub(super) fn new(origin: SocketOrigin, protocol: &str) -> Self {
        let protocol = protocol.to_owned();
        Self { origin, protocol }
    }

    /// The address that the socket came from.
    pub fn address(&self) -> &Address {
        &self.origin.from
    }

    /// The way to what the server serves.
    pub fn gateway(&self) -> Gateway {
        let protocol = self.protocol.clone().into();
        Gateway::of_socket(&self.origin.state, protocol, &self.origin.place)
    }

    /// Serves what is inside of this protocol, such as the plain bytes of a TLS stream: its first bytes
    /// are looked at as those of a new socket. The future lasts as long as what is inside.
    ///
    /// The time for it is what is left of the `handshake_timeout`, which began when the socket was
    /// accepted. It goes once: what is inside of an inside is closed, with a warning in the log.
    pub fn inside(mut self, transport: impl Transport) -> BoxFuture<'static, ()> {
        let origin = &mut self.origin;
        if std::mem::replace(&mut origin.is_inside, true) {
            let from = &origin.from;
            tracing::warn!(%from, "a protocol inside of one inside of another is not served");
            return Box::pin(async {});
        }
        self.origin.find_protocol(Box::new(transport))
    }

    /// Serves wawo's own protocol over `transport`, inside of this one: WebSocket carries it so. The
    /// future lasts as long as the connection.
    pub fn native(self, transport: impl Transport) -> BoxFuture<'static, ()> {
        let origin = self.origin;
        Box::pin(async move {
            let transport: Box<dyn Transport> = Box::new(transport);
            origin.serve_native(transport.into(), false).await;
        })
    }
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival")
            .field("address", &self.origin.from)
            .field("is_inside", &self.origin.is_inside)
            .finish_non_exhaustive()
    }
}
