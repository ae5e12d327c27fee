//! Where the messages of a stream come from.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll},
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

use crate::status::Result;

/// Where the messages of a [`Streaming`] come from. What is done around a message costs more than
/// a small message, so many are handled at once wherever many are there.
///
/// `batch` is that of the [`Streaming`]: what is in it comes before all that is still inside.
pub(crate) trait Items<T>: Send {
    /// The next message, while `batch` is empty; messages that follow it at once go there.
    fn poll_item(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<T>,
    ) -> Poll<Option<Result<T>>>;

    /// Shows `take` the messages that are ready now, each once, until it breaks off. Resolves when
    /// the stream has ended, to how; to `None` when there may be more.
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
            // Looked at where it is: moving a message that was only just written is slow.
            let polled = self.as_mut().poll_item(cx, batch);
            let Poll::Ready(Some(Ok(item))) = &polled else {
                return polled.map(|end| Some(end.map_or(Ok(()), |end| end.map(drop))));
            };
            if take(item).is_break() {
                return Poll::Ready(None);
            }
        }
    }

    /// Puts the messages that are ready now into packets, until it is enough for a run. Resolves
    /// as [`poll_each`](Self::poll_each).
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

    /// As `poll_item`, and perhaps more messages at once: those of a [`MessageBatch::Many`] count as read
    /// when [`read`](Self::read) says so.
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

    /// The metadata that came, or will go, at the end. Asked once, when the stream has ended well.
    fn take_trailing_metadata(self: Pin<&mut Self>) -> Metadata {
        Metadata::new()
    }

    /// Whether what was given away in pieces, and not read, is to be let go.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// So many messages of a piece, with so many bytes, were read.
    fn read(self: Pin<&mut Self>, messages: usize, bytes: usize) {
        let _ = (messages, bytes);
    }
}

/// Where messages come from, and those that have come.
pub(crate) struct Source<T> {
    pub(crate) items: Pin<Box<dyn Items<T>>>,
    /// Messages that came out of `items` with the one before them. Has no buffer while it waits.
    pub(crate) batch: VecDeque<T>,
}

/// Messages that came at once.
#[derive(Debug)]
pub(crate) enum MessageBatch {
    One(Bytes),
    Many(Batch),
}

/// With packets of this length, a run is given away.
pub(crate) const SEND_BATCH_BYTES: usize = 16 * 1024;

/// After so long, a run is given away whatever it has: a slow stream is heard too.
const SEND_BATCH_TIME: Duration = Duration::from_millis(1);

/// The time is looked at after the first message, and then at most so many apart.
const LOOK_AFTER: u32 = 64;

/// When a run is to be given away.
pub(crate) struct Pace {
    begun: Instant,
    messages: u32,
}

impl Pace {
    /// A run begins.
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            messages: 0,
        }
    }

    /// Asked after each message.
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
    /// Any stream.
    pub(crate) struct Plain<S> {
        #[pin]
        pub(crate) stream: S,
    }
}

impl<T, S: Stream<Item = Result<T>> + Send> Items<T> for Plain<S> {
    fn poll_item(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<T>,
    ) -> Poll<Option<Result<T>>> {
        self.project().stream.poll_next(cx)
    }
}
