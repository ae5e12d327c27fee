//! A transport inside of TLS.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use crate::transport::{
    TransportWithFacts,
    tls::{
        explain::{explain_client_error, explain_server_error},
        socket::TlsSocket,
    },
};

/// The transport inside of a stream whose handshake is through. Its facts are those of the transport below,
/// and the verified certificates of the other end.
pub(crate) fn into_transport(stream: impl Into<TlsStream<TlsSocket>>) -> TransportWithFacts {
    let mut stream = stream.into();
    let (socket, state) = stream.get_mut();
    socket.end_handshake();
    let chain = state.peer_certificates().unwrap_or_default();
    let chain = chain.iter().map(|der| Bytes::copy_from_slice(der));
    let facts = socket.facts().with_certificates(chain.collect());
    TransportWithFacts::new(Inside { stream }, facts)
}

/// A stream with errors that say what is wrong with the certificates of either end: in TLS 1.3 a server that
/// wants another certificate says so only when this side reads.
struct Inside {
    stream: TlsStream<TlsSocket>,
}

impl Inside {
    fn explained(&self, error: io::Error) -> io::Error {
        match &self.stream {
            TlsStream::Client(_) => explain_client_error(error),
            TlsStream::Server(_) => explain_server_error(error),
        }
    }

    fn explain<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        polled.map_err(|error| self.explained(error))
    }
}

impl AsyncRead for Inside {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.explain(polled)
    }
}

impl AsyncWrite for Inside {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.explain(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.explain(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.explain(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.explain(polled)
    }
}
