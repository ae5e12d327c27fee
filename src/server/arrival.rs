//! A socket of another protocol, as the server gives it to that protocol.

use std::{fmt, sync::Arc};

use crate::{
    clock,
    server::{
        gateway::Gateway,
        serve_socket,
        state::{FindProtocol, SocketOrigin},
    },
    transport::{Address, BoxFuture, Transport},
};

/// A socket that a server has accepted and whose protocol was recognised. The
/// [`Protocol`](crate::Protocol) gets it beside the transport.
///
/// Dropping it changes nothing: the socket counts as a connection of the server until the future of
/// [`Protocol::serve`](crate::Protocol::serve) ends. It counts for longer while an arrival is kept, which
/// can still serve the transport.
pub struct Arrival {
    origin: SocketOrigin,
    /// All protocols of the server.
    protocols: Arc<dyn FindProtocol>,
    /// The name of the protocol.
    protocol: String,
}

impl Arrival {
    pub(super) fn new(
        origin: SocketOrigin,
        protocols: Arc<dyn FindProtocol>,
        protocol: &str,
    ) -> Self {
        let protocol = protocol.to_owned();
        Self {
            origin,
            protocols,
            protocol,
        }
    }

    /// The address that the socket came from.
    pub fn address(&self) -> &Address {
        &self.origin.from
    }

    /// The access to the services of the server.
    pub fn gateway(&self) -> Gateway {
        let protocol = self.protocol.clone().into();
        Gateway::of_socket(
            &self.origin.state,
            protocol,
            &self.origin.place,
            &self.origin.from,
        )
    }

    /// Serves the bytes inside of this protocol, such as the plain bytes of a TLS stream. Their protocol
    /// is recognised as that of a new socket. The future lasts as long as the inner protocol.
    ///
    /// The time for it is the rest of the `handshake_timeout`, which began when the socket was accepted.
    /// Only one level is possible: a protocol inside of an inner one is closed, with a warning in the
    /// log.
    pub fn serve_inner(mut self, transport: impl Transport) -> BoxFuture<'static, ()> {
        let origin = &mut self.origin;
        if std::mem::replace(&mut origin.is_inside, true) {
            let from = &origin.from;
            tracing::warn!(target: "wawo::server", %from, "a protocol inside of one inside of another is not served");
            return Box::pin(async {});
        }
        let Self {
            origin, protocols, ..
        } = self;
        let transport = Box::new(transport);
        match origin.begin_handshake() {
            Ok(request) => protocols.serve(origin, request, transport),
            Err(ask) => {
                origin.send_away(ask, Some((transport as Box<dyn Transport>).into()));
                Box::pin(async {})
            }
        }
    }

    /// Serves wawo's own protocol over `transport`, inside of this protocol, as WebSocket does. The
    /// future lasts as long as the connection.
    pub fn serve_native(self, transport: impl Transport) -> BoxFuture<'static, ()> {
        let mut origin = self.origin;
        origin.since = clock::now();
        origin.protocol = self.protocol.into();
        Box::pin(native_inside(origin, Box::new(transport)))
    }
}

async fn native_inside(origin: SocketOrigin, transport: Box<dyn Transport>) {
    match origin.begin_handshake() {
        Ok(request) => {
            if let Some(serving) = serve_socket::serve_native(origin, request, transport.into()) {
                serving.await;
            }
        }
        Err(ask) => origin.send_away(ask, Some(transport.into())),
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
