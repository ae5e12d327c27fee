//! Finds the protocol of a new socket by its first bytes.
//!
//! ```text
//!              bytes: nobody can say yet
//!               ┌──────┐
//!               │      ▼          bytes: one says Yes
//!  accepted ──► Waiting ─────────────────────────────► Found(protocol)
//!                 │ └─── 16 KiB, the end, no time left ► Found(wawo's own), whose handshake tells why not
//!                 └───── silent when it was asked, to make room, to drain ► Asked(..)
//! ```
//!
//! It is the first part of the handshake on a server that has other protocols beside wawo's own; without
//! them, the [handshake](crate::server::handshake) begins at once. It writes nothing. It is bounded in
//! bytes ([`MAX_START_BYTES`]), in time (the `handshake_timeout`, from accept on) and in number
//! (`max_handshakes`), each together with the handshake.

use std::{
    io, mem,
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
    peer::NewTransport,
    server::{
        handshake_request::{Ask, HandshakeRequest, Progress},
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
    /// Wawo's own protocol, or an unknown one: the handshake tells the two apart, and its error says which
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

/// The first bytes of one socket.
pub(crate) struct FirstBytes {
    transport: Box<dyn Transport>,
    start: BytesMut,
    protocols: Arc<Protocols>,
    request: Arc<HandshakeRequest>,
    until: Instant,
    /// The timer, once the socket has to wait.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether bytes have come since the server last asked.
    has_received: bool,
}

impl FirstBytes {
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
    pub(crate) fn into_transport(self) -> NewTransport {
        NewTransport {
            transport: self.transport,
            start: self.start,
            has_received: self.has_received,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Progress<Found>> {
        let asked = self.request.poll(cx);
        // The bytes that wait in the transport are read before the request is answered, as this side may
        // have had no time to.
        if let Poll::Ready(found) = self.look(cx) {
            // The next part of the handshake answers the request.
            asked.into_iter().for_each(|ask| self.request.ask(ask));
            return Poll::Ready(Progress::Done(found));
        }
        match asked {
            Some(Ask::CloseIfSilent) if mem::take(&mut self.has_received) => {
                Poll::Ready(Progress::HasSpoken)
            }
            Some(ask) => Poll::Ready(Progress::Asked(ask)),
            None => Poll::Pending,
        }
    }

    /// Reads until the protocol is found, or no more bytes are there.
    fn look(&mut self, cx: &mut Context<'_>) -> Poll<Found> {
        loop {
            match self.read(cx) {
                Poll::Pending => break,
                Poll::Ready(true) => self.has_received = true,
                Poll::Ready(false) => return Poll::Ready(Found::Native),
            }
            if let Some(found) = find(&self.protocols, &self.start) {
                return Poll::Ready(found);
            }
        }
        let until = self.until;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(until.into())));
        timer.as_mut().poll(cx).map(|()| Found::Native)
    }

    /// Reads once. Returns `false` at the end of the transport, which the handshake will read again.
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
