//! The socket below TLS: it limits the bytes of the handshake, and keeps the first ones.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::{PeerFacts, Replay, Transport};

/// How many bytes the other side may send until the handshake of TLS is through. A hello has some 2 KiB, a
/// chain of certificates some 1 to 2 KiB for each.
const MAX_HANDSHAKE_BYTES: usize = 32 * 1024;

/// How many of the first bytes are kept for errors: an alert of TLS, and behind it the close packet of a wawo
/// server that speaks no TLS.
const KEPT_BYTES: usize = 512;

/// The number of bytes that a socket has read during its handshake. Shared, as the TLS library owns the
/// socket meanwhile.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadCount(Arc<AtomicUsize>);

impl ReadCount {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The transport below TLS, whose first bytes may have been read before TLS began.
pub(crate) struct TlsSocket {
    transport: Replay,
    /// `None` once the handshake is through.
    handshake: Option<Box<HandshakeBytes>>,
}

/// The bytes that were read during the handshake.
#[derive(Default)]
struct HandshakeBytes {
    count: ReadCount,
    first: BytesMut,
}

impl TlsSocket {
    pub(crate) fn new(transport: Box<dyn Transport>, start: BytesMut) -> Self {
        Self {
            transport: Replay::new(start, transport),
            handshake: Some(Box::default()),
        }
    }

    /// The number of bytes that the handshake has read.
    pub(crate) fn read_count(&self) -> ReadCount {
        let handshake = self.handshake.as_ref();
        handshake
            .map(|bytes| bytes.count.clone())
            .unwrap_or_default()
    }

    /// The first bytes of the handshake.
    pub(super) fn first_bytes(&self) -> &[u8] {
        self.handshake.as_ref().map_or(&[], |bytes| &bytes.first)
    }

    /// Ends the limit of the handshake.
    pub(super) fn end_handshake(&mut self) {
        self.handshake = None;
    }

    pub(crate) fn into_transport(self) -> Box<dyn Transport> {
        self.transport.into_transport()
    }

    pub(super) fn facts(&self) -> PeerFacts {
        self.transport.facts()
    }

    /// How many bytes a read may take.
    fn room(&self) -> io::Result<usize> {
        let Some(handshake) = &self.handshake else {
            return Ok(usize::MAX);
        };
        match MAX_HANDSHAKE_BYTES.saturating_sub(handshake.count.get()) {
            0 => {
                let text = "its handshake of TLS has more than 32 KiB";
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
            room => Ok(room),
        }
    }
}

impl HandshakeBytes {
    fn add(&mut self, bytes: &[u8]) {
        self.count.0.fetch_add(bytes.len(), Ordering::Relaxed);
        let kept = bytes.len().min(KEPT_BYTES - self.first.len());
        self.first.extend_from_slice(&bytes[..kept]);
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.handshake.is_none() {
            return Pin::new(&mut self.transport).poll_read(cx, buf);
        }
        let room = self.room()?.min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(Pin::new(&mut self.transport).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        if let Some(handshake) = &mut self.handshake {
            handshake.add(part.filled());
        }
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
