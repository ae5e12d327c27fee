//! Handlers that run to completion: once begun, they go on although their call was cancelled.
//!
//! They are no tasks from the start, since most calls are not cancelled: dropping the reply before
//! its time is what makes a task of the rest.

use std::{future::Future, pin::Pin, task::Poll};

use tokio::runtime::Handle;

use crate::{context::Context, expiry, panic::Catch, response::Response, status::Result};

type Handler = Pin<Box<dyn Future<Output = Result<Response>> + Send>>;

/// The reply of a handler. Dropping it cancels the call, and gives what is left of the handler, if
/// it has begun, to a task.
pub(crate) struct RunToCompletion {
    context: Context,
    /// `None` once it has ended, also by a panic.
    handler: Option<Handler>,
    /// Where it goes on. `None` until it has begun: a call that was given up before is not begun.
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
            // It goes on as a task, if it has begun.
            return Poll::Pending;
        }
        let Some(mut handler) = self.handler.take() else {
            return Poll::Pending;
        };
        if self.runtime.is_none() {
            self.runtime = Handle::try_current().ok();
        }
        // It is out of its place while it is polled, so that one that panics is not run on.
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
            runtime.spawn(async move {
                if let Err(status) = Catch::new(handler).await {
                    status.log(context.method(), &context.caller_label());
                }
            });
        }
    }
}
