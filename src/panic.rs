//! A panic of a handler, of a layer or of a stream stays with its call.

use std::{
    any::Any,
    cell::Cell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use pin_project_lite::pin_project;
use wawo_protocol::packet::BatchBuilder;

use crate::{
    body::Streaming,
    response::Response,
    status::{BoxError, Result, Status},
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

/// Runs a function; a panic becomes a status. The caller drops what the function leaves behind, so
/// that nothing broken is used again.
pub(crate) fn catch<R>(part: Part, function: impl FnOnce() -> R) -> Result<R> {
    catch_in(&Cell::new(part), function)
}

/// The same for a function that runs code of several parts, and sets which it is at.
pub(crate) fn catch_in<R>(part: &Cell<Part>, function: impl FnOnce() -> R) -> Result<R> {
    catch_unwind(AssertUnwindSafe(function)).map_err(|panic| status(part.get(), panic.as_ref()))
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

pin_project! {
    /// The reply of a service, which may panic whenever it is polled, and fail with any error.
    pub(crate) struct Catch<F> {
        #[pin]
        reply: F,
    }
}

impl<F> Catch<F> {
    pub(crate) fn new(reply: F) -> Self {
        Self { reply }
    }
}

impl<F, E> Future for Catch<F>
where
    F: Future<Output = Result<Response, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Response>> {
        match catch(Part::Service, || self.project().reply.poll(cx)) {
            Ok(poll) => poll.map_err(Status::from_error),
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
