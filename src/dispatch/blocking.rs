//! Runs handlers that block in the threads that tokio keeps for blocking code.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{self, Poll, Wake, Waker, ready},
    thread::{self, Thread},
};

use tokio::runtime::Handle;
use tracing::Span;

use crate::{
    context::Context,
    dispatch::blocking_future::BlockingFuture,
    panic::{Part, catch},
    response::Response,
    response_future::ResponseFuture,
    status::{Result, Status},
};

/// Runs a handler in a thread where it may block. There, `begin` decodes its request, of `bytes`, and
/// begins it. Outside of a runtime all of it runs in this thread, which is the caller's own.
///
/// Dropping the reply cancels the call. A handler that has not begun never does; one that has is dropped
/// when it next waits, unless it runs to completion.
pub(crate) fn run(
    context: Context,
    bytes: usize,
    begin: impl FnOnce() -> ResponseFuture + Send + 'static,
) -> ResponseFuture {
    if Handle::try_current().is_err() {
        return begin();
    }
    ResponseFuture::boxed(async move {
        let (of_call, span) = (context.clone(), Span::current());
        let work = move || span.in_scope(|| work(&of_call, begin));
        BlockingFuture::begin(context, bytes, work)?.await
    })
}

/// The part that runs in the other thread.
fn work(context: &Context, begin: impl FnOnce() -> ResponseFuture) -> Result<Response> {
    let mut cancelled = context.inherited_cancellation().map(Box::pin);
    let result = catch(Part::Service, || {
        let mut reply = begin();
        block_on(poll_fn(|cx| {
            if let Poll::Ready(result) = Pin::new(&mut reply).poll(cx) {
                return Poll::Ready(result);
            }
            // A handler that runs to completion stays in this thread, and does not become a task.
            let Some(cancelled) = &mut cancelled else {
                return Poll::Pending;
            };
            ready!(cancelled.as_mut().poll(cx));
            Poll::Ready(Err(Status::from_cancel()))
        }))
    });
    let result = result.and_then(|result| result);
    if cancelled.is_none() && context.is_cancelled() {
        // The caller is gone, so the status is logged.
        if let Err(status) = &result {
            status.log(context.method(), &context.caller_label());
        }
    }
    result
}

/// Runs a future in this thread. tokio's own `block_on` would panic in a handler that itself blocks on
/// another future.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = task::Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
