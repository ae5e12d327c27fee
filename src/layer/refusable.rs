//! The future of layers that check a call before it begins.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use crate::{
    response::Response,
    status::{BoxError, Result, Status},
};

pin_project! {
    /// The future of a call through a layer that refuses some calls: the call, or the status of one that is
    /// refused. It is that of [`RequestBytes`](super::RequestBytes) and
    /// [`AuthorizeService`](super::AuthorizeService).
    pub struct RefusableFuture<F> {
        // The future of the call; `None` if it was refused.
        #[pin]
        inner: Option<F>,
        // The status of a refused call. Taken when the future resolves.
        refusal: Option<Status>,
    }
}

impl<F> RefusableFuture<F> {
    /// Makes the call if its check has succeeded.
    pub(super) fn new(checked: Result<()>, call: impl FnOnce() -> F) -> Self {
        match checked {
            Ok(()) => Self {
                inner: Some(call()),
                refusal: None,
            },
            Err(status) => Self {
                inner: None,
                refusal: Some(status),
            },
        }
    }
}

impl<F, E> Future for RefusableFuture<F>
where
    F: Future<Output = Result<Response, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match (this.inner.as_pin_mut(), this.refusal.take()) {
            (Some(inner), _) => inner.poll(cx).map_err(Into::into),
            (None, Some(refusal)) => Poll::Ready(Err(refusal.into())),
            (None, None) => Poll::Pending,
        }
    }
}

impl<F> fmt::Debug for RefusableFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefusableFuture")
    }
}
