//! Sources of the messages of a stream.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use wawo_protocol::{
    Metadata,
    packet::{Batch, BatchBuilder},
};

use crate::{body::stream_item::StreamItem, status::Result};

/// A source of the messages of a `Streaming`. The work around a small message costs more than the
/// message itself, so all steps handle many messages at once if many are there.
///
/// `batch` is that of the `Streaming`: its messages come before all those that the source still holds.
pub(crate) trait Items<T>: Send {
    /// The next message, while `batch` is empty. Messages that follow it at once go into `batch`.
    fn poll_item(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<T>,
    ) -> Poll<Option<Result<T>>>;

    /// Calls `take` with each message that is ready now, until it breaks off. Resolves to the end of the
    /// stream if it has ended, or to `None` if there may be more.
    fn poll_each(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<T>,
        take: &mut dyn FnMut(&T) -> ControlFlow<()>,
    ) -> Poll<Option<Result<()>>> {
        loop {
            while let Some(item) = batch.pop_front() {
                if take(&item).is_break() {
                    return Poll::Ready(None);
                }
            }
            // `take` gets it where it is, because moving a message that was only just written is slow.
            let polled = self.as_mut().poll_item(cx, batch);
            let Poll::Ready(Some(Ok(item))) = &polled else {
                return polled.map(|end| Some(end.map_or(Ok(()), |end| end.map(drop))));
            };
            if take(item).is_break() {
                return Poll::Ready(None);
            }
        }
    }

    /// Encodes the messages that are ready now as packets, until they are enough for a batch. Resolves as
    /// [`poll_each`](Self::poll_each) does.
    fn fill_batch(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<T>,
        packets: &mut BatchBuilder,
    ) -> Poll<Option<Result<()>>>
    where
        T: AsRef<[u8]>,
    {
        let mut pace = Pace::new();
        self.poll_each(cx, batch, &mut |item| {
            packets.push(|buffer| buffer.extend_from_slice(item.as_ref()));
            pace.after_one(packets)
        })
    }

    /// Does the same as `poll_item`, and may return more messages at once. Those of a
    /// [`MessageBatch::Many`] count as read only when [`read`](Self::read) is called.
    fn poll_batch(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<T>,
    ) -> Poll<Option<Result<MessageBatch>>>
    where
        T: Into<Bytes>,
    {
        let one = |item: Result<T>| item.map(|item| MessageBatch::One(item.into()));
        self.poll_item(cx, batch).map(|item| item.map(one))
    }

    /// The metadata that came, or will be sent, at the end. Called once, when the stream has ended
    /// without an error.
    fn take_trailing_metadata(self: Pin<&mut Self>) -> Metadata {
        Metadata::new()
    }

    /// Whether messages of a [`MessageBatch::Many`] that were not read have to be dropped.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// Counts messages of a [`MessageBatch::Many`], with this many bytes, as read.
    fn read(self: Pin<&mut Self>, messages: usize, bytes: usize) {
        let _ = (messages, bytes);
    }
}

/// A source of messages, and the messages that have come.
pub(crate) struct Source<T> {
    pub(crate) items: Pin<Box<dyn Items<T>>>,
    /// Messages that came out of `items` together with the one before them. It has no buffer while it
    /// waits.
    pub(crate) batch: VecDeque<T>,
}

/// Messages that came at once.
#[derive(Debug)]
pub(crate) enum MessageBatch {
    One(Bytes),
    Many(Batch),
}

/// A batch of messages is sent when its packets have this many bytes.
pub(crate) const SEND_BATCH_BYTES: usize = 16 * 1024;

/// A batch of messages is sent after this time, however few it has, so that those of a slow stream do not
/// wait.
const SEND_BATCH_TIME: Duration = Duration::from_millis(1);

/// The clock is read after this many messages, and, within the first ones, at each power of two.
const LOOK_AFTER: u32 = 64;

/// Decides when a batch of messages is sent.
pub(crate) struct Pace {
    begun: Instant,
    messages: u32,
}

impl Pace {
    /// Begins a batch.
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            messages: 0,
        }
    }

    /// Breaks if the batch is to be sent. Called after each message.
    pub(crate) fn after_one(&mut self, packets: &BatchBuilder) -> ControlFlow<()> {
        self.messages += 1;
        let looks = self.messages.is_power_of_two() || self.messages.is_multiple_of(LOOK_AFTER);
        let is_enough = packets.packet_bytes() >= SEND_BATCH_BYTES
            || (looks && self.begun.elapsed() >= SEND_BATCH_TIME);
        match is_enough {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

pin_project! {
    /// The items of any stream of messages or results.
    pub(crate) struct PlainStream<S> {
        #[pin]
        pub(crate) stream: S,
    }
}

impl<T, S: Stream<Item: StreamItem<T>> + Send> Items<T> for PlainStream<S> {
    fn poll_item(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<T>,
    ) -> Poll<Option<Result<T>>> {
        let item = ready!(self.project().stream.poll_next(cx));
        Poll::Ready(item.map(StreamItem::into_result))
    }
}
