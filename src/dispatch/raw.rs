//! Services that are described at run time: those of a script, a plug-in, or a proxy.

use std::{
    fmt,
    future::Future,
    sync::Arc,
    task::{self, Poll},
};

use bytes::Bytes;
use tower::Service;
use wawo_protocol::MessageBytes;

use crate::{
    body::{Body, Streaming},
    call::cancellable_requests,
    codec::RawBytes,
    context::Context,
    descriptor::{MethodRef, ServiceDescriptor, Shape},
    dispatch::{
        blocking,
        handler::{run, unimplemented},
        only_request::only_request,
        replies::encode_all,
    },
    request::Request,
    response::Response,
    response_future::ResponseFuture,
    serve::Serve,
    status::{Result, Status},
};

/// Serves the service of a descriptor, with one handler for all of its methods. The handler gets encoded
/// messages and returns encoded messages; [`Context::method`] says which method is called. Clones share
/// it.
///
/// It works as a generated service does: it has layers, a context and limits, and is found by its id. For
/// methods that take a stream, the handler gets [`Body::Many`], else [`Body::One`]. For a method whose
/// reply is a stream, it returns `Body::Many`, or `Body::One` for a stream of one message. The body that
/// it returns for a one-way method is not sent.
///
/// ```
/// use wawo::{Body, Context, MethodDescriptor, RawService, Result, ServiceDescriptor, Shape};
///
/// let twice = MethodDescriptor::builder("Echo", Shape::Unary);
/// let service = ServiceDescriptor::builder("scripts.Echo").method(twice).build()?;
/// let service = RawService::new(service, |_cx: Context, request: Body| async { Ok(request) });
/// let server = wawo::Server::builder().add_service(service);
/// # Ok::<(), wawo::DescriptorError>(())
/// ```
pub struct RawService<H>(Arc<RawParts<H>>);

struct RawParts<H> {
    descriptor: ServiceDescriptor,
    /// The methods, in the form in which calls hold them.
    methods: Vec<MethodRef>,
    handler: H,
}

impl<H, F> RawService<H>
where
    H: Fn(Context, Body) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Body>> + Send + 'static,
{
    /// Serves the methods of this descriptor.
    pub fn new(descriptor: ServiceDescriptor, handler: H) -> Self {
        let methods = descriptor.methods().cloned().map(MethodRef::from);
        Self(Arc::new(RawParts {
            methods: methods.collect(),
            descriptor,
            handler,
        }))
    }
}

impl<H> Clone for RawService<H> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<H> fmt::Debug for RawService<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawService({})", self.0.descriptor.name())
    }
}

impl<H, F> Serve for RawService<H>
where
    H: Fn(Context, Body) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Body>> + Send + 'static,
{
    fn descriptor(&self) -> &ServiceDescriptor {
        &self.0.descriptor
    }
}

impl<H, F> Service<Request> for RawService<H>
where
    H: Fn(Context, Body) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Body>> + Send + 'static,
{
    type Response = Response;
    type Error = Status;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> ResponseFuture {
        let parts = self.0.clone();
        let mut methods = parts.methods.iter();
        let Some(method) = methods.find(|method| method.id() == request.method()) else {
            return unimplemented(&parts.descriptor, request);
        };
        let method = method.clone();
        handle(method, request, move |context, body| {
            (parts.handler)(context, body)
        })
    }
}

/// Runs a handler on a call. A single request that came as a stream is read first.
fn handle<F>(
    method: MethodRef,
    request: Request,
    handler: impl FnOnce(Context, Body) -> F + Send + 'static,
) -> ResponseFuture
where
    F: Future<Output = Result<Body>> + Send + 'static,
{
    let (context, body) = Context::of(method, request);
    match body {
        Body::Many(requests) if !context.method().shape().streams_requests() => {
            ResponseFuture::boxed(async move {
                let request = only_request(context.method(), requests).await?;
                begin(context, Body::One(request.into()), handler).await
            })
        }
        body => begin(context, body, handler),
    }
}

/// Begins a handler: in this task or, if its method is declared as blocking, in another thread.
fn begin<F>(
    context: Context,
    body: Body,
    handler: impl FnOnce(Context, Body) -> F + Send + 'static,
) -> ResponseFuture
where
    F: Future<Output = Result<Body>> + Send + 'static,
{
    let bytes = body.message_bytes();
    let begin = move |context: Context| {
        let requests = requests(body, &context);
        run(context, |context| handler(context, requests), replies)
    };
    match context.is_blocking() {
        true => blocking::run(context.clone(), bytes, || begin(context)),
        false => begin(context),
    }
}

/// The messages of a call in the form that its method has: one message or a stream.
fn requests(body: Body, context: &Context) -> Body {
    let method = context.method();
    match body {
        Body::One(message) if method.shape().streams_requests() => {
            Body::Many(Streaming::once(message.into_bytes()))
        }
        // In process, requests are the caller's own stream, which does not end with the call by itself.
        Body::Many(requests) if method.runs_to_completion() => {
            Body::Many(cancellable_requests(requests, context))
        }
        body => body,
    }
}

/// The body that a handler returned, in the form that its method has: one message or a stream.
fn replies(context: &Context, body: Result<Body>) -> Result<Body> {
    let method = context.method();
    let one = |message: Bytes| encode_all(RawBytes, context, Streaming::once(message));
    match (body?, method.shape()) {
        (_, Shape::OneWay) => Ok(Body::One(MessageBytes::default())),
        (Body::One(message), shape) if shape.streams_replies() => Ok(one(message.into_bytes())),
        (Body::One(message), _) => Ok(Body::One(message)),
        (Body::Many(replies), shape) if shape.streams_replies() => {
            Ok(encode_all(RawBytes, context, replies))
        }
        (Body::Many(_), _) => {
            let text = format!("the handler of `{method}` returned a stream, not one reply");
            Err(Status::internal(text))
        }
    }
}
