//! The place of TLS in the handshake of a socket, for the parts of a server that do not know TLS.

use std::{fmt, sync::Arc};

use crate::{
    server::{
        handshake_request::HandshakeRequest, listeners::Wrap, state::SocketOrigin,
        workers::WorkerSlot,
    },
    transport::{BoxFuture, Transport},
};

/// TLS of a server; there is none without the feature `tls`.
pub(crate) trait AcceptTls: fmt::Debug + Send + Sync {
    /// Does the handshake of TLS, wraps the transport inside, and serves it until its end.
    fn serve(
        &self,
        origin: SocketOrigin,
        request: Arc<HandshakeRequest>,
        socket: TlsSocketParts,
    ) -> BoxFuture<'static, ()>;
}

/// A socket whose bytes are TLS.
#[cfg_attr(
    not(feature = "tls"),
    allow(dead_code, reason = "nothing reads it then")
)]
pub(crate) struct TlsSocketParts {
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) wrap: Wrap,
    pub(crate) seat: Option<WorkerSlot>,
}
