//! Handlers that block their thread: they run in threads that tokio keeps for that.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{self, Poll, Wake, Waker, ready},
    thread::{self, Thread},
};

use tokio::{
    runtime::Handle,
    task::{JoinHandle, spawn_blocking},
};

use crate::{
    context::Context,
    descriptor::MethodDescriptor,
    panic::{Part, catch},
    reply::ReplyFuture,
    response::Response,
    status::{Result, Status},
};

/// Has a handler run in a thread where it may block. `begin` decodes its request and begins it,
/// and runs there too. Outside of a runtime all of it runs here: the thread is the caller's own.
///
/// Dropping the reply cancels the call. A handler that was not begun is not; one that was is
/// dropped when it next waits, unless it runs to completion.
pub(crate) fn run(
    method: &'static MethodDescriptor,
    context: Context,
    begin: impl FnOnce() -> ReplyFuture + Send + 'static,
) -> ReplyFuture {
    if Handle::try_current().is_err() {
        return begin();
    }
    ReplyFuture::boxed(async move {
        let work = {
            let context = context.clone();
            spawn_blocking(move || work(method, &context, begin))
        };
        let mut work = Elsewhere {
            context: Some(context),
            work,
        };
        poll_fn(|cx| work.poll(cx)).await
    })
}

/// Runs a function that takes long, such as to decode, where it holds up no other task.
pub(crate) async fn compute<R: Send + 'static>(
    function: impl FnOnce() -> Result<R> + Send + 'static,
) -> Result<R> {
    let computed =
        spawn_blocking(move || catch(Part::Service, function).and_then(|result| result)).await;
    computed.unwrap_or_else(|_| Err(shut_down()))
}

/// A handler in another thread.
struct Elsewhere {
    /// `None` once it has ended.
    context: Option<Context>,
    work: JoinHandle<Result<Response>>,
}

impl Elsewhere {
    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<Response>> {
        let result = ready!(Pin::new(&mut self.work).poll(cx));
        self.context = None;
        // Panics are caught there.
        Poll::Ready(result.unwrap_or_else(|_| Err(shut_down())))
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if let Some(context) = self.context.take() {
            context.cancel();
            // Takes it out of the queue, if no thread has begun it.
            self.work.abort();
        }
    }
}

fn shut_down() -> Status {
    Status::unavailable("the runtime of the handler shuts down")
}

/// The work of the other thread.
fn work(
    method: &MethodDescriptor,
    context: &Context,
    begin: impl FnOnce() -> ReplyFuture,
) -> Result<Response> {
    let mut cancelled = context.inherited_cancellation().map(Box::pin);
    let result = catch(Part::Service, || {
        let mut reply = begin();
        block_on(poll_fn(|cx| {
            if let Poll::Ready(result) = Pin::new(&mut reply).poll(cx) {
                return Poll::Ready(result);
            }
            // A handler that runs to completion does so here, and not as a task.
            let Some(cancelled) = &mut cancelled else {
                return Poll::Pending;
            };
            ready!(cancelled.as_mut().poll(cx));
            Poll::Ready(Err(Status::cancelled("the call was given up")))
        }))
    });
    let result = result.and_then(|result| result);
    if cancelled.is_none() && context.is_cancelled() {
        // Nobody else hears of it.
        if let Err(status) = &result {
            status.log(method, &context.caller_label());
        }
    }
    result
}

/// Runs a future in this thread. tokio's own would keep a handler from blocking on another future
/// by itself.
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
