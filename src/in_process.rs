//! A service in the same process, called without a connection.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_core::Stream;
use tokio::runtime::Handle;
use wawo_protocol::{Config, DeadlineSource, MessageBytes, Metadata};

use crate::{
    backstop::{Timer, timeout_at},
    body::{Body, Streaming},
    call_depth,
    call_target::{CallTarget, Start, TwoWay},
    clock,
    descriptor::{MethodIds, MethodNames, ServiceDescriptor},
    panic::{Catch, Part, catch, caught},
    request::{DefaultTimeouts, Request},
    response::Response,
    response_future::ResponseFuture,
    serve::{BoxService, Serve},
    status::{Delivery, Result, Status},
};

/// Carries calls to a service in the same process: for tests, and for parts of a program that may
/// move elsewhere later. Messages are encoded and decoded, layers apply, deadlines run and panics
/// answer `Internal`, as over a connection, and a call for another service `Unimplemented`; there are no sockets and no peer to call back. Calls that
/// set no timeout have the defaults of a [`Config`].
///
/// Calls need no tokio runtime, unless their handlers do. A one-way message is handled in a task of
/// its own: outside of a runtime it fails with `FailedPrecondition`.
#[derive(Debug, Clone)]
pub struct InProcess(Arc<InProcessService>);

#[derive(Debug)]
struct InProcessService {
    descriptor: &'static ServiceDescriptor,
    service: Mutex<BoxService>,
    names: MethodNames,
    config: Config,
}

impl InProcess {
    /// Calls go to this service.
    pub fn new(service: impl Serve) -> Self {
        Self(Arc::new(InProcessService {
            descriptor: service.descriptor(),
            names: MethodNames::new([service.descriptor()].into_iter()),
            service: Mutex::new(BoxService::new(service)),
            config: Config::default(),
        }))
    }
}

impl CallTarget for InProcess {
    type Ability = TwoWay;

    fn handle(&self) -> Arc<dyn Start> {
        self.0.clone()
    }
}

impl Start for InProcessService {
    fn start(self: Arc<Self>, mut request: Request) -> ResponseFuture {
        let now = clock::now();
        let defaults = DefaultTimeouts::new(&self.config);
        request.head_mut().take_default(now, &defaults);
        let end = request.head().deadline.map(|at| Deadline {
            at,
            source: request.head().deadline_source,
            began: now,
        });
        let one_way = request.is_one_way();
        if request.service() != self.descriptor.id() {
            let status = Status::not_served(request.service(), self.descriptor.name());
            return ResponseFuture::ready(Err(status.in_process()));
        }
        let ids = MethodIds {
            service: request.service(),
            method: request.method(),
        };
        let reply = ResponseFuture::boxed(async move {
            let result = self.serve(request, end.as_ref()).await;
            let response = result.map_err(|status| self.failed(ids, status))?;
            let (metadata, body) = response.into_parts();
            Ok(Response::new(metadata, self.guard(ids, body, end)))
        });
        match one_way {
            false => reply,
            true => ResponseFuture::ready(spawn(reply)),
        }
    }
}

impl InProcessService {
    async fn serve(&self, request: Request, end: Option<&Deadline>) -> Result<Response> {
        call_depth::check(request.head().call_depth, self.config.max_call_depth)?;
        let begin = || {
            let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
            service.call(request)
        };
        let mut reply = Catch(catch(Part::Service, begin)?);
        let Some(end) = end else {
            return reply.await;
        };
        let result = timeout_at(end.at, &mut reply).await;
        result.unwrap_or_else(|| Err(end.passed(None, &self.config)))
    }

    /// The status of a call, as its caller gets it.
    #[cold]
    fn failed(&self, ids: MethodIds, status: Status) -> Status {
        status.log(&self.names.name(ids), &"this process");
        status.in_process()
    }

    /// A stream of replies ends at the deadline of its call, and a panic in it stays in it.
    fn guard(self: Arc<Self>, ids: MethodIds, body: Body, end: Option<Deadline>) -> Body {
        match body {
            Body::One(message) => Body::One(message),
            Body::Many(replies) => Body::Many(Streaming::new(ReplyStream {
                service: self,
                ids,
                replies,
                end: end.map(|end| (Timer::surely(end.at), end)),
            })),
        }
    }
}

/// When a call ends, and why.
struct Deadline {
    at: Instant,
    source: DeadlineSource,
    began: Instant,
}

/// Handles a one-way message in a task.
fn spawn(reply: ResponseFuture) -> Result<Response> {
    let Ok(runtime) = Handle::try_current() else {
        let text = "a one-way message in the same process is handled in a task, \
                    which needs a tokio runtime: make the call in one";
        return Err(Status::failed_precondition(text).with_delivery(Delivery::NotSent));
    };
    runtime.spawn(reply);
    nothing()
}

impl Deadline {
    fn passed(&self, under_way: Option<Duration>, config: &Config) -> Status {
        let text = self.source.passed(under_way, config);
        Status::deadline_exceeded(text).with_delivery(Delivery::Unknown)
    }
}

struct ReplyStream {
    service: Arc<InProcessService>,
    ids: MethodIds,
    replies: Streaming<Bytes>,
    end: Option<(Timer, Deadline)>,
}

impl Stream for ReplyStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if let Poll::Ready(item) = caught(Part::Replies, &mut self.replies, cx) {
            let failed = |status| self.service.failed(self.ids, status);
            return Poll::Ready(item.map(|item| item.map_err(failed)));
        }
        let this = &mut *self;
        let Some((timer, deadline)) = &mut this.end else {
            return Poll::Pending;
        };
        ready!(Pin::new(timer).poll(cx));
        let under_way = deadline.at.saturating_duration_since(deadline.began);
        let status = deadline.passed(Some(under_way), &this.service.config);
        // A reader that asks again hears that there is no more.
        this.end = None;
        this.replies = Streaming::empty();
        Poll::Ready(Some(Err(this.service.failed(this.ids, status))))
    }
}

fn nothing() -> Result<Response> {
    Ok(Response::new(
        Metadata::new(),
        Body::One(MessageBytes::default()),
    ))
}
