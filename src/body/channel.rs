//! A stream whose messages are pushed into it by a sender.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use tokio::sync::mpsc;

use crate::{
    body::streaming::Streaming,
    status::{Result, Status},
    unwinding::is_unwinding,
};

impl<T> Streaming<T> {
    /// A sender that pushes items, and the stream of these items; at most `capacity` items wait between
    /// them. A handler returns the stream as its replies, and a caller passes it to a stub as its
    /// requests; a task, or a thread, keeps the sender.
    ///
    /// The stream ends well when the last clone of the sender is dropped, and fails with `Internal` if one
    /// of them is dropped by a panic.
    ///
    /// ```
    /// # async fn upload(chat: impl FnOnce(wawo::Streaming<String>)) -> wawo::Result<()> {
    /// let (lines, requests) = wawo::Streaming::channel(16);
    /// let call = chat(requests); // any stub that takes a stream
    /// lines.send("hello".to_owned()).await?;
    /// drop(lines); // the stream ends
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If `capacity` is zero, or above the most that tokio's channels hold, `usize::MAX >> 3`.
    pub fn channel(capacity: usize) -> (Sender<T>, Self)
    where
        T: Send + 'static,
    {
        let (sender, stream) = channel(capacity);
        (sender, Self::new(stream))
    }
}

/// A sender, and the receiving end of it.
pub(super) fn channel<T>(capacity: usize) -> (Sender<T>, ChannelStream<T>) {
    let (sender, receiver) = mpsc::channel(capacity);
    let has_panicked = Arc::new(AtomicBool::new(false));
    let stream = ChannelStream {
        receiver,
        has_panicked: has_panicked.clone(),
    };
    let sender = Sender {
        sender,
        has_panicked,
    };
    (sender, stream)
}

/// Pushes items into a [`Streaming`]. Dropping the last clone ends the stream well, except in a panic: the
/// stream then fails with `Internal`, because items may be missing.
///
/// A task that is aborted, or that returns early by `?`, drops its sender like one that has ended. Where
/// items would be missing then, send a status by [`fail`](Self::fail), or use
/// [`Streaming::produce`], whose function may fail.
pub struct Sender<T> {
    sender: mpsc::Sender<Result<T>>,
    /// Whether a panic has dropped a clone.
    has_panicked: Arc<AtomicBool>,
}

/// The reason why [`Sender::try_send`] has not added an item, with the item.
///
/// `?` makes a status of it: `ResourceExhausted` for `Full`, `Cancelled` for `Closed`.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(clippy::exhaustive_enums, reason = "there is no other reason")]
pub enum TrySendError<T> {
    /// As many items wait as the stream holds.
    #[error("the stream is full: its reader does not keep up")]
    Full(T),
    /// Nobody reads the stream any more.
    #[error("{CLOSED}")]
    Closed(T),
}

/// The text for a sender whose stream was dropped.
const CLOSED: &str = "nobody reads the stream any more";

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

    /// Adds an item if there is room now: for senders that drop items, or readers, rather than wait.
    ///
    /// # Errors
    ///
    /// Returns the item if there is no room, or if nobody reads the stream any more.
    pub fn try_send(&self, item: T) -> std::result::Result<(), TrySendError<T>> {
        let sent = self.sender.try_send(Ok(item));
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(Ok(item)) => TrySendError::Full(item),
            mpsc::error::TrySendError::Closed(Ok(item)) => TrySendError::Closed(item),
            mpsc::error::TrySendError::Full(Err(_)) | mpsc::error::TrySendError::Closed(Err(_)) => {
                unreachable!("an item was sent, and no status")
            }
        })
    }

    /// Ends the stream with a status, once there is room. Items of other clones that come after it are not
    /// read.
    ///
    /// # Errors
    ///
    /// `Cancelled` if nobody reads the stream any more.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the status was not added. Unless there are other clones, the stream then
    /// ends well.
    pub async fn fail(self, status: Status) -> Result<()> {
        self.push(Err(status)).await
    }

    /// Whether nobody reads the stream any more: it was dropped, or its call is over.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until nobody reads the stream any more: for a sender that waits for something else before it
    /// has an item.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }

    async fn push(&self, item: Result<T>) -> Result<()> {
        let sent = self.sender.send(item).await;
        sent.map_err(|_| Status::cancelled(CLOSED))
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            has_panicked: self.has_panicked.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if is_unwinding() {
            self.has_panicked.store(true, Ordering::Release);
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> From<TrySendError<T>> for Status {
    fn from(error: TrySendError<T>) -> Self {
        match error {
            TrySendError::Full(_) => Self::resource_exhausted(error.to_string()),
            TrySendError::Closed(_) => Self::cancelled(CLOSED),
        }
    }
}

// Written by hand, so that items need no `Debug`.
impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

/// The receiving end of a [`Sender`].
pub(super) struct ChannelStream<T> {
    receiver: mpsc::Receiver<Result<T>>,
    has_panicked: Arc<AtomicBool>,
}

impl<T> ChannelStream<T> {
    /// The next item, if it is there.
    pub(super) fn try_next(&mut self) -> Option<Result<T>> {
        self.receiver.try_recv().ok()
    }

    /// Takes no more items; those that are there can still be read.
    pub(super) fn close(&mut self) {
        self.receiver.close();
    }
}

impl<T> Stream for ChannelStream<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let item = ready!(self.receiver.poll_recv(cx));
        if item.is_none() && self.has_panicked.load(Ordering::Acquire) {
            let status = Status::internal("the sender of the stream has panicked");
            return Poll::Ready(Some(Err(status)));
        }
        Poll::Ready(item)
    }
}

#[cfg(test)]
mod tests {
    use wawo_protocol::Code;

    use super::TrySendError;
    use crate::{
        body::{StreamEnd, Streaming},
        status::Status,
    };

    #[tokio::test]
    async fn an_item_that_finds_no_room_comes_back() {
        let (sender, mut stream) = Streaming::channel(2);
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
        let full = Status::from(TrySendError::Full(3));
        assert_eq!(full.code(), Code::ResourceExhausted);
        assert_eq!(stream.message().await.unwrap(), Some(1));
        sender.try_send(3).unwrap();
        drop(stream);
        assert_eq!(sender.try_send(4), Err(TrySendError::Closed(4)));
        let closed = Status::from(TrySendError::Closed(4));
        assert_eq!(closed.code(), Code::Cancelled);
    }

    #[tokio::test]
    async fn a_sender_learns_that_nobody_reads() {
        let (sender, stream) = Streaming::<u8>::channel(1);
        let late = sender.clone();
        let closed = tokio::spawn(async move { late.closed().await });
        assert!(!sender.is_closed());
        drop(stream);
        closed.await.unwrap();
        assert!(sender.is_closed());
        assert_eq!(sender.send(1).await.unwrap_err().code(), Code::Cancelled);
    }

    #[tokio::test]
    async fn a_stream_fails_when_a_panic_drops_its_sender() {
        let (sender, mut stream) = Streaming::channel(2);
        let task = tokio::spawn(async move {
            sender.send(1).await.unwrap();
            panic!("planned");
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(stream.message().await.unwrap(), Some(1));
        let status = stream.message().await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(stream.end(), Some(StreamEnd::Failed(Code::Internal)));
    }
}
