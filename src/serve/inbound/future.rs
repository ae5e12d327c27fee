//! The future of a call that is being served.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use crate::{
    backstop::Timer,
    clock::{self, DEADLINE_TOLERANCE},
    expiry,
    panic::{Part, catch},
    response::Response,
    response_future::ResponseFuture,
    status::Result,
};

/// The future of a call that is being served; a panic in it becomes a status.
///
/// Dropping it before its end stops the work on the call. If the deadline of the call has passed by then,
/// its layers first see `DeadlineExceeded`; otherwise they see a drop.
#[derive(Debug)]
pub(crate) struct InboundFuture {
    /// `None` once it has ended.
    reply: Option<ResponseFuture>,
    /// A drop after this time means that the deadline has passed.
    deadline: Option<Instant>,
}

impl InboundFuture {
    pub(crate) fn new(reply: ResponseFuture, deadline: Option<Instant>) -> Self {
        Self {
            reply: Some(reply),
            deadline,
        }
    }

    /// A call whose deadline both sides of a connection count.
    pub(crate) fn of_connection(reply: ResponseFuture, deadline: Option<Instant>) -> Self {
        Self::new(
            reply,
            deadline.and_then(|at| at.checked_sub(DEADLINE_TOLERANCE)),
        )
    }

    /// Waits for the end of the call, at most until `deadline`; `timer` makes the timer for it. If the
    /// deadline has passed, the layers of the call decide the outcome.
    pub(crate) async fn until(mut self, deadline: Instant, timer: fn(Instant) -> Timer) -> Outcome {
        let mut timer_of_call = None;
        let ended = std::future::poll_fn(|cx| {
            if let Poll::Ready(result) = Pin::new(&mut self).poll(cx) {
                return Poll::Ready(Some(result));
            }
            // Most calls end at the first poll, so they need no timer.
            let timer = timer_of_call.get_or_insert_with(|| timer(deadline));
            Pin::new(timer).poll(cx).map(|()| None)
        });
        match ended.await {
            Some(result) => Outcome::Ended(result),
            None => Outcome::Expired(self.expire()),
        }
    }

    /// Ends the call because its deadline has passed; its layers decide the outcome.
    fn expire(&mut self) -> Result<Response> {
        let reply = self.reply.take();
        // The future is dropped inside of this too, because its drop is code of the application that may
        // panic.
        let last_poll = move || {
            let mut cx = Context::from_waker(Waker::noop());
            match reply.map(|mut reply| Pin::new(&mut reply).poll(&mut cx)) {
                Some(Poll::Ready(result)) => result,
                Some(Poll::Pending) | None => Err(expiry::status()),
            }
        };
        expiry::scope(|| catch(Part::Service, last_poll)).and_then(|result| result)
    }
}

/// How a call with a deadline ended.
pub(crate) enum Outcome {
    Ended(Result<Response>),
    /// The deadline has passed; this is the outcome that the layers of the call made of it.
    Expired(Result<Response>),
}

impl Future for InboundFuture {
    type Output = Result<Response>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Response>> {
        let Some(reply) = &mut self.reply else {
            return Poll::Pending;
        };
        let polled = catch(Part::Service, || Pin::new(reply).poll(cx));
        let polled = polled.unwrap_or_else(|status| Poll::Ready(Err(status)));
        if polled.is_ready() {
            let ended = self.reply.take();
            // The drop of a future may panic, above all if the future has panicked before.
            let _ = catch(Part::Service, || drop(ended));
        }
        polled
    }
}

impl Drop for InboundFuture {
    fn drop(&mut self) {
        if self.reply.is_some() && self.deadline.is_some_and(clock::has_passed) {
            // Nobody receives the outcome.
            drop(self.expire());
        }
    }
}
