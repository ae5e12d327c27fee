//! Streams made of another stream, with other items or another end.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use pin_project_lite::pin_project;
use wawo_protocol::Metadata;

use crate::{
    body::{items::Items, streaming::Streaming},
    status::{Result, Status},
};

impl<T> Streaming<T> {
    /// Adds metadata to the end of the stream, beside its own: for a gateway, or a layer that replaces a
    /// stream by another. The function is called when the stream has ended well, and not if it fails or
    /// is dropped.
    pub fn with_trailing_metadata(
        self,
        metadata: impl FnOnce() -> Metadata + Send + 'static,
    ) -> Self
    where
        T: Send + 'static,
    {
        let metadata = Some(metadata);
        Self::of_items(TrailedStream {
            stream: self,
            metadata,
        })
    }

    /// Ends the stream with a status when `signal` resolves, unless it has ended before. The stream is
    /// dropped then, which cancels a call that it belongs to.
    pub(crate) fn until(
        self,
        signal: impl Future<Output = ()> + Send + 'static,
        status: fn() -> Status,
    ) -> Self
    where
        T: Send + 'static,
    {
        Self::of_items(StoppableStream {
            stream: Some(self),
            signal,
            status,
        })
    }

    /// Lets a handler pass on the stream of a call that it made with the status that it ends with, as
    /// [`Status::forward`] does for the status of a call. Without it, the handler's caller learns only
    /// that a call to another service failed.
    pub fn forward(self) -> Self
    where
        T: Send + 'static,
    {
        self.map_items(|item| item.map_err(Status::forward))
    }

    /// Applies a function to each item.
    pub(crate) fn map_items<R>(
        self,
        function: impl FnMut(Result<T>) -> Result<R> + Send + 'static,
    ) -> Streaming<R>
    where
        T: Send + 'static,
    {
        Streaming::of_items(MappedStream {
            stream: self,
            function,
        })
    }
}

/// A stream with a function that is applied to each message.
struct MappedStream<T, F> {
    stream: Streaming<T>,
    function: F,
}

// Nothing in it is pinned: the stream is in a box of its own.
impl<T, F> Unpin for MappedStream<T, F> {}

impl<T: Send, R, F: FnMut(Result<T>) -> Result<R> + Send> Items<R> for MappedStream<T, F> {
    fn poll_item(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<R>,
    ) -> Poll<Option<Result<R>>> {
        let item = ready!(Pin::new(&mut self.stream).poll_next(cx));
        Poll::Ready(item.map(|item| (self.function)(item)))
    }

    fn take_trailing_metadata(mut self: Pin<&mut Self>) -> Metadata {
        self.stream.take_trailing_metadata()
    }
}

/// A stream with metadata at its end.
struct TrailedStream<T, F> {
    stream: Streaming<T>,
    metadata: Option<F>,
}

// Nothing in it is pinned: the stream is in a box of its own.
impl<T, F> Unpin for TrailedStream<T, F> {}

impl<T: Send, F: FnOnce() -> Metadata + Send> Items<T> for TrailedStream<T, F> {
    fn poll_item(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<T>,
    ) -> Poll<Option<Result<T>>> {
        Pin::new(&mut self.stream).poll_next(cx)
    }

    fn take_trailing_metadata(mut self: Pin<&mut Self>) -> Metadata {
        let mut metadata = self.stream.take_trailing_metadata();
        if let Some(own) = self.metadata.take() {
            metadata.extend(own());
        }
        metadata
    }
}

pin_project! {
    /// A stream that a signal ends with a status.
    struct StoppableStream<T, S> {
        // The stream; `None` once the signal has ended it.
        stream: Option<Streaming<T>>,
        #[pin]
        signal: S,
        status: fn() -> Status,
    }
}

impl<T: Send, S: Future<Output = ()> + Send> Items<T> for StoppableStream<T, S> {
    fn poll_item(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<T>,
    ) -> Poll<Option<Result<T>>> {
        let this = self.project();
        let Some(stream) = this.stream else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(item) = Pin::new(stream).poll_next(cx) {
            return Poll::Ready(item);
        }
        ready!(this.signal.poll(cx));
        *this.stream = None;
        Poll::Ready(Some(Err((this.status)())))
    }

    fn take_trailing_metadata(self: Pin<&mut Self>) -> Metadata {
        let stream = self.project().stream.as_mut();
        stream.map_or_else(Metadata::new, Streaming::take_trailing_metadata)
    }
}
