//! A stream of messages, in or out.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    ops::ControlFlow,
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
    /// `None` once it has ended. In a box, since a call that may have a stream is moved often.
    source: Option<Box<Source<T>>>,
    end: Option<StreamEnd>,
}

struct Source<T> {
    items: Pin<Box<dyn Items<T>>>,
    /// Messages that came out of `items` with the one before them. Has no buffer while it waits.
    batch: VecDeque<T>,
}

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
        while let Some(item) = batch.pop_front() {
            if take(&item).is_break() {
                return Poll::Ready(None);
            }
        }
        loop {
            // Looked at where it is: moving a message that was only just written is slow.
            let polled = self.as_mut().poll_item(cx, batch);
            match &polled {
                Poll::Ready(Some(Ok(item))) => {
                    if take(item).is_break() {
                        return Poll::Ready(None);
                    }
                }
                _ => return polled.map(|end| Some(end.map_or(Ok(()), |end| end.map(drop)))),
            }
        }
    }

    /// Puts the messages that are ready now into packets, until it is enough for a run. Resolves
    /// as [`poll_each`](Self::poll_each).
    fn poll_run(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<T>,
        run: &mut Run,
    ) -> Poll<Option<Result<()>>>
    where
        T: AsRef<[u8]>,
    {
        let mut pace = Pace::new();
        self.poll_each(cx, batch, &mut |item| {
            run.push(|buffer| buffer.extend_from_slice(item.as_ref()));
            pace.after_one(run)
        })
    }

    /// As `poll_item`, and perhaps more messages at once: those of a [`Piece::Many`] count as read
    /// when [`read`](Self::read) says so.
    fn poll_piece(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<T>,
    ) -> Poll<Option<Result<Piece>>>
    where
        T: Into<Bytes>,
    {
        let one = |item: Result<T>| item.map(|item| Piece::One(item.into()));
        self.poll_item(cx, batch).map(|item| item.map(one))
    }

    /// So many messages of a piece, with so many bytes, were read.
    fn read(self: Pin<&mut Self>, messages: usize, bytes: usize) {
        let _ = (messages, bytes);
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
    pub(crate) fn after_one(&mut self, run: &Run) -> ControlFlow<()> {
        self.messages += 1;
        let looks = self.messages.is_power_of_two() || self.messages.is_multiple_of(LOOK_AFTER);
        let is_enough =
            run.packet_bytes() >= RUN_BYTES || (looks && self.begun.elapsed() >= RUN_TIME);
        match is_enough {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

pin_project! {
    /// Any stream.
    struct Plain<S> {
        #[pin]
        stream: S,
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
            source: Some(Box::new(Source {
                items: Box::pin(items),
                batch: VecDeque::new(),
            })),
            end: None,
        }
    }

    /// A stream without items.
    pub fn empty() -> Self {
        Self {
            source: None,
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

    /// See [`Items::poll_run`]. Messages that were put into packets count, whatever it resolves to.
    pub(crate) fn poll_run(
        &mut self,
        cx: &mut Context<'_>,
        run: &mut Run,
    ) -> Poll<Option<Result<()>>>
    where
        T: AsRef<[u8]>,
    {
        let Some(source) = self.source.as_mut() else {
            return Poll::Ready(Some(Ok(())));
        };
        let items = source.items.as_mut();
        let polled = items.poll_run(cx, &mut source.batch, run);
        self.ended_with(polled)
    }

    fn ended_with(&mut self, polled: Poll<Option<Result<()>>>) -> Poll<Option<Result<()>>> {
        match &polled {
            Poll::Ready(Some(Ok(()))) => self.ended(StreamEnd::Completed),
            Poll::Ready(Some(Err(status))) => self.ended(StreamEnd::of(status)),
            Poll::Ready(None) => {}
            Poll::Pending => self.rest(),
        }
        polled
    }

    fn ended(&mut self, end: StreamEnd) {
        self.source = None;
        self.end = Some(end);
    }

    /// Nothing comes for now.
    fn rest(&mut self) {
        if let Some(source) = &mut self.source {
            source.batch = VecDeque::new();
        }
    }

    /// The next message, when none is left of the last batch.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let Some(source) = self.source.as_mut() else {
            return Poll::Ready(None);
        };
        let items = source.items.as_mut();
        let polled = items.poll_item(cx, &mut source.batch);
        // An error is the last item, and what is behind it is let go at once.
        match &polled {
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(status))) => self.ended(StreamEnd::of(status)),
            Poll::Ready(None) => self.ended(StreamEnd::Completed),
            Poll::Pending => self.rest(),
        }
        polled
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
        T: Send + 'static,
    {
        Streaming::of_items(Mapped {
            stream: self,
            function,
        })
    }
}

impl Streaming<Bytes> {
    /// Each message, decoded; `decode` gets it with what it is a part of, and where to put it. An
    /// error of the stream goes through `failed`.
    pub(crate) fn decoded<R: Send + 'static>(
        self,
        decode: impl FnMut(&[u8], &Bytes, &mut VecDeque<R>) -> Result<()> + Send + 'static,
        failed: fn(Status) -> Status,
    ) -> Streaming<R> {
        match self.source {
            Some(encoded) => Streaming::of_items(Decoded {
                encoded,
                taken: Messages::default(),
                undecodable: None,
                decode,
                failed,
            }),
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

// Nothing in it is pinned in place: what it is made of has a box of its own.
impl<T> Unpin for Streaming<T> {}

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
        f.write_str(match self.source {
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
    stream: Streaming<T>,
    function: F,
}

// Nothing in it is pinned in place: the stream has a box of its own.
impl<T, F> Unpin for Mapped<T, F> {}

impl<T: Send, R, F: FnMut(Result<T>) -> Result<R> + Send> Items<R> for Mapped<T, F> {
    fn poll_item(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<R>,
    ) -> Poll<Option<Result<R>>> {
        let item = ready!(Pin::new(&mut self.stream).poll_next(cx));
        Poll::Ready(item.map(|item| (self.function)(item)))
    }
}

struct Decoded<F> {
    encoded: Box<Source<Bytes>>,
    taken: Messages,
    /// Why the message behind the last batch cannot be decoded.
    undecodable: Option<Status>,
    decode: F,
    failed: fn(Status) -> Status,
}

/// At most so many messages are decoded before they are asked for,
const BATCH_MESSAGES: usize = 32;

/// and not many more bytes.
const BATCH_BYTES: usize = 4 * 1024;

// Nothing in it is pinned in place: the stream has a box of its own.
impl<F> Unpin for Decoded<F> {}

impl<F> Decoded<F> {
    /// Decodes a few of the messages that were taken, up to the first that cannot be.
    fn decode_few<R>(&mut self, batch: &mut VecDeque<R>)
    where
        F: FnMut(&[u8], &Bytes, &mut VecDeque<R>) -> Result<()>,
    {
        let (messages, bytes) = (self.taken.len(), self.taken.message_bytes());
        let decode = &mut self.decode;
        batch.reserve(messages.min(BATCH_MESSAGES));
        while batch.len() < BATCH_MESSAGES && bytes - self.taken.message_bytes() < BATCH_BYTES {
            let taken = &mut self.taken;
            match taken.read_next(|bytes, whole| decode(bytes, whole, batch)) {
                Some(Ok(())) => {}
                Some(Err(status)) => {
                    self.undecodable = Some(status);
                    break;
                }
                None => break,
            }
        }
        let messages = messages - self.taken.len();
        let bytes = bytes - self.taken.message_bytes();
        if messages > 0 {
            self.encoded.items.as_mut().read(messages, bytes);
        }
    }
}

impl<R, F> Items<R> for Decoded<F>
where
    F: FnMut(&[u8], &Bytes, &mut VecDeque<R>) -> Result<()> + Send,
{
    fn poll_item(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<R>,
    ) -> Poll<Option<Result<R>>> {
        let this = &mut *self;
        loop {
            if let Some(item) = batch.pop_front() {
                return Poll::Ready(Some(Ok(item)));
            }
            if let Some(status) = this.undecodable.take() {
                return Poll::Ready(Some(Err(status)));
            }
            if this.taken.len() > 0 {
                this.decode_few(batch);
                continue;
            }
            let encoded = &mut *this.encoded;
            let items = encoded.items.as_mut();
            match ready!(items.poll_piece(cx, &mut encoded.batch)) {
                Some(Ok(Piece::Many(messages))) => this.taken = messages,
                Some(Ok(Piece::One(bytes))) => {
                    this.undecodable = (this.decode)(&bytes, &bytes, batch).err();
                }
                Some(Err(status)) => return Poll::Ready(Some(Err((this.failed)(status)))),
                None => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        pin::Pin,
        sync::{Arc, Mutex},
        task::{Context, Poll},
    };

    use bytes::Bytes;
    use wawo_protocol::{
        CallId, Code, Side,
        packet::{Messages, Run},
    };

    use super::{BATCH_MESSAGES, Items, Piece, StreamEnd, Streaming};
    use crate::status::{Result, Status};

    /// One piece of many messages, and how many of them were read.
    struct OnePiece {
        piece: Option<Messages>,
        read: Arc<Mutex<(usize, usize)>>,
    }

    impl OnePiece {
        fn of(texts: &[&str]) -> (Self, Arc<Mutex<(usize, usize)>>) {
            let mut run = Run::new(CallId::new(Side::Accepting, 0));
            for text in texts {
                run.push(|buffer| buffer.extend_from_slice(text.as_bytes()));
            }
            let (piece, read) = (Some(run.take()), Arc::default());
            let one = Self {
                piece,
                read: Arc::clone(&read),
            };
            (one, read)
        }
    }

    impl Items<Bytes> for OnePiece {
        fn poll_item(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut VecDeque<Bytes>,
        ) -> Poll<Option<Result<Bytes>>> {
            panic!("pieces are asked for")
        }

        fn poll_piece(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut VecDeque<Bytes>,
        ) -> Poll<Option<Result<Piece>>> {
            Poll::Ready(self.piece.take().map(|piece| Ok(Piece::Many(piece))))
        }

        fn read(self: Pin<&mut Self>, messages: usize, bytes: usize) {
            let mut read = self.read.lock().unwrap();
            *read = (read.0 + messages, read.1 + bytes);
        }
    }

    fn number(bytes: &[u8], _: &Bytes, numbers: &mut VecDeque<u32>) -> Result<()> {
        let text = str::from_utf8(bytes).unwrap();
        let number = text.parse();
        numbers.push_back(number.map_err(|_| Status::internal("no number"))?);
        Ok(())
    }

    #[tokio::test]
    async fn what_comes_before_a_message_that_cannot_be_decoded_is_read_first() {
        let (items, _) = OnePiece::of(&["1", "2", "three", "4"]);
        let mut numbers = Streaming::of_items(items).decoded(number, |status| status);
        assert_eq!(numbers.message().await.unwrap(), Some(1));
        assert_eq!(numbers.message().await.unwrap(), Some(2));
        assert_eq!(numbers.message().await.unwrap_err().message(), "no number");
        assert_eq!(numbers.message().await.unwrap(), None);
    }

    #[tokio::test]
    async fn messages_are_decoded_and_counted_a_batch_at_a_time() {
        let texts = ["7"; 3 * BATCH_MESSAGES];
        let (items, read) = OnePiece::of(&texts);
        let mut numbers = Streaming::of_items(items).decoded(number, |status| status);
        for taken in 1..=texts.len() {
            assert_eq!(numbers.message().await.unwrap(), Some(7));
            let batches = taken.div_ceil(BATCH_MESSAGES);
            assert_eq!(read.lock().unwrap().0, batches * BATCH_MESSAGES);
        }
        assert_eq!(numbers.message().await.unwrap(), None);
        assert_eq!(*read.lock().unwrap(), (texts.len(), texts.len()));
    }

    #[tokio::test]
    async fn large_messages_are_not_decoded_before_they_are_asked_for() {
        let large = "0".repeat(super::BATCH_BYTES - 1);
        let (items, read) = OnePiece::of(&[&*large; 3]);
        let mut numbers = Streaming::of_items(items).decoded(number, |status| status);
        assert_eq!(numbers.message().await.unwrap(), Some(0));
        assert_eq!(read.lock().unwrap().0, 2);
    }

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
