//! The one place where a call is served, wherever it came from.
//!
//! Each medium (a connection, this process, a guest behind another protocol) makes a [`Request`] of the
//! bytes that came, gives it to an [`Inbound`], and sends the result in its own protocol. All steps of
//! serving a call are here, and nowhere else:
//!
//! ```text
//!               connection                          this process, guest
//!                   │ Inbound::serve                     │ DirectInbound::serve
//!                   ▼                                    ▼
//!   call depth      from the metadata, or the request; too deep a call is refused
//!   panic guard     a panic of the service becomes `Internal`                      panic.rs
//!   service         layers, dispatch, handler: called, and polled once in place
//!                   │                                    │
//!   if it waits     an InboundFuture, for a task         the same, with a timer    inbound/future.rs
//!   deadline        kept by the connection               kept by that timer        inbound/direct.rs
//!   expired         the layers see it as a status                                  expiry.rs
//!   stream          an ExpiringStream, in a task         the same, with a timer    inbound/replies.rs
//! ```
//!
//! A connection keeps the deadlines and the count of its calls in flight itself, for all calls at once,
//! so that no call needs a timer. Where there is no connection, [`DirectInbound`] keeps them.

mod direct;
mod future;
mod replies;

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::task::unconstrained;

pub(crate) use crate::serve::inbound::{
    direct::{DirectInbound, Origin},
    future::{InboundFuture, Outcome},
    replies::ExpiringStream,
};
use crate::{
    call_depth,
    descriptor::MethodNames,
    observe::Observers,
    panic::{Part, catch},
    request::Request,
    response::Response,
    serve::BoxService,
    status::Result,
};

/// Serves the calls of one medium.
#[derive(Debug, Clone)]
pub(crate) struct Inbound {
    service: BoxService,
    /// Calls of a greater call depth than this are refused.
    max_call_depth: u32,
}

/// The result of the first poll of a call.
pub(crate) enum FirstPoll {
    /// The call has ended, with its response or a failure.
    Ended(Result<Response>),
    /// The call waits: its medium polls it again, in a task or as part of a future of its own.
    Waits(InboundFuture),
}

impl Inbound {
    /// Serves calls with this service.
    pub(crate) fn new(service: BoxService, max_call_depth: u32) -> Self {
        let may_have_spans = service
            .observers()
            .is_some_and(|observers| observers.may_have_spans());
        let service = match may_have_spans {
            true => service.in_spans(),
            false => service,
        };
        Self {
            service,
            max_call_depth,
        }
    }

    /// The observers of its calls; `None` if they are not observed.
    pub(crate) fn observers(&self) -> Option<&Arc<Observers>> {
        self.service.observers()
    }

    /// The names of the methods that are served, for the log.
    pub(crate) fn names(&self) -> &MethodNames {
        self.service.names()
    }

    /// Serves a call of a connection up to the point where it has to wait. The connection keeps the
    /// call's deadline, and drops the future when it has passed.
    #[inline]
    pub(crate) fn serve(&mut self, cx: &mut Context<'_>, mut request: Request) -> FirstPoll {
        if let Err(status) = self.take_depth(&mut request) {
            return FirstPoll::Ended(Err(status));
        }
        let deadline = request.deadline();
        let service = &mut self.service;
        let polled = catch(Part::Service, || {
            let mut reply = service.call(request);
            // tokio's cooperative budget would make a call wait that could end in this poll. One poll is
            // a single piece of work of the driver, so no budget applies to it.
            match pin!(unconstrained(&mut reply)).poll(cx) {
                Poll::Ready(result) => FirstPoll::Ended(result),
                Poll::Pending => FirstPoll::Waits(InboundFuture::of_connection(reply, deadline)),
            }
        });
        polled.unwrap_or_else(|status| FirstPoll::Ended(Err(status)))
    }

    /// Begins a call whose deadline the caller of this keeps. The caller catches panics of the service.
    fn begin(&mut self, mut request: Request) -> Result<InboundFuture> {
        self.take_depth(&mut request)?;
        let deadline = request.deadline();
        Ok(InboundFuture::new(self.service.call(request), deadline))
    }

    /// Takes the call depth out of the metadata, where a caller in another program puts it. A call from
    /// this process has its depth in the request. From here on, the depth counts this call too.
    ///
    /// # Errors
    ///
    /// If the depth is above the limit, or not a number.
    fn take_depth(&self, request: &mut Request) -> Result<()> {
        let head = request.head_mut();
        if !head.metadata.is_empty()
            && let Some(depth) = call_depth::take(&mut head.metadata)?
        {
            head.call_depth = depth;
        }
        call_depth::check(head.call_depth, self.max_call_depth)?;
        head.count_depth();
        Ok(())
    }
}
