//! Other protocols on the ports of a server.

use std::{fmt, sync::Arc};

use crate::{
    server::arrival::Arrival,
    transport::{BoxFuture, Transport},
};

/// Another protocol that shares the ports of a server with wawo's own, such as HTTP, or TLS with either
/// inside. See [`ServerBuilder::protocol`](crate::ServerBuilder::protocol).
///
/// ```text
///  listener ──► socket ──► handshake: recognise(first bytes)
///                             ├─ wawo's preface ──► driver
///                             ├─ Yes ─────────────► serve(transport, arrival)
///                             │                       ├─ arrival.gateway()   calls, by guests
///                             │                       ├─ arrival.inside(t)   recognised again, once
///                             │                       └─ arrival.native(t)   wawo's own, inside of it
///                             └─ no one says Yes ─► closed, and the error says what came
/// ```
///
/// A server with other protocols says nothing on a new socket before the other side has sent its first
/// bytes. A protocol whose server speaks first needs a port of its own.
pub trait Protocol: Send + Sync + 'static {
    /// The name of the protocol, for logs and for [`Peer`](crate::Peer)s that come by it.
    fn name(&self) -> &str;

    /// Whether a socket that begins with these bytes speaks the protocol. There is at least one byte,
    /// and at most 16 KiB; it is asked again with more of them after [`Recognition::Perhaps`].
    ///
    /// It must not block. A panic ends the one socket.
    fn recognise(&self, start: &[u8]) -> Recognition;

    /// Serves a socket that was recognised, until the future ends. The bytes that were looked at are
    /// read from `transport` once more.
    ///
    /// The future runs as a task of the server: the socket counts as a connection until it ends, and it
    /// is dropped when the grace of a drain is over, when the socket has to make room for another, or
    /// with the server. It should end by itself soon after [`Gateway::draining`]. A panic ends the one
    /// socket.
    ///
    /// [`Gateway::draining`]: crate::Gateway::draining
    fn serve(&self, transport: Box<dyn Transport>, arrival: Arrival) -> BoxFuture<'static, ()>;
}

/// Whether a socket speaks a protocol, as far as its first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "all that can be said of bytes of which more may come"
)]
pub enum Recognition {
    /// It does.
    Yes,
    /// More bytes have to come before that can be said. Protocols that were added later are not asked
    /// meanwhile.
    Perhaps,
    /// It does not, whatever follows.
    No,
}

/// The other protocols of a server, in the order in which they were added.
#[derive(Clone, Default)]
pub(crate) struct Protocols(Vec<Arc<dyn Protocol>>);

impl Protocols {
    pub(crate) fn add(&mut self, protocol: impl Protocol) {
        self.0.push(Arc::new(protocol));
    }

    /// `None` if there are none.
    pub(crate) fn some(self) -> Option<Arc<Self>> {
        (!self.0.is_empty()).then(|| Arc::new(self))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Protocol>> {
        self.0.iter()
    }
}

impl fmt::Debug for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|protocol| protocol.name());
        f.debug_list().entries(names).finish()
    }
}
