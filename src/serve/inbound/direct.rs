//! Calls that come without a connection: from this process, or from a guest behind another protocol.
//!
//! No driver keeps the deadlines of such calls. So the future of the response has its own timer, and so
//! has the stream of replies that may follow. Neither needs a tokio runtime.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::runtime::Handle;
use wawo_protocol::{Config, DeadlineSource, Metadata, time::after};

use crate::{
    backstop::Timer,
    body::{Body, Items, Streaming},
    call_side::CallSide,
    clock,
    descriptor::{MethodIds, MethodNames},
    observe::{FarEnd, Observers},
    observed_start::observe,
    panic::{Part, catch},
    request::{Deadline, Request, StreamDeadline},
    response::Response,
    response_future::ResponseFuture,
    serve::{
        BoxService, SharedService,
        inbound::{ExpiringStream, Inbound, Outcome},
    },
    status::{Delivery, Result, Status},
};

/// Serves calls that come without a connection, within the limits of a configuration:
/// `max_call_depth`, `max_timeout` and `max_stream_time`.
pub(crate) struct DirectInbound {
    inbound: Arc<SharedService<Inbound>>,
    names: MethodNames,
    /// The observers, and the other end as they see it.
    observed: Option<(Arc<Observers>, Arc<FarEnd>)>,
    config: Arc<Config>,
}

/// The origin of a call; `Display` prints it for the log.
pub(crate) trait Origin: fmt::Display + Send + Sync + 'static {
    /// Counts a call in flight. [`end_call`](Self::end_call) follows exactly once for each call that was
    /// counted.
    ///
    /// # Errors
    ///
    /// If there are too many calls: this one is refused.
    fn begin_call(&self) -> Result<()> {
        Ok(())
    }

    /// Counts off a call. It has ended, with its stream of replies if it has one, or was dropped.
    fn end_call(&self) {}

    /// Reports that a call met a limit of this side. By default nothing is reported.
    fn limit_met(&self, limit: &'static str, method: &dyn fmt::Display, error: &str) {
        let _ = (limit, method, error);
    }

    /// Adds to a status where it was made, as far as the caller may know it.
    fn place(&self, status: Status) -> Status {
        status
    }
}

impl DirectInbound {
    /// Serves calls with this service. `far_end` is the caller, for the observers of the service.
    pub(crate) fn new(service: BoxService, config: Arc<Config>, far_end: FarEnd) -> Arc<Self> {
        let observers = service.observers().cloned();
        Arc::new(Self {
            names: service.names().clone(),
            observed: observers.map(|observers| (observers, Arc::new(far_end))),
            inbound: Arc::new(SharedService::new(Inbound::new(
                service,
                config.max_call_depth(),
            ))),
            config,
        })
    }

    /// Serves calls with the same service, for these observers.
    pub(crate) fn observed_by(
        &self,
        observers: Option<Arc<Observers>>,
        far_end: FarEnd,
    ) -> Arc<Self> {
        Arc::new(Self {
            inbound: self.inbound.clone(),
            names: self.names.clone(),
            observed: observers.map(|observers| (observers, Arc::new(far_end))),
            config: self.config.clone(),
        })
    }

    /// The observers, and the other end as they see it; `None` if the calls are not observed.
    pub(crate) fn observed(&self) -> Option<&(Arc<Observers>, Arc<FarEnd>)> {
        self.observed.as_ref()
    }

    /// The configuration.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Serves a call; it begins when the future is first polled. A one-way message is handled in a
    /// task, and the future is ready.
    ///
    /// Dropping the future, or the stream of replies, cancels the call. A stream ends at the deadline
    /// of its call.
    pub(crate) fn serve(
        self: Arc<Self>,
        request: Request,
        origin: Arc<dyn Origin>,
    ) -> ResponseFuture {
        self.serve_within(request, origin, |reply| reply)
    }

    /// Serves as [`serve`](Self::serve) does. `around` may end the call earlier.
    pub(crate) fn serve_within(
        self: Arc<Self>,
        mut request: Request,
        origin: Arc<dyn Origin>,
        around: impl FnOnce(ResponseFuture) -> ResponseFuture,
    ) -> ResponseFuture {
        if let (true, Body::Many(_)) = (request.is_one_way(), request.body()) {
            return ResponseFuture::ready(Err(Status::from_one_way_stream()));
        }
        let (ids, one_way) = (request.head().ids(), request.is_one_way());
        let Ok(task_runtime) = one_way.then(Handle::try_current).transpose() else {
            return ResponseFuture::ready(Err(no_runtime()));
        };
        let limits = TimeLimits::of(&mut request, &self.config);
        let descriptor = &mut request.head_mut().descriptor;
        if descriptor.is_none() {
            *descriptor = self.names.method(ids);
        }
        let observed = self.observed.clone();
        let serve = move |request| {
            let call = DirectCall {
                ids,
                one_way,
                limits,
                inbound: self,
                origin,
                is_counted: false,
            };
            around(ResponseFuture::boxed(call.serve(request)))
        };
        let reply = match observed {
            None => serve(request),
            Some((observers, far_end)) => {
                observe(CallSide::Server, &observers, &far_end, request, serve)
            }
        };
        match task_runtime {
            None => reply,
            Some(runtime) => {
                runtime.spawn(reply);
                ResponseFuture::ready(Ok(Response::empty()))
            }
        }
    }
}

impl fmt::Debug for DirectInbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DirectInbound")
    }
}

/// A call in flight. It counts as one until it is dropped.
struct DirectCall {
    inbound: Arc<DirectInbound>,
    origin: Arc<dyn Origin>,
    ids: MethodIds,
    one_way: bool,
    limits: TimeLimits,
    is_counted: bool,
}

impl DirectCall {
    async fn serve(mut self, request: Request) -> Result<Response> {
        let result = self.result(request).await;
        let response = result.map_err(|status| self.failed(status))?;
        Ok(response.map_stream(|replies| self.watch(replies)))
    }

    async fn result(&mut self, request: Request) -> Result<Response> {
        self.origin.begin_call()?;
        self.is_counted = true;
        let deadline = match request.body() {
            Body::One(_) => self.limits.call,
            Body::Many(_) => self.limits.stream,
        };
        let inbound = &self.inbound.inbound;
        // It may clone the service, which is the user's code too.
        let begun = catch(Part::Service, || {
            inbound.begin(|inbound| inbound.begin(request))
        })??;
        let Some(deadline) = deadline else {
            return begun.await;
        };
        match begun.until(deadline.at, Timer::independent).await {
            Outcome::Ended(result) => result,
            Outcome::Expired(seen_by_layers) => {
                self.log(seen_by_layers);
                Err(passed(deadline, None, self.inbound.config()))
            }
        }
    }

    /// Ends a stream of replies with its call.
    fn watch(self, replies: Streaming<Bytes>) -> Streaming<Bytes> {
        let deadline = self.limits.stream;
        let at = deadline.map(|deadline| deadline.at);
        Streaming::of_items(ReplyStream {
            replies: ExpiringStream::replies(replies, at),
            timer: at.map(Timer::independent),
            call: Some(self),
        })
    }

    /// The status of a failed call, in the form that its caller gets.
    #[cold]
    fn failed(&self, status: Status) -> Status {
        let name = self.inbound.names.name(self.ids);
        match self.one_way {
            false => status.log(&name, &self.origin),
            true => status.log_one_way(&name, &self.origin),
        }
        if let Some(limit) = status.limit() {
            self.origin.limit_met(limit, &name, status.message());
        }
        self.origin.place(status)
    }

    /// Logs why a call failed, if its caller does not get that status.
    #[cold]
    fn log(&self, result: Result<Response>) {
        if let Err(status) = result {
            status.log(&self.inbound.names.name(self.ids), &self.origin);
        }
    }

    /// The status of a stream of replies whose deadline has passed.
    #[cold]
    fn stream_expired(&self) -> Option<Status> {
        let deadline = self.limits.stream?;
        let under_way = deadline.at.saturating_duration_since(self.limits.began);
        let status = passed(deadline, Some(under_way), self.inbound.config());
        Some(self.failed(status))
    }
}

impl Drop for DirectCall {
    fn drop(&mut self) {
        if self.is_counted {
            self.origin.end_call();
        }
    }
}

/// How long a call may take, by its shape.
#[derive(Debug, Clone, Copy)]
struct TimeLimits {
    began: Instant,
    /// The deadline of a call with one message each way.
    call: Option<Deadline>,
    /// The deadline of a call with a stream in either direction.
    stream: Option<Deadline>,
}

impl TimeLimits {
    /// The deadline that the caller set, or that of the configuration if it is earlier. The handler reads
    /// it from the request.
    fn of(request: &mut Request, config: &Config) -> Self {
        let began = clock::now();
        let is_stream = matches!(request.body(), Body::Many(_));
        let head = request.head_mut();
        let asked = head.sourced_deadline();
        let bound = |max: Option<Duration>, source| {
            let own = max.map(|max| Deadline {
                at: after(began, max),
                source,
            });
            let both = [asked, own].into_iter().flatten();
            both.min_by_key(|deadline| deadline.at)
        };
        let call = bound(config.max_timeout(), DeadlineSource::MaxTimeout);
        let stream = match config.max_stream_time() {
            None => call,
            max => bound(max, DeadlineSource::MaxStreamTime),
        };
        let at = |deadline: Option<Deadline>| deadline.map(|deadline| deadline.at);
        head.deadline = at(if is_stream { stream } else { call });
        if config.max_stream_time().is_some() {
            head.extensions.insert(StreamDeadline(at(stream)));
        }
        Self {
            began,
            call,
            stream,
        }
    }
}

/// The status of a call whose deadline has passed; for a stream, after how long.
fn passed(deadline: Deadline, under_way: Option<Duration>, config: &Config) -> Status {
    let text = deadline.source.passed(under_way, config);
    Status::deadline_exceeded(text).with_delivery(Delivery::Unknown)
}

/// The status of a one-way message outside of a runtime, which has no task for it.
#[cold]
fn no_runtime() -> Status {
    let text = "a one-way message in the same process is handled in a task, \
                which needs a tokio runtime: make the call in one";
    Status::failed_precondition(text).with_delivery(Delivery::NotSent)
}

/// The replies of a call, until its deadline.
struct ReplyStream {
    // The first field, so that it is dropped before the call counts as ended.
    replies: ExpiringStream,
    timer: Option<Timer>,
    /// `None` once the stream has ended.
    call: Option<DirectCall>,
}

impl Items<Bytes> for ReplyStream {
    fn poll_item(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<Bytes>,
    ) -> Poll<Option<Result<Bytes>>> {
        let this = &mut *self;
        let Some(call) = &this.call else {
            return Poll::Ready(None);
        };
        let end = match this.replies.poll_next(cx) {
            Poll::Ready(Some(Ok(message))) => return Poll::Ready(Some(Ok(message))),
            Poll::Ready(end) => end.map(|end| end.map_err(|status| call.failed(status))),
            Poll::Pending => {
                let Some(timer) = &mut this.timer else {
                    return Poll::Pending;
                };
                ready!(Pin::new(timer).poll(cx));
                this.replies.expire();
                call.stream_expired().map(Err)
            }
        };
        // From now on, the stream only says that it has ended.
        this.call = None;
        Poll::Ready(end)
    }

    fn take_trailing_metadata(mut self: Pin<&mut Self>) -> Metadata {
        self.replies.take_trailing_metadata()
    }
}

#[cfg(test)]
mod tests;
