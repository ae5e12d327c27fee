//! Catches panics of handlers, layers and streams, so that each ends only its own call.

use std::{
    any::Any,
    cell::Cell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use crate::{
    body::Streaming,
    response::Response,
    status::{BoxError, Result, Status},
    unwinding::drop_broken,
};

/// The part of the application that a panic came from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    Handler,
    /// All code around a handler: layers, and the codec.
    Service,
    /// The stream that a handler returned.
    Replies,
    /// The stream that the caller sends.
    Requests,
}

/// Runs a function, and turns a panic into a status. The caller drops everything that the function used,
/// so that nothing in a broken state is used again.
pub(crate) fn catch<R>(part: Part, function: impl FnOnce() -> R) -> Result<R> {
    catch_in(&Cell::new(part), function)
}

/// Runs a function that calls code of several parts. It sets `part` to the one that it is about to run.
pub(crate) fn catch_in<R>(part: &Cell<Part>, function: impl FnOnce() -> R) -> Result<R> {
    catch_unwind(AssertUnwindSafe(function)).map_err(|panic| status(part.get(), panic.as_ref()))
}

/// Polls a stream with a function. A panic ends the stream with a status.
pub(crate) fn catch_stream<T, R>(
    part: Part,
    stream: &mut Streaming<T>,
    poll: impl FnOnce(&mut Streaming<T>) -> Poll<Option<Result<R>>>,
) -> Poll<Option<Result<R>>> {
    match catch(part, || poll(stream)) {
        Ok(poll) => poll,
        Err(status) => {
            drop_broken(|| *stream = Streaming::empty());
            Poll::Ready(Some(Err(status)))
        }
    }
}

pin_project! {
    /// The reply of a service, whose panics and errors of any type become statuses.
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

/// The message of a panic.
pub(crate) fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a text")
}

/// The status for the caller, which says that there was a panic. The message of the panic is only logged
/// here; its place in the code is printed by the program's panic hook.
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
