//! The future of a handler at work on a call.

use std::{
    future::Future,
    pin::Pin,
    task::{self, Poll, ready},
};

use pin_project_lite::pin_project;

use crate::{
    body::Body,
    context::Context,
    response::Response,
    status::{Result, Status},
};

pin_project! {
    /// Runs a handler, and makes a response of what it returns. Dropped before that, it cancels
    /// the call.
    ///
    /// It is written by hand because an async block would hold the handler twice, and move it
    /// once more.
    pub(crate) struct Handling<F, B> {
        context: Context,
        // `None` once it has ended.
        #[pin]
        handler: Option<F>,
        body: B,
    }

    impl<F, B> PinnedDrop for Handling<F, B> {
        fn drop(this: Pin<&mut Self>) {
            if this.handler.is_some() {
                this.context.cancel();
            }
        }
    }
}

impl<F, B> Handling<F, B> {
    /// The handler has the context as its own already.
    pub(crate) fn new(context: Context, handler: F, body: B) -> Self {
        Self {
            context,
            handler: Some(handler),
            body,
        }
    }
}

impl<F, B> Future for Handling<F, B>
where
    F: Future,
    B: Fn(&Context, F::Output) -> Result<Body>,
{
    type Output = Result<Response>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Result<Response>> {
        let mut this = self.project();
        let Some(handler) = this.handler.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let output = ready!(handler.poll(cx));
        this.handler.set(None);
        let body = (this.body)(this.context, output).map_err(Status::answered)?;
        let metadata = this.context.take_reply_metadata();
        Poll::Ready(Ok(Response::new(metadata, body)))
    }
}
