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
use wawo_protocol::{Metadata, Payload, time::after};

use crate::{
    backstop::{Timer, timeout_at},
    body::{Body, Streaming},
    caller::{Calls, Start, TwoWay},
    depth,
    descriptor::{MethodIds, MethodNames},
    panic::{Catch, Part, catch, caught},
    reply::ReplyFuture,
    request::Request,
    response::Response,
    serve::{BoxService, Serve},
    status::{Delivery, Result, Status},
};

/// Carries calls to a service in the same process: for tests, and for parts of a program that may
/// move elsewhere later. Messages are encoded and decoded, layers apply, deadlines run and panics
/// answer `Internal`, as over a connection; there are no sockets and no peer to call back.
///
/// Calls need no tokio runtime, unless their handlers do. A one-way message is handled in a task of
/// its own: outside of a runtime it fails with `FailedPrecondition`.
#[derive(Debug, Clone)]
pub struct InProcess(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    service: Mutex<BoxService>,
    names: MethodNames,
    default_timeout: Duration,
}

impl InProcess {
    /// Calls go to this service. Calls without a deadline have ten seconds, as over a connection.
    pub fn new(service: impl Serve) -> Self {
        Self(Arc::new(Shared {
            names: MethodNames::new([service.descriptor()].into_iter()),
            service: Mutex::new(BoxService::new(service)),
            default_timeout: Duration::from_secs(10),
        }))
    }
}

impl Calls for InProcess {
    type Ability = TwoWay;

    fn handle(&self) -> Arc<dyn Start> {
        self.0.clone()
    }
}

impl Start for Shared {
    fn start(self: Arc<Self>, mut request: Request) -> ReplyFuture {
        let now = tokio::time::Instant::now().into_std();
        let deadline = request
            .deadline()
            .unwrap_or_else(|| after(now, self.default_timeout));
        request.set_deadline(Some(deadline));
        let one_way = request.is_one_way();
        let ids = MethodIds {
            service: request.service(),
            method: request.method(),
        };
        let reply = ReplyFuture::boxed(async move {
            let result = self.serve(request, deadline).await;
            let response = result.map_err(|status| self.failed(ids, status))?;
            let (metadata, body) = response.into_parts();
            Ok(Response::new(metadata, self.guard(ids, body, deadline)))
        });
        match one_way {
            false => reply,
            true => ReplyFuture::ready(spawn(reply)),
        }
    }
}

impl Shared {
    async fn serve(&self, request: Request, deadline: Instant) -> Result<Response> {
        depth::check(request.head().depth, MAX_CALL_DEPTH)?;
        let begin = || {
            let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
            service.call(request)
        };
        let mut reply = Catch(catch(Part::Service, begin)?);
        let result = timeout_at(deadline, &mut reply).await;
        result.unwrap_or_else(|| Err(too_late()))
    }

    /// The status of a call, as its caller gets it.
    #[cold]
    fn failed(&self, ids: MethodIds, status: Status) -> Status {
        status.log(&self.names.name(ids), &"this process");
        status.in_process()
    }

    /// A stream of replies ends at the deadline of its call, and a panic in it stays in it.
    fn guard(self: Arc<Self>, ids: MethodIds, body: Body, deadline: Instant) -> Body {
        match body {
            Body::One(message) => Body::One(message),
            Body::Many(replies) => Body::Many(Streaming::new(Guarded {
                service: self,
                ids,
                replies,
                deadline: Timer::surely(deadline),
            })),
        }
    }
}

/// As over a connection by default: see `max_call_depth` of [`Config`](wawo_protocol::Config).
const MAX_CALL_DEPTH: u32 = 16;

/// Handles a one-way message in a task.
fn spawn(reply: ReplyFuture) -> Result<Response> {
    let Ok(runtime) = Handle::try_current() else {
        let text = "a one-way message in the same process is handled in a task, \
                    which needs a tokio runtime: make the call in one";
        return Err(Status::failed_precondition(text).with_delivery(Delivery::NotSent));
    };
    runtime.spawn(reply);
    nothing()
}

fn too_late() -> Status {
    Status::deadline_exceeded("no reply before the deadline").with_delivery(Delivery::Unknown)
}

struct Guarded {
    service: Arc<Shared>,
    ids: MethodIds,
    replies: Streaming<Bytes>,
    deadline: Timer,
}

impl Stream for Guarded {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if let Poll::Ready(item) = caught(Part::Replies, &mut self.replies, cx) {
            let failed = |status| self.service.failed(self.ids, status);
            return Poll::Ready(item.map(|item| item.map_err(failed)));
        }
        ready!(Pin::new(&mut self.deadline).poll(cx));
        self.replies = Streaming::empty();
        Poll::Ready(Some(Err(self.service.failed(self.ids, too_late()))))
    }
}

fn nothing() -> Result<Response> {
    Ok(Response::new(
        Metadata::new(),
        Body::One(Payload::default()),
    ))
}
