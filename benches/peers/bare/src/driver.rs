//! The task of one connection on the client: it writes the frames of callers, and wakes callers.

use std::{
    convert::Infallible,
    future::poll_fn,
    mem,
    task::{Context, Poll, Waker},
};

use anyhow::{Result, ensure};
use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    task::yield_now,
    try_join,
};

use crate::{
    client::{Call, Client, Shared},
    frame::{self, CallId, Frame},
};

/// Reads and writes until the connection fails; then all calls fail.
pub(crate) async fn drive(mut stream: TcpStream, client: Client) {
    let (reader, writer) = stream.split();
    // Callers only learn that the connection is over. The reason does not matter to a failed
    // measurement.
    let _ = try_join!(read(reader, &client), write(writer, &client));
    client.shared().close();
}

async fn write(mut writer: WriteHalf<'_>, client: &Client) -> Result<Infallible> {
    let mut output = BytesMut::new();
    loop {
        poll_fn(|cx| client.shared().poll_output(cx)).await;
        // Callers that are ready add their frames to the same write, which makes the rate several
        // times higher.
        yield_now().await;
        client.shared().take_output(&mut output);
        writer.write_all(&output).await?;
        output.clear();
    }
}

async fn read(mut reader: ReadHalf<'_>, client: &Client) -> Result<Infallible> {
    let mut input = BytesMut::new();
    let mut wakers = Vec::new();
    loop {
        let full = {
            let mut shared = client.shared();
            let mut full = None;
            while let Some(frame) = frame::take(&mut input)? {
                full = shared.deliver(frame, &mut wakers)?.or(full);
            }
            full
        };
        wakers.drain(..).for_each(Waker::wake);
        if let Some(stream) = full {
            poll_fn(|cx| client.shared().poll_room(stream, cx)).await;
        }
        ensure!(
            reader.read_buf(&mut input).await? > 0,
            "the server closed the connection"
        );
    }
}

impl Shared {
    fn poll_output(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.output.is_empty() {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Takes the waiting output, in exchange for `empty`.
    fn take_output(&mut self, empty: &mut BytesMut) {
        mem::swap(&mut self.output, empty);
        self.senders.drain(..).for_each(Waker::wake);
    }

    /// Passes a frame to its call. Returns the call if it is a stream with too many unread items.
    fn deliver(&mut self, frame: Frame, wakers: &mut Vec<Waker>) -> Result<Option<CallId>> {
        let call = self.calls.get_mut(frame.id.0 as usize);
        let mut full = None;
        let waker = match call {
            Some(Call::Streaming(items, waker)) => {
                items.push_back(frame.body);
                full = (items.len() >= MAX_ITEMS).then_some(frame.id);
                waker.take()
            }
            Some(call @ Call::Waiting(_)) => match mem::replace(call, Call::Replied(frame.body)) {
                Call::Waiting(waker) => waker,
                _ => None,
            },
            Some(Call::Replied(_)) | None => anyhow::bail!("{:?} is not waiting", frame.id),
        };
        wakers.extend(waker);
        Ok(full)
    }

    /// Waits until the items of `stream` were taken.
    fn poll_room(&mut self, stream: CallId, cx: &Context<'_>) -> Poll<()> {
        match self.calls.get(stream.0 as usize) {
            Some(Call::Streaming(items, _)) if items.len() >= MAX_ITEMS => {
                self.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.senders.drain(..).for_each(Waker::wake);
        for (_, call) in &mut self.calls {
            if let Call::Waiting(waker) | Call::Streaming(_, waker) = call
                && let Some(waker) = waker.take()
            {
                waker.wake();
            }
        }
    }
}

/// A stream with this many unread items holds up its connection, since there is no credit.
const MAX_ITEMS: usize = 4096;
