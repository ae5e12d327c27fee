//! A stream whose messages are counted as they pass.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use wawo_protocol::{Metadata, packet::BatchBuilder};

use crate::{
    body::{Items, Streaming},
    status::{Result, Status},
};

/// Counts the messages of a [`CountedStream`]. It is dropped after the stream, so that the stream has let go of
/// all it had when a counter learns that nobody reads on.
pub(crate) trait MessageCounter: Send + 'static {
    /// These messages, with this many bytes, were passed on.
    fn count(&mut self, messages: usize, bytes: usize);

    /// The stream has ended; `status` is `None` if all its messages were passed on. A stream that is polled
    /// after its end calls it again.
    fn end(&mut self, status: Option<&Status>) {
        let _ = status;
    }
}

/// A stream whose messages are counted as they pass.
pub(crate) struct CountedStream<C> {
    // The first field: see `MessageCounter`.
    messages: Streaming<Bytes>,
    counter: C,
}

// Nothing in it is pinned: the stream is in a box of its own.
impl<C> Unpin for CountedStream<C> {}

impl<C: MessageCounter> CountedStream<C> {
    /// The stream with a counter.
    pub(crate) fn streaming(messages: Streaming<Bytes>, counter: C) -> Streaming<Bytes> {
        Streaming::of_items(Self { messages, counter })
    }
}

impl<C: MessageCounter> Items<Bytes> for CountedStream<C> {
    fn poll_item(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<Bytes>,
    ) -> Poll<Option<Result<Bytes>>> {
        let polled = Pin::new(&mut self.messages).poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(message))) => self.counter.count(1, message.len()),
            Poll::Ready(Some(Err(status))) => self.counter.end(Some(status)),
            Poll::Ready(None) => self.counter.end(None),
            Poll::Pending => {}
        }
        polled
    }

    fn fill_batch(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<Bytes>,
        packets: &mut BatchBuilder,
    ) -> Poll<Option<Result<()>>> {
        let (messages, bytes) = (packets.messages(), packets.message_bytes());
        let polled = self.messages.fill_batch(cx, packets);
        let passed = packets.messages() - messages;
        if passed > 0 {
            self.counter.count(passed, packets.message_bytes() - bytes);
        }
        match &polled {
            Poll::Ready(Some(Ok(()))) => self.counter.end(None),
            Poll::Ready(Some(Err(status))) => self.counter.end(Some(status)),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn take_trailing_metadata(mut self: Pin<&mut Self>) -> Metadata {
        self.messages.take_trailing_metadata()
    }
}
