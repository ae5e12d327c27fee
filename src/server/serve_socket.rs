//! Serves a socket by what may come over it: TLS, another protocol, or wawo's own.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::{
    peer::NewTransport,
    server::{
        handshake_request::HandshakeRequest, native, new_socket::NewSocket, state::SocketOrigin,
    },
    transport::BoxFuture,
};

/// The future that serves a socket until its end. Only that of wawo's own protocol is not boxed, as most
/// sockets speak it.
enum SocketFuture<N> {
    Boxed(BoxFuture<'static, ()>),
    Native(N),
}

/// Serves a socket until its end.
pub(crate) fn serve(
    origin: SocketOrigin,
    request: Arc<HandshakeRequest>,
    socket: NewSocket,
) -> BoxFuture<'static, ()> {
    match serving(origin, request, socket) {
        Some(SocketFuture::Boxed(serving)) => serving,
        Some(SocketFuture::Native(serving)) => Box::pin(serving),
        None => Box::pin(async {}),
    }
}

/// Serves a socket in a task of the current runtime; `None` if the server takes no more connections, and has
/// told it so.
pub(crate) fn spawn(
    origin: SocketOrigin,
    request: Arc<HandshakeRequest>,
    socket: NewSocket,
) -> Option<JoinHandle<()>> {
    Some(match serving(origin, request, socket)? {
        SocketFuture::Boxed(serving) => tokio::spawn(serving),
        SocketFuture::Native(serving) => tokio::spawn(serving),
    })
}

/// Serves wawo's own protocol; `None` if the server takes no more connections, and has told it so.
pub(crate) fn serve_native(
    origin: SocketOrigin,
    request: Arc<HandshakeRequest>,
    new: NewTransport,
) -> Option<impl Future<Output = ()> + Send + use<>> {
    match origin.state.connection_parts() {
        Some(parts) => Some(native::serve(origin, request, parts, new)),
        None => {
            origin.state.refuse_draining(|| new.transport);
            None
        }
    }
}

fn serving(
    origin: SocketOrigin,
    request: Arc<HandshakeRequest>,
    socket: NewSocket,
) -> Option<SocketFuture<impl Future<Output = ()> + Send + use<>>> {
    // A listener takes TLS only if the server has a certificate.
    if let Some(tls) = origin.state.tls().filter(|_| socket.is_tls).cloned() {
        return Some(SocketFuture::Boxed(tls.serve(origin, request, socket)));
    }
    let transport = socket.socket;
    if let Some(protocols) = origin.state.protocols().cloned() {
        return Some(SocketFuture::Boxed(
            protocols.serve(origin, request, transport),
        ));
    }
    serve_native(origin, request, transport.into()).map(SocketFuture::Native)
}
