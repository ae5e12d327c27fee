//! Writes the output of a connection to its transport.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use wawo_protocol::{ConnectionError, Output};

use crate::{
    clock,
    connection::{loss::lost, outgoing::Protocol},
    transport::Transport,
};

/// How many buffers one vectored write has, at most.
const MAX_SLICES: usize = 32;

/// How long a connection that is over may take to write its close packet.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How far a write has come.
pub(super) enum WriteProgress {
    /// All output has left the transport.
    All,
    /// The transport takes no more for now.
    Blocked,
}

/// Writes once. The output is not advanced.
#[inline]
pub(super) fn poll_write(
    transport: &mut Box<dyn Transport>,
    output: &Output,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let transport = Pin::new(transport);
    if output.is_contiguous() || !transport.is_write_vectored() {
        return transport.poll_write(cx, output.first());
    }
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let filled = output.slices(&mut slices);
    transport.poll_write_vectored(cx, &slices[..filled])
}

/// Flushes the transport, if it has taken bytes since its last flush: TLS, for example, keeps the tail of
/// a write back until then.
#[inline]
pub(super) fn flush(
    transport: &mut Box<dyn Transport>,
    protocol: &mut Protocol,
    needs_flush: &mut bool,
    cx: &mut Context<'_>,
) -> Result<WriteProgress, ConnectionError> {
    if !*needs_flush {
        return Ok(WriteProgress::All);
    }
    match Pin::new(transport).poll_flush(cx) {
        Poll::Pending => {
            protocol.output_blocked(clock::now());
            Ok(WriteProgress::Blocked)
        }
        Poll::Ready(Ok(())) => {
            *needs_flush = false;
            protocol.output_flushed();
            Ok(WriteProgress::All)
        }
        Poll::Ready(Err(error)) => Err(lost(error)),
    }
}

/// Writes the output of a connection that is over, and shuts the transport down, which flushes it. The
/// close packet in the output tells the other side why. If it cannot be written within a second, the
/// other side's timers end the connection there.
pub(super) async fn close(transport: &mut Box<dyn Transport>, output: &mut Output) {
    let _ = timeout(CLOSE_TIMEOUT, write_all(transport, output)).await;
}

async fn write_all(transport: &mut Box<dyn Transport>, output: &mut Output) -> io::Result<()> {
    while !output.is_empty() {
        let written = poll_fn(|cx| poll_write(transport, output, cx)).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        output.advance(written);
    }
    transport.shutdown().await
}
