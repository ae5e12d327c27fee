//! The future of a handler at work on a call.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{self, Poll, ready},
};

use pin_project_lite::pin_project;
use wawo_protocol::Metadata;

use crate::{
    body::Body,
    context::{Context, ScopedFuture},
    expiry,
    panic::{Part, catch_in},
    response::Response,
    status::{Result, Status},
};

pin_project! {
    /// Runs a handler, and makes a response of what it returns. Dropped before that, it cancels
    /// the call.
    ///
    /// It is written by hand because an async block would hold the handler twice, and move it
    /// once more.
    pub(crate) struct HandlerFuture<F, B> {
        // It has the context: one more reference to that would cost each call. `None` once it has
        // ended.
        #[pin]
        handler: Option<ScopedFuture<GuardedHandler<F>>>,
        body: B,
    }
}

pin_project! {
    /// A handler in its context. Dropped before it has ended, it cancels the call of that.
    struct GuardedHandler<F> {
        #[pin]
        handler: F,
        ended: bool,
    }

    impl<F> PinnedDrop for GuardedHandler<F> {
        fn drop(this: Pin<&mut Self>) {
            // There is always one, but at the end of a thread.
            if !this.ended && let Some(context) = Context::current() {
                context.cancel();
            }
        }
    }
}

impl<F: Future> Future for GuardedHandler<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let poll = this.handler.poll(cx);
        *this.ended = poll.is_ready();
        poll
    }
}

impl<F: Future, B> HandlerFuture<F, B> {
    /// Runs the handler in the context of its call.
    pub(crate) fn new(context: Context, handler: F, body: B) -> Self {
        Self {
            handler: Some(context.into_scope(GuardedHandler {
                handler,
                ended: false,
            })),
            body,
        }
    }
}

impl<F, B> Future for HandlerFuture<F, B>
where
    F: Future,
    B: Fn(&Context, F::Output) -> Result<Body>,
{
    type Output = Result<Response>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Result<Response>> {
        if expiry::is_expiring() {
            // It is dropped, and what it would answer comes too late.
            return Poll::Pending;
        }
        let mut this = self.project();
        let Some(mut handler) = this.handler.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let part = Cell::new(Part::Handler);
        let polled = catch_in(&part, || {
            let output = ready!(handler.as_mut().poll(cx));
            // The codec is next.
            part.set(Part::Service);
            // The handler has a context for as long as it runs.
            let context = handler.as_mut().take_value();
            // Only the body leaves the guard: a response is larger, and moving it costs each call.
            Poll::Ready(context.map(|context| ((this.body)(&context, output), context)))
        });
        let polled = match polled {
            Ok(poll) => ready!(poll),
            Err(status) => {
                // It is in no state to be polled again.
                this.handler.set(None);
                return Poll::Ready(Err(status));
            }
        };
        this.handler.set(None);
        match polled {
            None => Poll::Pending,
            Some((Ok(body), context)) if !context.may_have_reply_metadata() => {
                Poll::Ready(Ok(Response::new(Metadata::new(), body)))
            }
            Some((Ok(body), context)) => Poll::Ready(Ok(with_metadata(&context, body))),
            Some((Err(status), context)) => Poll::Ready(Err(failed(&context, status))),
        }
    }
}

/// The response of a handler that has set metadata. A stream takes the trailing one when it ends.
#[cold]
fn with_metadata(context: &Context, body: Body) -> Response {
    let is_whole = matches!(body, Body::One(_));
    let response = Response::new(context.take_reply_metadata(), body);
    match is_whole {
        true => response.with_trailing_metadata(context.take_trailing_metadata()),
        false => response,
    }
}

/// The status of a handler, or of its stream of replies, as the caller gets it: with the metadata
/// that was set for the reply.
#[cold]
pub(crate) fn failed(context: &Context, status: Status) -> Status {
    let mut metadata = context.take_reply_metadata();
    metadata.append(context.take_trailing_metadata());
    status.into_handler_status().with_reply_metadata(metadata)
}
