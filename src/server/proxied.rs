//! The first part of the handshake of a socket that comes through a proxy: the header that names the client.
//!
//! ```text
//!                      bytes: not whole yet
//!                           ┌──────┐
//!                           │      ▼     whole
//!  from a trusted proxy ──► Waiting ──────────────► counted for the client's host ──► the protocol
//!                             │                       └── too many connections ─────► refused
//!                             ├─ fault, end, no time ─► closed, without a word
//!                             └─ asked to leave ──────► closed, with the reason
//! ```
//!
//! It comes before TLS and before the protocol is found, and writes nothing. It is bounded in bytes (4 KiB),
//! in time (the `handshake_timeout`, from accept on) and in number (`max_handshakes`), the last two together
//! with the rest of the handshake. It reads no byte behind the header.
//!
//! The place of the socket counts for no host before the header has come. Then it counts for the host of the
//! client. A connection of the proxy itself, such as a health check, goes on with the proxy's address and
//! counts for no host.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    time::timeout_at,
};
use wawo_protocol::{CloseCode, time::after};

use crate::{
    peer::PeerEvent,
    server::{
        handshake_request::{Ask, HandshakeRequest, Progress},
        handshake_run::run,
        listeners::caught,
        new_socket::NewSocket,
        refuse, serve_socket,
        state::{ServerState, SocketOrigin},
    },
    transport::{
        Address, ProxyHeaderError, Transport,
        proxy_header::{HeaderProgress, ProxyHeader, read},
    },
};

/// Reads the header of a socket, and serves the socket until its end.
pub(crate) async fn serve(
    mut origin: SocketOrigin,
    request: Arc<HandshakeRequest>,
    mut socket: NewSocket,
) {
    // Boxed, so that the task has no room for it once the header is there.
    let reading = Box::pin(read_header(&origin, &request, &mut socket.socket));
    match reading.await {
        Ok(Ok(header)) => {
            if let Some(client) = header.client {
                origin.from = client.into();
            }
            serve_client(origin, request, socket).await;
        }
        Ok(Err(error)) => origin.state.report_proxy_header(&origin.from, error),
        // Its client may wait behind the proxy, so it gets the reason.
        Err(ask) => origin.send_away(ask, Some(socket)),
    }
}

/// # Errors
///
/// If the socket has to leave, because the server asked it to. The inner error is that of the header.
async fn read_header(
    origin: &SocketOrigin,
    request: &HandshakeRequest,
    transport: &mut Box<dyn Transport>,
) -> Result<Result<ProxyHeader, ProxyHeaderError>, Ask> {
    let timeout = origin.state.config().handshake_timeout();
    let until = after(origin.since, timeout);
    let mut reader = HeaderReader::new(transport, request);
    let reading = run(&origin.place, |cx| reader.poll(cx));
    match timeout_at(until.into(), reading).await {
        Ok(header) => header,
        Err(_) => Ok(Err(ProxyHeaderError::Elapsed { timeout })),
    }
}

/// Serves a socket whose client is known, if the limits of the client's host allow it.
async fn serve_client(origin: SocketOrigin, request: Arc<HandshakeRequest>, socket: NewSocket) {
    let (state, from) = (&origin.state, &origin.from);
    if let Err(limit) = origin.place.set_host(state.trusted.host_of(from)) {
        let text = refuse::text(limit, &state.registry.limits());
        state.report_refusal(from, limit);
        return state.refuse_socket(socket, CloseCode::LimitExceeded, &text);
    }
    match caught(|| Ok(socket.wrapped())) {
        // As if it had come without a header. Boxed, so that the task has no room for it while it waits for
        // the header.
        Ok(socket) => serve_socket::serve(origin, request, socket).await,
        Err(error) => state.report_unserved(from, error),
    }
}

impl ServerState {
    /// Whether a connection from this address has to begin with a header.
    pub(super) fn is_proxied(&self, from: &Address) -> bool {
        self.proxy_protocol && self.trusted.are_at(from)
    }

    /// Reports that a socket is closed because its header is wrong. The log is limited, and silent about
    /// sockets without a byte: proxies open these to see whether the server listens.
    fn report_proxy_header(&self, from: &Address, error: ProxyHeaderError) {
        let event = || PeerEvent::ProxyHeaderFailed(from.clone(), error.clone());
        self.event_sender.send(event);
        if let ProxyHeaderError::Ended { bytes: 0 } | ProxyHeaderError::Lost { bytes: 0, .. } =
            error
        {
            return tracing::debug!(target: "wawo::server", %from, %error, "a proxy closed a connection");
        }
        let from = from.clone();
        self.wrong_headers.add(move |count| {
            tracing::warn!(target: "wawo::server", %from, count, %error, "connections of proxies were closed (proxy_protocol)");
        });
    }
}

/// How many bytes one read takes, at most. Headers without values behind the addresses are shorter.
const READ_BYTES: usize = 256;

/// Reads the header of one socket.
struct HeaderReader<'a> {
    transport: &'a mut Box<dyn Transport>,
    request: &'a HandshakeRequest,
    start: Vec<u8>,
    /// Whether bytes have come since the server last asked.
    has_received: bool,
    /// The outcome, if the server has to learn first that bytes have come.
    outcome: Option<Result<ProxyHeader, ProxyHeaderError>>,
}

impl<'a> HeaderReader<'a> {
    fn new(transport: &'a mut Box<dyn Transport>, request: &'a HandshakeRequest) -> Self {
        Self {
            transport,
            request,
            start: Vec::new(),
            has_received: false,
            outcome: None,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Progress<Result<ProxyHeader, ProxyHeaderError>>> {
        let asked = self.request.poll(cx);
        // The bytes that wait in the transport are read before the request is answered, as this side may
        // have had no time to.
        let outcome = match self.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => self.look(cx),
        };
        let has_spoken = asked == Some(Ask::CloseIfSilent) && mem::take(&mut self.has_received);
        match (outcome, asked) {
            (outcome, _) if has_spoken => {
                if let Poll::Ready(outcome) = outcome {
                    self.outcome = Some(outcome);
                }
                Poll::Ready(Progress::HasSpoken)
            }
            (Poll::Ready(outcome), asked) => {
                // The next part of the handshake answers the request.
                asked.into_iter().for_each(|ask| self.request.ask(ask));
                Poll::Ready(Progress::Done(outcome))
            }
            (Poll::Pending, Some(ask)) => Poll::Ready(Progress::Asked(ask)),
            (Poll::Pending, None) => Poll::Pending,
        }
    }

    /// Reads until the header is whole, or no more bytes are there.
    fn look(&mut self, cx: &mut Context<'_>) -> Poll<Result<ProxyHeader, ProxyHeaderError>> {
        loop {
            match read(&self.start) {
                Ok(HeaderProgress::Needs(more)) => ready!(self.read(more, cx))?,
                Ok(HeaderProgress::Whole(header)) => return Poll::Ready(Ok(header)),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Reads once, at most `most` bytes.
    fn read(&mut self, most: usize, cx: &mut Context<'_>) -> Poll<Result<(), ProxyHeaderError>> {
        let mut room = [0; READ_BYTES];
        let mut buf = ReadBuf::new(&mut room[..most.min(READ_BYTES)]);
        let read = ready!(Pin::new(&mut *self.transport).poll_read(cx, &mut buf));
        let bytes = self.start.len();
        Poll::Ready(match read {
            Err(error) => Err(ProxyHeaderError::Lost {
                bytes,
                kind: error.kind(),
            }),
            Ok(()) if buf.filled().is_empty() => Err(ProxyHeaderError::Ended { bytes }),
            Ok(()) => {
                self.start.extend_from_slice(buf.filled());
                self.has_received = true;
                Ok(())
            }
        })
    }
}

#[cfg(test)]
mod tests;
