//! The future of a handler that serves a call.

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
    unwinding::drop_broken,
};

pin_project! {
    /// Runs a handler, and makes a response of its output. Dropping it before its end cancels the call.
    ///
    /// It is written by hand because an async block would hold the handler twice, and move it once more.
    pub(crate) struct HandlerFuture<F, B> {
        // The handler; `None` once it has ended. It holds the context too, because a second reference to
        // that would cost each call.
        #[pin]
        handler: Option<ScopedFuture<GuardedHandler<F>>>,
        body: B,
    }
}

pin_project! {
    /// A handler in the scope of its context. Dropping it before it has ended cancels the call of that
    /// context.
    struct GuardedHandler<F> {
        #[pin]
        handler: F,
        ended: bool,
    }

    impl<F> PinnedDrop for GuardedHandler<F> {
        fn drop(this: Pin<&mut Self>) {
            // Each handler runs in a context. Only when its thread ends, the thread's storage may be gone
            // already.
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
            // The deadline has passed: the handler is about to be dropped, and its reply comes too late.
            return Poll::Pending;
        }
        let mut this = self.project();
        let Some(mut handler) = this.handler.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let part = Cell::new(Part::Handler);
        let polled = catch_in(&part, || {
            let output = ready!(handler.as_mut().poll(cx));
            // The rest of the closure runs the codec, so that a panic is the service's from here on.
            part.set(Part::Service);
            // The context is taken when the handler ends, so it is there until then.
            let context = handler.as_mut().take_value();
            // Only the body leaves the guard. A response is larger, and moving it costs each call.
            Poll::Ready(context.map(|context| ((this.body)(&context, output), context)))
        });
        let polled = match polled {
            Ok(poll) => ready!(poll),
            Err(status) => {
                // After a panic it must not be polled again.
                drop_broken(|| this.handler.set(None));
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

/// The response of a handler, with the metadata that it has set. A stream takes its trailing metadata
/// when it ends.
#[cold]
fn with_metadata(context: &Context, body: Body) -> Response {
    let is_whole = matches!(body, Body::One(_));
    let response = Response::new(context.take_reply_metadata(), body);
    match is_whole {
        true => response.with_trailing_metadata(context.take_trailing_metadata()),
        false => response,
    }
}

/// The status of a handler, or of its stream of replies, with the metadata that the handler has set for
/// the reply.
#[cold]
pub(crate) fn failed(context: &Context, status: Status) -> Status {
    let mut metadata = context.take_reply_metadata();
    metadata.extend(context.take_trailing_metadata());
    status.into_handler_status().with_reply_metadata(metadata)
}
