//! Channels: callers with layers before them.

use std::{
    sync::Arc,
    task::{self, Poll},
};

use tower::Service;
use wawo_protocol::time::after;

use crate::{
    backstop::{SLACK, timeout_at},
    call_target::{CallTarget, Start, TwoWay},
    clock,
    request::{Deadline, Request, WaitsSince},
    response::Response,
    response_future::ResponseFuture,
    serve::{BoxService, CallService, SharedService, call_or_wait, ready_for},
    status::{BoxError, Delivery, Result, Status},
};

/// A caller over any tower service, such as a [`Peer`](crate::Peer) with layers before it.
///
/// ```
/// # fn channel(peer: wawo::Peer) -> wawo::Channel {
/// use std::time::Duration;
/// use tower::{ServiceBuilder, timeout::TimeoutLayer};
///
/// let layers = ServiceBuilder::new().layer(TimeoutLayer::new(Duration::from_secs(1)));
/// wawo::Channel::new(layers.service(peer))
/// # }
/// ```
///
/// The deadline of a call covers its whole way: the wait until the service is ready, queues in layers,
/// and the call itself. If neither the call nor its schema sets a timeout, the [`Config`](crate::Config)
/// of the peer does. Its default runs from when the call comes out of layers that keep calls in a queue
/// of their own, such as tower's `buffer`.
///
/// Layers with timers, such as tower's `timeout` and `rate_limit`, panic outside of a tokio runtime;
/// wawo's own do not.
///
/// It clones cheaply; all clones and all stubs made over it share the service. A call that comes
/// while another is given to the service goes to a clone of it, so that it does not wait.
#[derive(Debug, Clone)]
pub struct Channel(Arc<ChannelService>);

#[derive(Debug)]
struct ChannelService(SharedService<BoxService>);

impl Channel {
    /// Creates a channel to a service.
    pub fn new(service: impl CallService) -> Self {
        let service = BoxService::new(DeadlineService(service));
        Self(Arc::new(ChannelService(SharedService::new(service))))
    }
}

impl CallTarget for Channel {
    type Ability = TwoWay;

    fn handle(&self) -> Arc<dyn Start> {
        self.0.clone()
    }
}

impl Start for ChannelService {
    fn start(self: Arc<Self>, request: Request) -> ResponseFuture {
        self.0.begin(|service| service.call(request))
    }
}

/// A service whose calls end at their deadlines, in whatever layer they are. It is always ready, because
/// the wait for the inner service is a part of the call.
#[derive(Debug, Clone)]
struct DeadlineService<S>(S);

impl<S: CallService> Service<Request> for DeadlineService<S> {
    type Response = Response;
    type Error = Status;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> ResponseFuture {
        let deadline = request.head().sourced_deadline();
        let reply = call_or_wait(&mut self.0, request, |service, request| {
            ResponseFuture::new(call_when_ready(service, request))
        });
        match deadline {
            Some(deadline) if !reply.keeps_deadline() => {
                ResponseFuture::boxed(end_late(reply, deadline))
            }
            _ => reply,
        }
    }
}

/// Waits for the service within the deadline of the call, and calls it.
async fn call_when_ready<S: CallService>(
    mut service: S,
    mut request: Request,
) -> Result<Response, BoxError> {
    let since = WaitsSince(clock::now());
    request.extensions_mut().insert(since);
    match request.head().sourced_deadline() {
        None => ready_for(&mut service, &request)
            .await
            .map_err(Into::into)?,
        Some(deadline) => {
            let ready = ready_for(&mut service, &request);
            match timeout_at(deadline.at, ready).await {
                Some(ready) => ready.map_err(Into::into)?,
                None => {
                    let status = passed(deadline, "the call waited for a service to be ready");
                    return Err(status.with_delivery(Delivery::NotSent).into());
                }
            }
        }
    }
    let reply = service.call(request);
    drop(service);
    reply.await.map_err(Into::into)
}

/// Ends a call that has not ended at its deadline. It waits a little longer than a connection, which ends
/// its calls itself and knows more: whether the call was sent, and to which peer.
async fn end_late(reply: ResponseFuture, deadline: Deadline) -> Result<Response> {
    let result = timeout_at(after(deadline.at, SLACK), reply).await;
    result.unwrap_or_else(|| {
        let status = passed(deadline, "the call was in a layer");
        Err(status.with_delivery(Delivery::Unknown))
    })
}

/// The status of a call whose deadline passed; `meanwhile` says what it was waiting for.
fn passed(deadline: Deadline, meanwhile: &str) -> Status {
    let setting = deadline.source.with_value(None);
    Status::deadline_exceeded(format!("the deadline passed while {meanwhile} ({setting})"))
}
