//! Finds the protocol of a new socket.
//!
//! ```text
//!              bytes: nobody can say yet
//!               ┌──────┐
//!               │      ▼          bytes: one says Yes
//!  accepted ──► Waiting ─────────────────────────────► Found(protocol)
//!                 │ │ └── 16 KiB, the end, no time left ► Found(wawo's own), whose driver tells why not
//!                 │ └──── silent when it was asked ──────► Asked(CloseIfSilent)
//!                 └────── to make room, or to drain ─────► Asked(..)
//! ```
//!
//! Each socket has one short task for this, bounded in bytes ([`MAX_START_BYTES`]), in time (the
//! `handshake_timeout`, from accept on) and in number (`max_handshakes`). It writes nothing. The task
//! goes on as that of the connection. A server that has no other protocols does not use this: the driver
//! of a connection reads preface and hello itself.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Sleep, sleep_until},
};
use wawo_protocol::packet::PREFACE;

use crate::{
    server::{
        handshake_request::{Ask, HandshakeRequest},
        protocol::{Protocol, Protocols, Recognition},
    },
    transport::Transport,
};

/// How many bytes of a socket are read to find its protocol, at most. There is room for a hello of wawo,
/// the first flight of TLS, or the head of an HTTP request.
pub(crate) const MAX_START_BYTES: usize = 16 * 1024;

/// How many bytes one read takes, at most; most sockets begin with fewer.
const READ_BYTES: usize = 1024;

/// The protocol of a socket, as far as its first bytes tell.
#[derive(Clone)]
pub(crate) enum Found {
    /// Wawo's own protocol, or an unknown one: the driver tells the two apart, and its error says which
    /// bytes came.
    Native,
    Other(Arc<dyn Protocol>),
}

/// Asks wawo's own protocol first, then the others in order. A protocol that needs more bytes keeps those
/// after it from being asked. Returns `None` if more bytes are needed.
fn find(protocols: &Protocols, start: &[u8]) -> Option<Found> {
    if start.is_empty() {
        return None;
    }
    if start.starts_with(&PREFACE) {
        return Some(Found::Native);
    }
    let is_over = start.len() >= MAX_START_BYTES;
    if PREFACE.starts_with(start) {
        return None;
    }
    for protocol in protocols.iter() {
        match protocol.recognise(start) {
            Recognition::Yes => return Some(Found::Other(protocol.clone())),
            Recognition::Perhaps if !is_over => return None,
            Recognition::Perhaps | Recognition::No => {}
        }
    }
    Some(Found::Native)
}

/// The handshake of one socket.
pub(crate) struct Handshake {
    transport: Box<dyn Transport>,
    start: BytesMut,
    protocols: Arc<Protocols>,
    request: Arc<HandshakeRequest>,
    until: Instant,
    /// The timer, once the handshake has to wait.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether bytes have come since the server last asked.
    has_received: bool,
}

/// The result of a poll of the handshake.
pub(crate) enum Progress {
    Found(Found),
    /// Bytes have come since the server asked before, though not enough. The handshake goes on.
    HasSpoken,
    Asked(Ask),
}

impl Handshake {
    pub(crate) fn new(
        transport: Box<dyn Transport>,
        protocols: Arc<Protocols>,
        request: Arc<HandshakeRequest>,
        until: Instant,
    ) -> Self {
        Self {
            transport,
            start: BytesMut::new(),
            protocols,
            request,
            until,
            timer: None,
            has_received: false,
        }
    }

    /// The transport, and the bytes that were read from it.
    pub(crate) fn into_parts(self) -> (Box<dyn Transport>, BytesMut) {
        (self.transport, self.start)
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Progress> {
        let asked = self.request.poll(cx);
        loop {
            match self.read(cx) {
                Poll::Pending => break,
                Poll::Ready(true) => self.has_received = true,
                Poll::Ready(false) => return Poll::Ready(Progress::Found(Found::Native)),
            }
            if let Some(found) = find(&self.protocols, &self.start) {
                return Poll::Ready(Progress::Found(found));
            }
        }
        match asked {
            // The bytes that wait in the transport were read before this check, as this side may have had
            // no time to.
            Some(Ask::CloseIfSilent) if std::mem::take(&mut self.has_received) => {
                return Poll::Ready(Progress::HasSpoken);
            }
            Some(ask) => return Poll::Ready(Progress::Asked(ask)),
            None => {}
        }
        let until = self.until;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(until.into())));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Progress::Found(Found::Native))
    }

    /// Reads once. Returns `false` at the end of the transport, which the driver will read again.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut bytes = [0; READ_BYTES];
        let room = READ_BYTES.min(MAX_START_BYTES - self.start.len());
        let mut buf = ReadBuf::new(&mut bytes[..room]);
        let read: io::Result<()> = ready!(Pin::new(&mut self.transport).poll_read(cx, &mut buf));
        self.start.extend_from_slice(buf.filled());
        Poll::Ready(read.is_ok() && !buf.filled().is_empty())
    }
}

#[cfg(test)]
mod tests;
