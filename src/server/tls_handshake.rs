//! The handshake of TLS of a socket that a server has accepted: the part before wawo's own handshake, or before
//! another protocol is recognised.
//!
//! ```text
//!                first byte is 0x16
//!  accepted ──► Begin ──────────────► Handshake ─────────────► Through: the plain bytes inside
//!                │ │                   │   │ └─ alert sent ──► Failed: why
//!                │ └─ another byte ─────┼───┼────────────────► Plain: told to speak TLS
//!                └── no time left, the end ┴─────────────────► Failed
//!                └── silent when it was asked, to make room, to drain ► Asked(..)
//! ```
//!
//! It is bounded in bytes (32 KiB of the other side, of which the library holds at most a handshake message), in
//! time (the `handshake_timeout`, from accept on, together with what follows) and in number (`max_handshakes`).

use std::{
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Sleep, sleep_until},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server};

use crate::{
    clock,
    peer::NewTransport,
    server::handshake_request::{Ask, HandshakeRequest, Progress},
    transport::{
        Transport, begins_tls,
        tls::{ReadCount, TlsSocket, explain_server_error},
    },
};

/// How many bytes the read of the first byte takes, at most.
const READ_BYTES: usize = 1024;

/// How long a handshake that has begun may go on when the server drains, so that the other side can be told
/// inside of TLS that it is to connect elsewhere.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// The end of a handshake of TLS.
pub(crate) enum TlsEnd {
    Through(Box<server::TlsStream<TlsSocket>>),
    /// It begins with other bytes.
    Plain(NewTransport),
    /// The other side broke the rules of TLS, or has gone. An alert was sent if it is there.
    Failed(io::Error, Option<Box<dyn Transport>>),
    TimedOut,
}

/// The handshake of TLS of one socket.
pub(crate) struct TlsHandshake {
    state: HandshakeState,
    config: Arc<ServerConfig>,
    request: Arc<HandshakeRequest>,
    until: Instant,
    /// The timer, once the socket has to wait.
    timer: Option<Pin<Box<Sleep>>>,
    count: ReadCount,
    /// The number of bytes that had come when the server last asked.
    count_before: usize,
    /// Whether the server drains, and has left it a short time.
    is_draining: bool,
}

enum HandshakeState {
    Begin(Box<dyn Transport>),
    Handshake(Box<server::FallibleAccept<TlsSocket>>),
    Over,
}

impl TlsHandshake {
    pub(crate) fn new(
        transport: Box<dyn Transport>,
        config: Arc<ServerConfig>,
        request: Arc<HandshakeRequest>,
        until: Instant,
    ) -> Self {
        Self {
            state: HandshakeState::Begin(transport),
            config,
            request,
            until,
            timer: None,
            count: ReadCount::default(),
            count_before: 0,
            is_draining: false,
        }
    }

    /// The transport, if nothing has come over it yet.
    pub(crate) fn into_silent(self) -> Option<Box<dyn Transport>> {
        match self.state {
            HandshakeState::Begin(transport) => Some(transport),
            HandshakeState::Handshake(_) | HandshakeState::Over => None,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Progress<TlsEnd>> {
        let asked = self.request.poll(cx);
        // The bytes that wait in the transport are read before the request is answered, as this side may
        // have had no time to.
        if let Poll::Ready(end) = self.advance(cx) {
            // The next part of the handshake answers the request.
            let drain = self.is_draining.then_some(Ask::Drain);
            asked
                .max(drain)
                .into_iter()
                .for_each(|ask| self.request.ask(ask));
            return Poll::Ready(Progress::Done(end));
        }
        match asked {
            Some(Ask::CloseIfSilent) if self.has_received() => Poll::Ready(Progress::HasSpoken),
            Some(Ask::Drain) if self.count.get() > 0 => {
                self.hasten();
                self.poll(cx)
            }
            Some(ask) => Poll::Ready(Progress::Asked(ask)),
            None => Poll::Pending,
        }
    }

    /// Whether bytes have come since the last call of this.
    fn has_received(&mut self) -> bool {
        let count = self.count.get();
        mem::replace(&mut self.count_before, count) < count
    }

    /// Goes on as far as bytes are there.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<TlsEnd> {
        if let Poll::Ready(end) = self.poll_state(cx) {
            self.state = HandshakeState::Over;
            return Poll::Ready(end);
        }
        let until = self.until;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(until.into())));
        timer.as_mut().poll(cx).map(|()| TlsEnd::TimedOut)
    }

    fn poll_state(&mut self, cx: &mut Context<'_>) -> Poll<TlsEnd> {
        if let HandshakeState::Begin(transport) = &mut self.state {
            let start = ready!(read(transport, cx));
            let start = match start {
                Ok(start) => start,
                Err(error) => return Poll::Ready(TlsEnd::Failed(error, None)),
            };
            let HandshakeState::Begin(transport) =
                mem::replace(&mut self.state, HandshakeState::Over)
            else {
                unreachable!("it was matched above");
            };
            if !begins_tls(&start) {
                return Poll::Ready(TlsEnd::Plain(NewTransport {
                    transport,
                    start,
                    has_received: true,
                }));
            }
            let socket = TlsSocket::new(transport, start);
            self.count = socket.read_count();
            let accept = TlsAcceptor::from(self.config.clone()).accept(socket);
            self.state = HandshakeState::Handshake(Box::new(accept.into_fallible()));
        }
        let HandshakeState::Handshake(accept) = &mut self.state else {
            unreachable!("it is not polled after its end");
        };
        Poll::Ready(match ready!(Pin::new(accept).poll(cx)) {
            Ok(stream) => TlsEnd::Through(Box::new(stream)),
            Err((error, socket)) => {
                let transport = Some(socket.into_transport());
                TlsEnd::Failed(explain_server_error(error), transport)
            }
        })
    }

    /// Gives the handshake a short time to come to its end, as the server drains; then the other side is told
    /// so inside of TLS.
    fn hasten(&mut self) {
        self.is_draining = true;
        self.until = self.until.min(clock::now() + DRAIN_TIME);
        self.timer = None;
    }
}

/// Reads the first bytes. The end of the transport is an error.
fn read(transport: &mut Box<dyn Transport>, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
    let mut bytes = [0; READ_BYTES];
    let mut buf = ReadBuf::new(&mut bytes);
    ready!(Pin::new(transport).poll_read(cx, &mut buf))?;
    Poll::Ready(match buf.filled() {
        [] => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it ended before the handshake of TLS",
        )),
        filled => Ok(BytesMut::from(filled)),
    })
}
