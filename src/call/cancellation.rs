//! The end of a call that is no longer wanted: the guard that ends it, and streams that end with it.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use tokio_util::sync::{DropGuard, WaitForCancellationFutureOwned};

use crate::{
    body::Streaming,
    context::Context,
    status::{Delivery, Status},
};

/// Cancels a call when it is dropped; see [`Call::with_cancel_guard`](crate::Call::with_cancel_guard).
/// Dropping it after the call has ended does nothing.
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
    Status::from_cancel().with_delivery(Delivery::Unknown)
}

/// The requests of a call, for a handler that may outlive the call: they end when the call is cancelled.
pub(crate) fn cancellable_requests(
    requests: Streaming<Bytes>,
    context: &Context,
) -> Streaming<Bytes> {
    requests.until(context.cancellation(), cancelled_status)
}
