//! A call that is served in a span: its handler, and its stream of replies.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use tracing::Span;
use wawo_protocol::{Metadata, packet::BatchBuilder};

use crate::{
    body::{Items, Streaming},
    response::Response,
    status::Result,
};

/// A response that is polled in a span.
pub(super) struct SpannedFuture<F> {
    /// `None` once it has ended. It is dropped in the span.
    reply: Option<F>,
    span: Span,
}

impl<F> SpannedFuture<F> {
    pub(super) fn new(reply: F, span: Span) -> Self {
        let reply = Some(reply);
        Self { reply, span }
    }
}

impl<F: Future<Output = Result<Response>> + Unpin> Future for SpannedFuture<F> {
    type Output = Result<Response>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Response>> {
        let this = &mut *self;
        let Some(reply) = &mut this.reply else {
            return Poll::Pending;
        };
        let _entered = this.span.enter();
        let polled = Pin::new(reply).poll(cx);
        if polled.is_ready() {
            this.reply = None;
        }
        polled.map(|result| result.map(|response| in_span(response, &this.span)))
    }
}

impl<F> Drop for SpannedFuture<F> {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        self.reply = None;
    }
}

/// Lets the stream of replies run in a span.
pub(super) fn in_span(response: Response, span: &Span) -> Response {
    response.map_stream(|replies| {
        let (replies, span) = (Some(replies), span.clone());
        Streaming::of_items(SpannedReplies { replies, span })
    })
}

/// A stream of replies that is polled in a span.
struct SpannedReplies {
    /// `None` once it is dropped, in the span.
    replies: Option<Streaming<Bytes>>,
    span: Span,
}

impl Items<Bytes> for SpannedReplies {
    fn poll_item(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<Bytes>,
    ) -> Poll<Option<Result<Bytes>>> {
        let this = &mut *self;
        let _entered = this.span.enter();
        match &mut this.replies {
            Some(replies) => Pin::new(replies).poll_next(cx),
            None => Poll::Ready(None),
        }
    }

    fn fill_batch(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<Bytes>,
        packets: &mut BatchBuilder,
    ) -> Poll<Option<Result<()>>> {
        let this = &mut *self;
        let _entered = this.span.enter();
        match &mut this.replies {
            Some(replies) => replies.fill_batch(cx, packets),
            None => Poll::Ready(Some(Ok(()))),
        }
    }

    fn take_trailing_metadata(mut self: Pin<&mut Self>) -> Metadata {
        let replies = self.replies.as_mut();
        replies.map_or_else(Metadata::new, Streaming::take_trailing_metadata)
    }
}

impl Drop for SpannedReplies {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        self.replies = None;
    }
}
