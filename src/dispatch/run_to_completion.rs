//! Handlers that run to completion: once they have begun, they go on although their call was cancelled.
//!
//! Such a handler does not run as a task from the start, since most calls are not cancelled. If its reply
//! is dropped before its end, the rest of the handler becomes a task.

use std::{future::Future, pin::Pin, task::Poll};

use tokio::runtime::Handle;
use tracing::Instrument as _;

use crate::{context::Context, expiry, panic::Catch, response::Response, status::Result};

type Handler = Pin<Box<dyn Future<Output = Result<Response>> + Send>>;

/// The reply of a handler. Dropping it cancels the call; if the handler has begun, its rest runs on as a
/// task.
pub(crate) struct RunToCompletion {
    context: Context,
    /// The handler; `None` once it has ended or panicked.
    handler: Option<Handler>,
    /// The runtime in which it goes on. `None` until it has begun: a call that is cancelled before does
    /// not begin.
    runtime: Option<Handle>,
}

impl RunToCompletion {
    pub(crate) fn new(
        context: Context,
        handler: impl Future<Output = Result<Response>> + Send + 'static,
    ) -> Self {
        Self {
            context,
            handler: Some(Box::pin(handler)),
            runtime: None,
        }
    }
}

impl Future for RunToCompletion {
    type Output = Result<Response>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Result<Response>> {
        if expiry::is_expiring() {
            // The deadline has passed: the reply is about to be dropped, and the handler goes on as a
            // task if it has begun.
            return Poll::Pending;
        }
        let Some(mut handler) = self.handler.take() else {
            return Poll::Pending;
        };
        if self.runtime.is_none() {
            self.runtime = Handle::try_current().ok();
        }
        // It is taken out while it is polled, so that it is not polled again if it panics.
        let poll = handler.as_mut().poll(cx);
        if poll.is_pending() {
            self.handler = Some(handler);
        }
        poll
    }
}

impl Drop for RunToCompletion {
    fn drop(&mut self) {
        if let (Some(handler), Some(runtime)) = (self.handler.take(), self.runtime.take()) {
            self.context.cancel();
            let context = self.context.clone();
            let rest = async move {
                if let Err(status) = Catch::new(handler).await {
                    status.log(context.method(), &context.caller_label());
                }
            };
            // The reply is dropped in the span of its call.
            runtime.spawn(rest.in_current_span());
        }
    }
}
