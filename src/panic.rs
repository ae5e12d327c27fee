//! A panic of a handler, of a layer or of a stream stays with its call.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use wawo_protocol::packet::BatchBuilder;

use crate::{
    body::Streaming,
    response::Response,
    status::{Result, Status},
};

/// Code of the application that may panic.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    Handler,
    /// All that is around a handler: layers, and the codec.
    Service,
    /// The stream that a handler returned.
    Replies,
    /// The stream that the caller sends.
    Requests,
}

/// Runs a function; a panic becomes a status. What the function leaves behind is dropped by
/// whoever called it, so that nothing broken is used again.
pub(crate) fn catch<R>(part: Part, function: impl FnOnce() -> R) -> Result<R> {
    catch_unwind(AssertUnwindSafe(function)).map_err(|panic| status(part, panic.as_ref()))
}

/// The next item of a stream, which may panic: it fails then.
pub(crate) fn caught<T>(
    part: Part,
    stream: &mut Streaming<T>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<T>>> {
    match catch(part, || Pin::new(&mut *stream).poll_next(cx)) {
        Ok(poll) => poll,
        Err(status) => {
            *stream = Streaming::empty();
            Poll::Ready(Some(Err(status)))
        }
    }
}

/// The messages of a stream that are ready, as [`Streaming::fill_batch`] has them; it fails if it
/// panics.
pub(crate) fn catch_fill_batch(
    part: Part,
    stream: &mut Streaming<Bytes>,
    cx: &mut Context<'_>,
    packets: &mut BatchBuilder,
) -> Poll<Option<Result<()>>> {
    match catch(part, || stream.fill_batch(cx, packets)) {
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
        match catch(Part::Service, || Pin::new(&mut self.0).poll(cx)) {
            Ok(poll) => poll,
            Err(status) => Poll::Ready(Err(status)),
        }
    }
}

/// The text that a panic was given.
pub(crate) fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a text")
}

/// The status for the caller: that there was a panic. Its text stays here, for the log; where
/// it was, the panic hook of the program tells.
#[cold]
fn status(part: Part, panic: &(dyn Any + Send)) -> Status {
    let said = match part {
        Part::Handler => "the handler panicked",
        Part::Service => "a layer, or the codec, panicked",
        Part::Replies => "the stream of replies panicked",
        Part::Requests => "the stream of requests, which the caller sends, panicked",
    };
    Status::from_panic(said, text(panic))
}
