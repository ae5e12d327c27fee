//! A job of a call in one of tokio's threads for code that blocks or takes long.
//!
//! tokio keeps a job until a thread takes it, even if the call is over by then. So the job is stored
//! where its call can empty it, and the rest that tokio keeps counts with the decoded messages of the
//! connection.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll, ready},
};

use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    context::Context,
    decoding::{self, Reservation},
    expiry,
    panic::{Part, catch},
    status::{Result, Status},
};

/// The bytes that a queued job counts for, besides its request: some hundred in fact, until a thread has
/// taken it.
const JOB_BYTES: usize = 1024;

/// A job in another thread, and its result. Dropping it cancels the call. The job's data is dropped at
/// once if no thread has taken it, and otherwise when the job ends.
pub(crate) struct BlockingFuture<R, F> {
    /// The context of the call; `None` once the call has ended.
    context: Option<Context>,
    job: Arc<Job<F>>,
    work: JoinHandle<Result<R>>,
}

struct Job<F> {
    /// The job; `None` once a thread has taken it, or the call is over.
    work: Mutex<Option<F>>,
    /// The bytes of the request that it holds.
    bytes: usize,
    /// Memory of the connection, which is released when the thread is done with the job.
    reserved: Mutex<Option<Reservation>>,
}

impl<R, F> BlockingFuture<R, F>
where
    R: Send + 'static,
    F: FnOnce() -> Result<R> + Send + 'static,
{
    /// Gives the job of a call, which holds a request of `bytes`, to another thread.
    ///
    /// # Errors
    ///
    /// If the connection, or the server, has too much memory in use.
    pub(crate) fn begin(context: Context, bytes: usize, work: F) -> Result<Self> {
        let reserved = decoding::reserve_bytes(JOB_BYTES, context.decoding_limits())?;
        let job = Arc::new(Job {
            work: Mutex::new(Some(work)),
            bytes,
            reserved: Mutex::new(reserved),
        });
        let (taken, of_call) = (job.clone(), context.clone());
        Ok(Self {
            context: Some(context),
            job,
            work: spawn_blocking(move || taken.run(&of_call)),
        })
    }
}

impl<F> Job<F> {
    fn run<R>(&self, context: &Context) -> Result<R>
    where
        F: FnOnce() -> Result<R>,
    {
        let work = lock(&self.work).take();
        match work {
            Some(work) if !context.is_cancelled() => catch(Part::Service, work)?,
            _ => Err(Status::from_cancel()),
        }
    }

    /// Empties the job, because the call is over. If the job has begun, its request is counted from now
    /// on, as nothing else counts it any more.
    fn cancel(&self) {
        let work = lock(&self.work).take();
        if work.is_none()
            && let Some(reserved) = lock(&self.reserved).as_mut()
        {
            reserved.grow(self.bytes);
        }
    }
}

impl<R, F> Future for BlockingFuture<R, F> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Result<R>> {
        if expiry::is_expiring() {
            // The deadline has passed, so that the result of the job comes too late.
            return Poll::Pending;
        }
        let result = ready!(Pin::new(&mut self.work).poll(cx));
        self.context = None;
        // `Job::run` catches panics, so an error means that the runtime shuts down.
        Poll::Ready(result.unwrap_or_else(|error| Err(Status::from_shutdown(&error))))
    }
}

impl<R, F> Drop for BlockingFuture<R, F> {
    fn drop(&mut self) {
        if let Some(context) = self.context.take() {
            context.cancel();
            self.job.cancel();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
