//! A panic of a handler, or of a layer, stays with its call.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use wawo_protocol::packet::Run;

use crate::{
    body::Streaming,
    response::Response,
    status::{Result, Status},
};

/// Runs a function; a panic becomes a status. What the function leaves behind is dropped by
/// whoever called it, so that nothing broken is used again.
pub(crate) fn catch<R>(function: impl FnOnce() -> R) -> Result<R> {
    catch_unwind(AssertUnwindSafe(function)).map_err(|panic| status(panic.as_ref()))
}

/// The next item of a stream, which may panic: it fails then.
pub(crate) fn caught<T>(
    stream: &mut Streaming<T>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<T>>> {
    match catch(|| Pin::new(&mut *stream).poll_next(cx)) {
        Ok(poll) => poll,
        Err(status) => {
            *stream = Streaming::empty();
            Poll::Ready(Some(Err(status)))
        }
    }
}

/// The messages of a stream that are ready, as [`Streaming::poll_run`] has them; it fails if it
/// panics.
pub(crate) fn caught_run(
    stream: &mut Streaming<Bytes>,
    cx: &mut Context<'_>,
    run: &mut Run,
) -> Poll<Option<Result<()>>> {
    match catch(|| stream.poll_run(cx, run)) {
        Ok(poll) => poll,
        Err(status) => {
            *stream = Streaming::empty();
            Poll::Ready(Some(Err(status)))
        }
    }
}

/// The answer of a handler, which may panic whenever it is polled.
pub(crate) struct Catch<F>(pub(crate) F);

impl<F: Future<Output = Result<Response>> + Unpin> Future for Catch<F> {
    type Output = Result<Response>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Response>> {
        match catch(|| Pin::new(&mut self.0).poll(cx)) {
            Ok(poll) => poll,
            Err(status) => Poll::Ready(Err(status)),
        }
    }
}

/// What the caller hears of a panic: that there was one. Its text stays here.
fn status(panic: &(dyn Any + Send)) -> Status {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("a panic without a text");
    tracing::error!(panic = text, "a handler panicked");
    Status::internal("the handler panicked").with_source(text)
}
