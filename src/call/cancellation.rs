//! The end of a call that is no longer wanted: the guard that ends it, and streams that end with it.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context as TaskContext, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use tokio_util::sync::{DropGuard, WaitForCancellationFutureOwned};
use wawo_protocol::Metadata;

use crate::{
    body::{Items, Streaming},
    context::Context,
    status::{Delivery, Result, Status},
};

/// Cancels a call when it is dropped; see [`Call::with_cancel_guard`](crate::Call::with_cancel_guard). Dropping it after the call has
/// ended does nothing.
#[derive(Debug)]
#[must_use = "dropping it cancels the call"]
pub struct CancelGuard(#[allow(dead_code, reason = "it is its drop that matters")] DropGuard);

impl CancelGuard {
    pub(super) fn new(guard: DropGuard) -> Self {
        Self(guard)
    }

    /// Cancels the call now.
    pub fn cancel(self) {}

    /// Lets the call go on without a guard.
    pub fn keep(self) {
        self.0.disarm();
    }
}

/// Resolves when a call is cancelled.
pub(super) type CancelSignal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The signal that comes when the handler that makes a call is cancelled, or the guard of the call is
/// dropped. `None` if neither can happen.
pub(super) fn cancel_signal(
    handler: Option<WaitForCancellationFutureOwned>,
    guard: Option<WaitForCancellationFutureOwned>,
) -> Option<CancelSignal> {
    match (handler, guard) {
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => Some(Box::pin(one)),
        (Some(handler), Some(guard)) => Some(Box::pin(async move {
            tokio::select! {
                () = handler => {}
                () = guard => {}
            }
        })),
    }
}

/// The status of a call that was cancelled after it was made.
pub(super) fn cancelled_status() -> Status {
    Status::cancelled("the call was given up").with_delivery(Delivery::Unknown)
}

/// A stream that ends when its call is cancelled.
pub(crate) struct CancellableStream {
    items: Streaming<Bytes>,
    cancelled: Option<CancelSignal>,
}

impl CancellableStream {
    pub(super) fn over(
        items: Streaming<Bytes>,
        cancelled: Option<CancelSignal>,
    ) -> Streaming<Bytes> {
        Streaming::of_items(Self { items, cancelled })
    }

    /// The requests of a call, for a handler that may outlive the call.
    pub(crate) fn requests(items: Streaming<Bytes>, context: &Context) -> Streaming<Bytes> {
        Self::over(items, Some(Box::pin(context.cancellation())))
    }
}

impl Items<Bytes> for CancellableStream {
    fn poll_item(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        _: &mut VecDeque<Bytes>,
    ) -> Poll<Option<Result<Bytes>>> {
        if let Poll::Ready(item) = Pin::new(&mut self.items).poll_next(cx) {
            return Poll::Ready(item);
        }
        if let Some(cancelled) = &mut self.cancelled {
            ready!(cancelled.as_mut().poll(cx));
            // Dropping the stream is what cancels the call on the other side.
            self.items = Streaming::empty();
            self.cancelled = None;
            return Poll::Ready(Some(Err(cancelled_status())));
        }
        Poll::Pending
    }

    fn take_trailing_metadata(mut self: Pin<&mut Self>) -> Metadata {
        self.items.take_trailing_metadata()
    }
}
