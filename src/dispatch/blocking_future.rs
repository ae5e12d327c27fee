//! A job of a call in one of the threads that tokio keeps for those that block or take long.
//!
//! tokio keeps a job until a thread takes it, also one whose call is over by then. So the job is where
//! its call can empty it, and what tokio keeps of it counts with the decoded messages of the connection.

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

/// What a job counts for, besides what it holds: some hundred bytes, until a thread has taken it.
const JOB_BYTES: usize = 1024;

/// A job in another thread, and its result. Dropping it cancels the call: what a job holds is dropped
/// at once if no thread has taken it, and otherwise when it ends.
pub(crate) struct BlockingFuture<R, F> {
    /// `None` once it has ended.
    context: Option<Context>,
    job: Arc<Job<F>>,
    work: JoinHandle<Result<R>>,
}

struct Job<F> {
    /// `None` once a thread has taken it, or the call is over.
    work: Mutex<Option<F>>,
    /// The bytes of the request that it holds.
    bytes: usize,
    /// Given back when the thread is done with it.
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
            _ => Err(cancelled_status()),
        }
    }

    /// Nobody waits for it any more. Nothing else counts what it holds from now on, if it has begun.
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
            // What the job would return comes too late.
            return Poll::Pending;
        }
        let result = ready!(Pin::new(&mut self.work).poll(cx));
        self.context = None;
        // Panics are caught there.
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

pub(crate) fn cancelled_status() -> Status {
    Status::cancelled("the call was given up")
}
