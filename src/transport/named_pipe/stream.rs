//! The client's end of a named pipe.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::windows::named_pipe::NamedPipeClient,
};

/// The client's end of a named pipe.
///
/// A client is connected before the server accepts it. If the server drains in between, the pipe ends
/// before any byte came. This is reported as a reset, as sockets do, so that the client connects again.
#[derive(Debug)]
pub(super) struct PipeStream {
    pipe: NamedPipeClient,
    /// Whether a byte has come from the server.
    is_accepted: bool,
}

impl PipeStream {
    pub(super) fn new(pipe: NamedPipeClient) -> Self {
        Self {
            pipe,
            is_accepted: false,
        }
    }

    /// The result of a write.
    fn written(&self, result: io::Result<usize>) -> io::Result<usize> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && !self.is_accepted => {
                Err(not_accepted())
            }
            result => result,
        }
    }
}

impl AsyncRead for PipeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.pipe).poll_read(cx, buffer))?;
        let has_ended = buffer.filled().len() == before && buffer.remaining() > 0;
        if has_ended && !self.is_accepted {
            return Poll::Ready(Err(not_accepted()));
        }
        self.is_accepted = true;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PipeStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.pipe).poll_write(cx, bytes));
        Poll::Ready(self.written(result))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.pipe).poll_write_vectored(cx, slices));
        Poll::Ready(self.written(result))
    }

    fn is_write_vectored(&self) -> bool {
        self.pipe.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

fn not_accepted() -> io::Error {
    let text = "the server closed the pipe before it accepted the connection";
    io::Error::new(io::ErrorKind::ConnectionReset, text)
}
