//! Services that can be served: tower services that know which service of the schema they are.

pub(crate) mod inbound;
mod shared;

use std::{
    future::poll_fn,
    mem,
    sync::Arc,
    task::{self, Poll, Waker},
};

use tower::{Layer, Service};
use wawo_protocol::MethodId;

pub(crate) use crate::serve::shared::{SharedService, Template};
use crate::{
    call_depth,
    descriptor::{MethodDescriptor, MethodNames, ServiceDescriptor},
    layer::PanicGuard,
    observe::{CallSpan, Observers},
    request::Request,
    response::Response,
    response_future::ResponseFuture,
    status::{BoxError, Result, Status},
};

/// A service of the schema that can be served: a generated `..Server`, with or without layers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a served wawo service",
    label = "expected a generated `..Server`",
    note = "write `ChatServer::new(room)`; put layers on with `.layer(..)`, which keeps the service id"
)]
pub trait Serve:
    Service<Request, Response = Response, Error = Status, Future = ResponseFuture>
    + Clone
    + Send
    + 'static
{
    /// The description of this service.
    fn descriptor(&self) -> &ServiceDescriptor;
}

/// A served service with a layer around all of its methods, or around one: made by `layer` and
/// `layer_method` of a generated server. It is served as the service itself is, under the same id.
#[derive(Debug, Clone)]
pub struct Layered<S, L> {
    inner: S,
    layered: L,
    /// The method that has the layer; `None` if all have it.
    only: Option<MethodId>,
}

impl<S: Serve, L> Layered<S, L> {
    /// For generated code: puts `layer` around `inner`, or around one of its methods.
    ///
    /// # Panics
    ///
    /// If the method is one of another service.
    #[doc(hidden)]
    #[track_caller]
    pub fn new(
        inner: S,
        layer: impl Layer<PanicGuard<S>, Service = L>,
        only: Option<&MethodDescriptor>,
    ) -> Self {
        if let Some(method) = only {
            check_method(inner.descriptor(), method);
        }
        Self {
            layered: layer.layer(PanicGuard::new(inner.clone())),
            inner,
            only: only.map(MethodDescriptor::id),
        }
    }

    /// Puts another layer around all methods, outside of those that are there.
    pub fn layer<M: Layer<PanicGuard<Self>>>(self, layer: M) -> Layered<Self, M::Service>
    where
        Self: Serve,
    {
        Layered::new(self, layer, None)
    }

    /// Puts another layer around one method, outside of those that are there.
    ///
    /// # Panics
    ///
    /// If the method is one of another service: the layer would never be called.
    #[track_caller]
    pub fn layer_method<M: Layer<PanicGuard<Self>>>(
        self,
        method: &MethodDescriptor,
        layer: M,
    ) -> Layered<Self, M::Service>
    where
        Self: Serve,
    {
        Layered::new(self, layer, Some(method))
    }
}

/// A layer around a method that the service does not have would never be called, so it would protect
/// nothing.
#[track_caller]
fn check_method(service: &ServiceDescriptor, method: &MethodDescriptor) {
    let own = service.method(method.id());
    assert!(
        own.is_some_and(|own| own.path() == method.path()),
        "a layer of the service `{}` was given for the method `{method}`, which it does not have",
        service.name()
    );
}

impl<S: Serve, L: CallService> Service<Request> for Layered<S, L> {
    type Response = Response;
    type Error = Status;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<()>> {
        // Only the request tells whether it is for `layered` or `inner`, so `call_now` polls the right
        // one.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> ResponseFuture {
        match self.only {
            Some(method) if method != request.method() => call_now(&mut self.inner, request),
            _ => call_now(&mut self.layered, request),
        }
    }
}

impl<S: Serve, L: CallService> Serve for Layered<S, L> {
    fn descriptor(&self) -> &ServiceDescriptor {
        self.inner.descriptor()
    }
}

/// Any tower service that takes calls, such as a service or a caller with layers.
pub trait CallService:
    Service<Request, Response = Response, Error: Into<BoxError>, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S> CallService for S where
    S: Service<Request, Response = Response, Error: Into<BoxError>, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

/// Calls a service at once if it is ready, else when it becomes ready.
///
/// A service that is not ready may have a place in a queue, such as that of a semaphore. It moves into
/// the future together with its place, and a fresh clone stays here. If it stayed here, its place would
/// come up while nobody polls it, and all others in the queue would wait for ever.
fn call_now<S: CallService>(service: &mut S, request: Request) -> ResponseFuture {
    call_or_wait(service, request, |waiting, request| {
        ResponseFuture::new(call_when_ready(waiting, request))
    })
}

async fn call_when_ready<S: CallService>(
    mut service: S,
    request: Request,
) -> Result<Response, S::Error> {
    ready_for(&mut service, &request).await?;
    let reply = service.call(request);
    drop(service);
    reply.await
}

/// Waits until a service is ready for a call.
pub(crate) fn ready_for<S: CallService>(
    service: &mut S,
    request: &Request,
) -> impl Future<Output = Result<(), S::Error>> {
    let depth = request.head().call_depth;
    poll_fn(move |cx| call_depth::scope(depth, || service.poll_ready(cx)))
}

/// Calls a service, as [`call_now`] does; `wait` is how a service that is not ready waits.
pub(crate) fn call_or_wait<S: CallService>(
    service: &mut S,
    request: Request,
    wait: impl FnOnce(S, Request) -> ResponseFuture,
) -> ResponseFuture {
    let mut cx = task::Context::from_waker(Waker::noop());
    match service.poll_ready(&mut cx) {
        Poll::Ready(Ok(())) => ResponseFuture::new(service.call(request)),
        Poll::Ready(Err(error)) => ResponseFuture::ready(Err(Status::from_error(error))),
        Poll::Pending => {
            let fresh = service.clone();
            wait(mem::replace(service, fresh), request)
        }
    }
}

/// A service whose type is erased, so that services of many types fit into one table.
pub(crate) struct BoxService {
    service: Box<dyn DynService>,
    names: MethodNames,
    observers: Option<Arc<Observers>>,
}

trait DynService: Send {
    fn call(&mut self, request: Request) -> ResponseFuture;
    fn boxed(&self) -> Box<dyn DynService>;
}

impl<S: CallService> DynService for S {
    fn call(&mut self, request: Request) -> ResponseFuture {
        call_now(self, request)
    }

    fn boxed(&self) -> Box<dyn DynService> {
        Box::new(self.clone())
    }
}

impl BoxService {
    pub(crate) fn new(service: impl CallService) -> Self {
        Self {
            service: Box::new(service),
            names: MethodNames::default(),
            observers: None,
        }
    }

    /// Sets the names of the methods behind it, for the log.
    pub(crate) fn with_names(mut self, names: MethodNames) -> Self {
        self.names = names;
        self
    }

    pub(crate) fn names(&self) -> &MethodNames {
        &self.names
    }

    /// Sets the observers of all calls of the side that serves it, in both directions.
    pub(crate) fn with_observers(mut self, observers: Option<Arc<Observers>>) -> Self {
        self.observers = observers;
        self
    }

    pub(crate) fn observers(&self) -> Option<&Arc<Observers>> {
        self.observers.as_ref()
    }

    /// Serves each call in the [span](CallSpan) that it carries.
    pub(crate) fn in_spans(self) -> Self {
        Self {
            service: Box::new(SpannedService(self.service)),
            ..self
        }
    }

    pub(crate) fn call(&mut self, request: Request) -> ResponseFuture {
        self.service.call(request)
    }
}

/// A service that serves each call in its span.
struct SpannedService(Box<dyn DynService>);

impl DynService for SpannedService {
    fn call(&mut self, mut request: Request) -> ResponseFuture {
        match request.extensions_mut().remove::<CallSpan>() {
            None => self.0.call(request),
            Some(CallSpan(span)) => span.in_scope(|| self.0.call(request)).in_span(&span),
        }
    }

    fn boxed(&self) -> Box<dyn DynService> {
        Box::new(Self(self.0.boxed()))
    }
}

impl Clone for BoxService {
    fn clone(&self) -> Self {
        Self {
            service: self.service.boxed(),
            names: self.names.clone(),
            observers: self.observers.clone(),
        }
    }
}

impl std::fmt::Debug for BoxService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BoxService")
    }
}
