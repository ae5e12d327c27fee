//! Serves sockets whose bytes are TLS: the handshake of TLS, and then what is inside.

use std::{convert::Infallible, io, sync::Arc};

use bytes::BytesMut;
use tokio_rustls::server::TlsStream;
use wawo_protocol::{CloseCode, ConnectionError, packet::PREFACE, time::after};

use crate::{
    peer::NewTransport,
    server::{
        handshake_request::HandshakeRequest,
        handshake_run::run,
        listeners::caught,
        new_socket::NewSocket,
        refuse, serve_socket,
        state::{AcceptTls, SocketOrigin},
        tls_handshake::{TlsEnd, TlsHandshake},
    },
    transport::{
        BoxFuture, Transport,
        tls::{NewServerSide, OfferedProtocols, Reverify, ServerTls, TlsSocket, into_transport},
    },
};

/// TLS of one server.
#[derive(Debug)]
pub(crate) struct TlsOfServer {
    tls: ServerTls,
    offered: OfferedProtocols,
}

impl TlsOfServer {
    pub(crate) fn new(tls: ServerTls, offered: OfferedProtocols) -> Self {
        Self { tls, offered }
    }
}

impl AcceptTls for TlsOfServer {
    fn watch(&self) -> BoxFuture<'_, Infallible> {
        Box::pin(self.tls.watch())
    }

    fn serve(
        &self,
        origin: SocketOrigin,
        request: Arc<HandshakeRequest>,
        socket: NewSocket,
    ) -> BoxFuture<'static, ()> {
        let side = self.tls.side(&self.offered);
        Box::pin(async move {
            let NewSocket { socket, wrap, .. } = socket;
            // Boxed, so that an open connection has no room for it.
            let shaking = Box::pin(shake_hands(side, &origin, request.clone(), socket));
            if let Some(socket) = shaking.await {
                let inside = NewSocket {
                    socket,
                    is_tls: false,
                    wrap,
                };
                serve_inside(origin, request, inside).await;
            }
        })
    }
}

/// Serves the transport inside of TLS, as if it had come without.
async fn serve_inside(origin: SocketOrigin, request: Arc<HandshakeRequest>, inside: NewSocket) {
    match caught(|| Ok(inside.wrapped())) {
        Ok(inside) => serve_socket::serve(origin, request, inside).await,
        Err(error) => origin.state.report_unserved(&origin.from, error),
    }
}

/// The transport inside of TLS; `None` if the handshake has failed and the socket is closed.
async fn shake_hands(
    side: NewServerSide,
    origin: &SocketOrigin,
    request: Arc<HandshakeRequest>,
    transport: Box<dyn Transport>,
) -> Option<Box<dyn Transport>> {
    let timeout = origin.state.config().handshake_timeout();
    let until = after(origin.since, timeout);
    let mut handshake = TlsHandshake::new(transport, side.config, request, until);
    match run(&origin.place, |cx| handshake.poll(cx)).await {
        Ok(TlsEnd::Through(stream)) => verify_resumed(&side.reverify, origin, stream),
        Ok(TlsEnd::Plain(new)) => {
            refuse_plain(origin, new);
            None
        }
        Ok(TlsEnd::Failed(error, transport)) => {
            report_failure(origin, error);
            if let Some(transport) = transport {
                // It has sent an alert, which a reset would discard.
                origin.state.refuse_with(BytesMut::new(), || transport);
            }
            None
        }
        Ok(TlsEnd::TimedOut) => {
            let text = format!("no handshake of TLS within {timeout:?} (handshake_timeout)");
            report_failure(origin, io::Error::new(io::ErrorKind::TimedOut, text));
            None
        }
        Err(ask) => {
            let (code, text) = origin.report_leave(ask, false);
            if let Some(transport) = handshake.into_silent() {
                let reason = refuse::close_packet(true, code, text);
                refuse::send_to_silent(transport, &reason).await;
            }
            None
        }
    }
}

/// The transport inside, if the certificate of a session that was resumed is still good.
fn verify_resumed(
    reverify: &Reverify,
    origin: &SocketOrigin,
    stream: Box<TlsStream<TlsSocket>>,
) -> Option<Box<dyn Transport>> {
    match reverify.check(stream.get_ref().1) {
        Ok(()) => Some(Box::new(into_transport(*stream))),
        Err(error) => {
            report_failure(origin, error);
            None
        }
    }
}

/// Tells a client that does not speak TLS that it has to. It perhaps speaks wawo's protocol.
fn refuse_plain(origin: &SocketOrigin, new: NewTransport) {
    let begin = new.start[..new.start.len().min(8)].escape_ascii();
    let text = format!("the client does not speak TLS: it begins with \"{begin}\"");
    report_failure(origin, io::Error::new(io::ErrorKind::InvalidData, text));
    if new.start.first() == PREFACE.first() {
        let reason = refuse::close_packet(false, CloseCode::SpeakTls, USE_TLS);
        origin.state.refuse_with(reason, || new.transport);
    }
}

const USE_TLS: &str = "this address speaks TLS only: connect to it by tls://";

/// Reports a handshake of TLS that has failed.
fn report_failure(origin: &SocketOrigin, error: io::Error) {
    let from = origin.from.clone();
    let error = Arc::new(error);
    let cause = error.clone();
    origin.state.tls_failures.add(move |count| {
        tracing::warn!(target: "wawo::tls", %from, count, error = %cause, "handshakes of TLS failed");
    });
    origin.report_end(ConnectionError::Lost(error));
}
