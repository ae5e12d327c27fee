//! Streams of messages, in either direction.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use wawo_protocol::{Code, Metadata, packet::BatchBuilder};

use crate::{
    body::{
        decoded::DecodedStream,
        items::{Items, PlainStream, Source},
        stream_item::StreamItem,
    },
    decoding::StreamMemory,
    expiry,
    status::{Delivery, Result, Status},
};

/// A sequence of messages that ends with a status. Handlers take and return it where the schema says
/// `stream`, and stubs return it.
///
/// Make one from any stream by [`new`](Self::new), or push items into one by [`channel`](Self::channel).
/// It ends well when the stream ends, and badly with an error, after which no item follows.
///
/// Dropping a stream of replies before its end cancels the call.
#[must_use = "a stream yields nothing unless it is polled"]
pub struct Streaming<T> {
    /// The source; `None` once it has ended. It is boxed, because a call that may have a stream is moved
    /// often.
    source: Option<Box<Source<T>>>,
    end: Option<StreamEnd>,
    /// The trailing metadata; empty until the stream has ended well.
    trailing_metadata: Metadata,
}

/// How a stream of messages ended, as [`Streaming::end`] returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is no other way to end")]
pub enum StreamEnd {
    /// All messages were read, and the other side has ended the stream.
    Completed,
    /// The other side, or this one, ended it with a status.
    Failed(Code),
    /// One side cancelled it.
    Cancelled,
    /// The connection was lost before the end: messages may be missing.
    ConnectionLost,
}

impl<T> Streaming<T> {
    /// The items of a stream: messages, or results of them.
    pub fn new(stream: impl Stream<Item: StreamItem<T>> + Send + 'static) -> Self {
        Self::of_items(PlainStream { stream })
    }

    pub(crate) fn of_items(items: impl Items<T> + 'static) -> Self {
        Self {
            source: Some(Box::new(Source {
                items: Box::pin(items),
                batch: VecDeque::new(),
            })),
            end: None,
            trailing_metadata: Metadata::new(),
        }
    }

    /// A stream without items.
    pub fn empty() -> Self {
        Self {
            source: None,
            end: Some(StreamEnd::Completed),
            trailing_metadata: Metadata::new(),
        }
    }

    /// A stream that stays open, and has no items: for requests of a call that only reads replies.
    pub fn pending() -> Self {
        Self::of_items(PendingStream)
    }

    /// A stream of one item.
    pub fn once(item: T) -> Self
    where
        T: Send + 'static,
    {
        Self::ready(Ok(item))
    }

    /// A stream of one item, or of an error only.
    pub(crate) fn ready(item: Result<T>) -> Self
    where
        T: Send + 'static,
    {
        Self::new(Once(Some(item)))
    }

    /// The next message; `None` at the end, if the stream ended well.
    ///
    /// # Errors
    ///
    /// The status with which the stream ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no message is lost when the future is dropped.
    pub async fn message(&mut self) -> Result<Option<T>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx))
            .await
            .transpose()
    }

    /// See [`Items::poll_each`].
    pub(crate) fn poll_each(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(&T) -> ControlFlow<()>,
    ) -> Poll<Option<Result<()>>> {
        let Some(source) = self.source.as_mut() else {
            return Poll::Ready(Some(Ok(())));
        };
        let items = source.items.as_mut();
        let polled = items.poll_each(cx, &mut source.batch, take);
        self.ended_with(polled)
    }

    /// See [`Items::fill_batch`]. Messages that were put into packets count as sent, whatever it resolves
    /// to.
    pub(crate) fn fill_batch(
        &mut self,
        cx: &mut Context<'_>,
        packets: &mut BatchBuilder,
    ) -> Poll<Option<Result<()>>>
    where
        T: AsRef<[u8]>,
    {
        let Some(source) = self.source.as_mut() else {
            return Poll::Ready(Some(Ok(())));
        };
        let items = source.items.as_mut();
        let polled = items.fill_batch(cx, &mut source.batch, packets);
        self.ended_with(polled)
    }

    fn ended_with(&mut self, polled: Poll<Option<Result<()>>>) -> Poll<Option<Result<()>>> {
        match &polled {
            Poll::Ready(Some(Ok(()))) => self.ended(StreamEnd::Completed),
            Poll::Ready(Some(Err(status))) => self.ended(StreamEnd::of(status)),
            Poll::Ready(None) => {}
            Poll::Pending if expiry::is_expiring() => {
                return Poll::Ready(Some(Err(self.expire())));
            }
            Poll::Pending => self.rest(),
        }
        polled
    }

    /// Ends a stream whose deadline has passed and which has nothing ready.
    #[cold]
    fn expire(&mut self) -> Status {
        self.ended(StreamEnd::Failed(Code::DeadlineExceeded));
        expiry::status()
    }

    fn ended(&mut self, end: StreamEnd) {
        self.end = Some(end);
        if let (Some(mut source), StreamEnd::Completed) = (self.source.take(), end) {
            self.trailing_metadata = source.items.as_mut().take_trailing_metadata();
        }
    }

    /// Frees the batch's buffer, as no message comes for now.
    fn rest(&mut self) {
        if let Some(source) = &mut self.source {
            source.batch = VecDeque::new();
        }
    }

    /// The next message of the source, when the last batch is empty.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let Some(source) = self.source.as_mut() else {
            return Poll::Ready(None);
        };
        let items = source.items.as_mut();
        let polled = items.poll_item(cx, &mut source.batch);
        // An error is the last item, and the source is dropped at once.
        match &polled {
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(status))) => self.ended(StreamEnd::of(status)),
            Poll::Ready(None) => self.ended(StreamEnd::Completed),
            Poll::Pending if expiry::is_expiring() => {
                return Poll::Ready(Some(Err(self.expire())));
            }
            Poll::Pending => self.rest(),
        }
        polled
    }

    /// How the stream ended; `None` while it goes on.
    pub fn end(&self) -> Option<StreamEnd> {
        self.end
    }

    /// The metadata that the other side sent at the end of a stream of replies, which its handler has set
    /// by [`Context::set_trailing_metadata`](crate::Context::set_trailing_metadata). Empty until the
    /// stream has ended well; if it fails, all metadata is in its status.
    pub fn trailing_metadata(&self) -> &Metadata {
        &self.trailing_metadata
    }

    pub(crate) fn take_trailing_metadata(&mut self) -> Metadata {
        std::mem::take(&mut self.trailing_metadata)
    }
}

impl Streaming<Bytes> {
    /// Decodes each message. `decode` gets the message, the buffer that it is a part of, and the queue to
    /// put it into. `failed` changes an error of the stream.
    pub(crate) fn decoded<R: Send + 'static>(
        self,
        decode: impl FnMut(&[u8], &Bytes, &mut VecDeque<R>) -> Result<()> + Send + 'static,
        memory: StreamMemory,
        failed: impl Fn(Status) -> Status + Send + 'static,
    ) -> Streaming<R> {
        match self.source {
            Some(encoded) => {
                Streaming::of_items(DecodedStream::new(encoded, decode, memory, failed))
            }
            None => Streaming::empty(),
        }
    }
}

impl<T> Stream for Streaming<T> {
    type Item = Result<T>;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let this = self.get_mut();
        if let Some(source) = &mut this.source
            && let Some(item) = source.batch.pop_front()
        {
            return Poll::Ready(Some(Ok(item)));
        }
        this.poll_source(cx)
    }
}

// Nothing in it is pinned: its source is in a box of its own.
impl<T> Unpin for Streaming<T> {}

impl StreamEnd {
    fn of(status: &Status) -> Self {
        match status.code() {
            Code::Cancelled => Self::Cancelled,
            Code::Unavailable if status.delivery() != Delivery::Responded => Self::ConnectionLost,
            code => Self::Failed(code),
        }
    }
}

impl<T> fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Some(_) => "Streaming",
            None => "Streaming(ended)",
        })
    }
}

/// A stream of one item.
struct Once<T>(Option<Result<T>>);

// Nothing in it is pinned.
impl<T> Unpin for Once<T> {}

impl<T> Stream for Once<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        Poll::Ready(self.0.take())
    }
}

/// A stream that never has an item.
struct PendingStream;

impl<T> Items<T> for PendingStream {
    fn poll_item(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut VecDeque<T>,
    ) -> Poll<Option<Result<T>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use wawo_protocol::Code;

    use super::{StreamEnd, Streaming};
    use crate::status::Status;

    #[tokio::test]
    async fn a_stream_ends_with_the_first_error() {
        let (sender, mut stream) = Streaming::channel(3);
        sender.send(1).await.unwrap();
        let late = sender.clone();
        sender.fail(Status::aborted("enough")).await.unwrap();
        late.send(2).await.unwrap();
        assert_eq!(stream.message().await.unwrap(), Some(1));
        assert_eq!(stream.message().await.unwrap_err().message(), "enough");
        assert_eq!(stream.message().await.unwrap(), None);
        assert_eq!(stream.end(), Some(StreamEnd::Failed(Code::Aborted)));
        assert!(late.send(3).await.is_err());
    }

    #[tokio::test]
    async fn a_channel_ends_well_when_its_sender_goes() {
        let (sender, mut stream) = Streaming::<u8>::channel(1);
        assert_eq!(stream.end(), None);
        drop(sender);
        assert_eq!(stream.message().await.unwrap(), None);
        assert_eq!(stream.end(), Some(StreamEnd::Completed));
        assert_eq!(Streaming::<u8>::empty().message().await.unwrap(), None);
    }
}
