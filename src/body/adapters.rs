//! Streams made of another stream, with other items or another end.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use wawo_protocol::Metadata;

use crate::{
    body::{items::Items, streaming::Streaming},
    status::Result,
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

    /// Applies a function to each item.
    pub(crate) fn map<R>(
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
            metadata.append(own());
        }
        metadata
    }
}
