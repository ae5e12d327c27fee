//! A transport whose first bytes were read already, and are read once more.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::{PeerFacts, Transport};

/// Returns the bytes of `start` first, then those of the transport. From then on, a read costs one branch more
/// than a read of the transport.
pub(crate) struct Replay {
    start: BytesMut,
    transport: Box<dyn Transport>,
}

impl Replay {
    pub(crate) fn new(start: BytesMut, transport: Box<dyn Transport>) -> Self {
        Self { start, transport }
    }

    /// The transport, without the bytes that were to be read once more.
    #[cfg(feature = "tls")]
    pub(super) fn into_transport(self) -> Box<dyn Transport> {
        self.transport
    }

    /// The facts of the transport.
    pub(crate) fn facts(&self) -> PeerFacts {
        self.transport.facts()
    }
}

impl AsyncRead for Replay {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.start.is_empty() {
            return Pin::new(&mut self.transport).poll_read(cx, buf);
        }
        let length = self.start.len().min(buf.remaining());
        buf.put_slice(&self.start[..length]);
        self.start.advance(length);
        if self.start.is_empty() {
            // Its memory is freed now, not at the end of the connection.
            self.start = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replay {
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
        segments: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, segments)
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

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::Replay;

    #[tokio::test]
    async fn the_first_bytes_are_read_once_more_and_then_those_behind_them() {
        let (mut here, there) = duplex(64);
        here.write_all(b" world").await.unwrap();
        let mut replay = Replay::new(BytesMut::from(&b"hello"[..]), Box::new(there));
        let mut bytes = [0; 3];
        replay.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hel");
        replay.write_all(b"back").await.unwrap();
        let mut back = [0; 4];
        here.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"back");
        drop(here);
        let mut rest = Vec::new();
        replay.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"lo world");
    }
}
