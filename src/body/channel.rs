//! A stream whose messages are pushed into it by a sender.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::sync::mpsc;

use crate::{
    body::streaming::Streaming,
    status::{Result, Status},
};

impl<T> Streaming<T> {
    /// A sender that pushes items, and the stream of these items; at most `capacity` items wait between
    /// them.
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
        (Sender { sender }, Self::new(ChannelStream { receiver }))
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

/// The receiving end of a [`Sender`].
struct ChannelStream<T> {
    receiver: mpsc::Receiver<Result<T>>,
}

impl<T> Stream for ChannelStream<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        self.receiver.poll_recv(cx)
    }
}
