//! A stream of messages, in or out.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use pin_project_lite::pin_project;
use tokio::{sync::mpsc, time::Instant};
use wawo_protocol::{
    Code,
    packet::{Messages, Run},
};

use crate::status::{Delivery, Result, Status};

/// A sequence of messages that ends with a status: what a handler takes and returns where the
/// schema says `stream`, and what a stub returns.
///
/// Make one of any stream by [`new`](Self::new), or push into one by [`channel`](Self::channel).
/// A stream ends well by ending, and badly by an error, after which nothing follows.
///
/// Dropping a stream of replies before its end cancels the call.
#[must_use = "a stream yields nothing unless it is polled"]
pub struct Streaming<T> {
    /// `None` once it has ended.
    inner: Option<Pin<Box<dyn Items<T>>>>,
    end: Option<StreamEnd>,
}

/// A stream of messages that can put many of them into packets at once, so that what is done around
/// them is done once.
pub(crate) trait Items<T>: Stream<Item = Result<T>> + Send {
    /// Puts the messages that are ready now into packets, until it is enough for a run. Resolves
    /// when the stream has ended, to how; to `None` when there may be more.
    fn poll_run(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        run: &mut Run,
    ) -> Poll<Option<Result<()>>>
    where
        T: AsRef<[u8]>,
    {
        let mut pace = Pace::new();
        while !pace.is_enough(run) {
            match ready!(self.as_mut().poll_next(cx)) {
                Some(Ok(item)) => run.push(|buffer| buffer.extend_from_slice(item.as_ref())),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(Some(Ok(()))),
            }
        }
        Poll::Ready(None)
    }

    /// As `poll_next`, and perhaps more messages at once.
    fn poll_piece(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Piece>>>
    where
        T: Into<Bytes>,
    {
        let one = |item: Result<T>| item.map(|item| Piece::One(item.into()));
        self.poll_next(cx).map(|item| item.map(one))
    }
}

/// Messages that came at once.
#[derive(Debug)]
pub(crate) enum Piece {
    One(Bytes),
    Many(Messages),
}

/// With packets of this length, a run is given away.
pub(crate) const RUN_BYTES: usize = 16 * 1024;

/// After so long, a run is given away whatever it has: a slow stream is heard too.
const RUN_TIME: Duration = Duration::from_millis(1);

/// The time is looked at once for so many messages.
const LOOK_AFTER: u32 = 16;

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

    /// Asked once for each message.
    pub(crate) fn is_enough(&mut self, run: &Run) -> bool {
        let looks = self.messages % LOOK_AFTER == LOOK_AFTER - 1;
        self.messages += 1;
        run.packet_bytes() >= RUN_BYTES || (looks && self.begun.elapsed() >= RUN_TIME)
    }
}

pin_project! {
    /// Any stream.
    struct Plain<S> {
        #[pin]
        stream: S,
    }
}

impl<S: Stream> Stream for Plain<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.project().stream.poll_next(cx)
    }
}

impl<T, S: Stream<Item = Result<T>> + Send> Items<T> for Plain<S> {}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is no other way to end")]
pub enum StreamEnd {
    /// All messages were read, and the other side said that these were all.
    Completed,
    /// The other side, or this one, ended it with a status.
    Failed(Code),
    /// One side no longer wanted it.
    Cancelled,
    /// The peer, or the way to it, was gone before the end: messages may be missing.
    PeerGone,
}

impl<T> Streaming<T> {
    /// The items of a stream.
    pub fn new(stream: impl Stream<Item = Result<T>> + Send + 'static) -> Self {
        Self::of_items(Plain { stream })
    }

    pub(crate) fn of_items(items: impl Items<T> + 'static) -> Self {
        Self {
            inner: Some(Box::pin(items)),
            end: None,
        }
    }

    /// A stream without items.
    pub fn empty() -> Self {
        Self {
            inner: None,
            end: Some(StreamEnd::Completed),
        }
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

    /// What to push items into, and the stream of them; at most `capacity` wait in between.
    ///
    /// The stream ends well when the sender is dropped.
    ///
    /// # Panics
    ///
    /// If `capacity` is zero.
    pub fn channel(capacity: usize) -> (Sender<T>, Self)
    where
        T: Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(capacity);
        (Sender { sender }, Self::new(Received { receiver }))
    }

    /// The next message; `None` at the end, when it ended well.
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

    /// See [`Items::poll_run`]. Messages that were put into packets count, whatever it resolves to.
    pub(crate) fn poll_run(
        &mut self,
        cx: &mut Context<'_>,
        run: &mut Run,
    ) -> Poll<Option<Result<()>>>
    where
        T: AsRef<[u8]>,
    {
        let Some(inner) = self.inner.as_mut() else {
            return Poll::Ready(Some(Ok(())));
        };
        let end = ready!(inner.as_mut().poll_run(cx, run));
        match &end {
            Some(Ok(())) => self.ended(StreamEnd::Completed),
            Some(Err(status)) => self.ended(StreamEnd::of(status)),
            None => {}
        }
        Poll::Ready(end)
    }

    fn ended(&mut self, end: StreamEnd) {
        self.inner = None;
        self.end = Some(end);
    }

    /// How the stream ended; `None` while it goes on.
    pub fn end(&self) -> Option<StreamEnd> {
        self.end
    }

    /// Each item through a function.
    pub(crate) fn map<R>(
        self,
        function: impl FnMut(Result<T>) -> Result<R> + Send + 'static,
    ) -> Streaming<R>
    where
        T: 'static,
    {
        match self.inner {
            Some(inner) => Streaming::of_items(Mapped { inner, function }),
            None => Streaming::empty(),
        }
    }
}

impl Streaming<Bytes> {
    /// Each message, decoded; `decode` gets it with what it is a part of. An error goes through
    /// `failed`.
    pub(crate) fn decoded<R>(
        self,
        decode: impl FnMut(&[u8], &Bytes) -> Result<R> + Send + 'static,
        failed: fn(Status) -> Status,
    ) -> Streaming<R> {
        match self.inner {
            Some(inner) => Streaming::of_items(Decoded {
                inner,
                taken: Messages::default(),
                decode,
                failed,
            }),
            None => Streaming::empty(),
        }
    }
}

impl<T> Stream for Streaming<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let Some(inner) = self.inner.as_mut() else {
            return Poll::Ready(None);
        };
        let item = ready!(inner.as_mut().poll_next(cx));
        // An error is the last item, and what is behind it is let go at once.
        match &item {
            Some(Ok(_)) => return Poll::Ready(item),
            Some(Err(status)) => self.ended(StreamEnd::of(status)),
            None => self.ended(StreamEnd::Completed),
        }
        Poll::Ready(item)
    }
}

impl StreamEnd {
    fn of(status: &Status) -> Self {
        match status.code() {
            Code::Cancelled => Self::Cancelled,
            Code::Unavailable if status.delivery() != Delivery::Answered => Self::PeerGone,
            code => Self::Failed(code),
        }
    }
}

impl<T> fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.inner {
            Some(_) => "Streaming",
            None => "Streaming(ended)",
        })
    }
}

/// Pushes items into a [`Streaming`]. Dropping the last clone ends the stream well.
pub struct Sender<T> {
    sender: mpsc::Sender<Result<T>>,
}

impl<T> Sender<T> {
    /// Adds an item, once there is room.
    ///
    /// # Errors
    ///
    /// `Cancelled` if nobody reads the stream any more.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the item was not added.
    pub async fn send(&self, item: T) -> Result<()> {
        self.push(Ok(item)).await
    }

    /// Ends the stream with a status.
    ///
    /// # Errors
    ///
    /// `Cancelled` if nobody reads the stream any more.
    pub async fn fail(self, status: Status) -> Result<()> {
        self.push(Err(status)).await
    }

    async fn push(&self, item: Result<T>) -> Result<()> {
        let sent = self.sender.send(item).await;
        sent.map_err(|_| Status::cancelled("nobody reads the stream any more"))
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

struct Once<T>(Option<Result<T>>);

// Nothing in it is pinned in place.
impl<T> Unpin for Once<T> {}

impl<T> Stream for Once<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        Poll::Ready(self.0.take())
    }
}

struct Received<T> {
    receiver: mpsc::Receiver<Result<T>>,
}

impl<T> Stream for Received<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        self.receiver.poll_recv(cx)
    }
}

struct Mapped<T, F> {
    inner: Pin<Box<dyn Items<T>>>,
    function: F,
}

// Nothing in it is pinned in place: the stream has a box of its own.
impl<T, F> Unpin for Mapped<T, F> {}

impl<T, R, F: FnMut(Result<T>) -> Result<R>> Stream for Mapped<T, F> {
    type Item = Result<R>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<R>>> {
        let item = ready!(self.inner.as_mut().poll_next(cx));
        Poll::Ready(item.map(|item| (self.function)(item)))
    }
}

impl<T, R, F: FnMut(Result<T>) -> Result<R> + Send> Items<R> for Mapped<T, F> {}

struct Decoded<F> {
    inner: Pin<Box<dyn Items<Bytes>>>,
    taken: Messages,
    decode: F,
    failed: fn(Status) -> Status,
}

// Nothing in it is pinned in place: the stream has a box of its own.
impl<F> Unpin for Decoded<F> {}

impl<R, F: FnMut(&[u8], &Bytes) -> Result<R>> Stream for Decoded<F> {
    type Item = Result<R>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<R>>> {
        let this = &mut *self;
        loop {
            if let Some(item) = this.taken.read_next(&mut this.decode) {
                return Poll::Ready(Some(item));
            }
            match ready!(this.inner.as_mut().poll_piece(cx)) {
                Some(Ok(Piece::Many(messages))) => this.taken = messages,
                Some(Ok(Piece::One(bytes))) => {
                    return Poll::Ready(Some((this.decode)(&bytes, &bytes)));
                }
                Some(Err(status)) => return Poll::Ready(Some(Err((this.failed)(status)))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl<R, F: FnMut(&[u8], &Bytes) -> Result<R> + Send> Items<R> for Decoded<F> {}

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
