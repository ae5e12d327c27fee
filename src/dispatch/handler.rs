//! Adapters from encoded requests to handlers and back, one for each shape of call. Generated servers
//! call them, in one line for each method.

use std::{collections::VecDeque, future::Future};

use bytes::Bytes;
use wawo_protocol::MessageBytes;

use crate::{
    body::{Body, Streaming},
    call::cancellable_requests,
    codec::Codec,
    context::Context,
    decoding::{self, Reservation, StreamMemory},
    descriptor::{MethodDescriptor, ServiceDescriptor, list},
    dispatch::{
        blocking, blocking_future::BlockingFuture, handler_future::HandlerFuture,
        only_request::only_request, replies::encode_all, run_to_completion::RunToCompletion,
    },
    request::Request,
    response_future::ResponseFuture,
    status::{Delivery, Result, Status},
    wake_io::{LARGE_BYTES, wake_io},
};

/// One request, one reply.
pub fn unary<C, Q, R, F>(
    method: &'static MethodDescriptor,
    codec: C,
    request: Request,
    handler: impl FnOnce(Context, Q) -> F + Send + 'static,
) -> ResponseFuture
where
    C: Codec<Q> + Codec<R>,
    Q: Send + 'static,
    F: Future<Output = Result<R>> + Send + 'static,
{
    one_request(
        method,
        codec,
        request,
        handler,
        move |_, reply: Result<R>| Ok(Body::One(codec.encode_linked(&reply?))),
    )
}

/// One request, nothing back.
pub fn one_way<C, Q, F>(
    method: &'static MethodDescriptor,
    codec: C,
    request: Request,
    handler: impl FnOnce(Context, Q) -> F + Send + 'static,
) -> ResponseFuture
where
    C: Codec<Q>,
    Q: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    one_request(method, codec, request, handler, |_, ()| {
        Ok(Body::One(MessageBytes::default()))
    })
}

/// One request, a stream of replies.
pub fn server_streaming<C, Q, R, F>(
    method: &'static MethodDescriptor,
    codec: C,
    request: Request,
    handler: impl FnOnce(Context, Q) -> F + Send + 'static,
) -> ResponseFuture
where
    C: Codec<Q> + Codec<R>,
    Q: Send + 'static,
    R: Send + 'static,
    F: Future<Output = Result<Streaming<R>>> + Send + 'static,
{
    one_request(method, codec, request, handler, move |context, replies| {
        Ok(encode_all(codec, context, replies?))
    })
}

/// A stream of requests, one reply.
pub fn client_streaming<C, Q, R, F>(
    method: &'static MethodDescriptor,
    codec: C,
    request: Request,
    handler: impl FnOnce(Context, Streaming<Q>) -> F + Send + 'static,
) -> ResponseFuture
where
    C: Codec<Q> + Codec<R>,
    Q: Send + 'static,
    F: Future<Output = Result<R>> + Send + 'static,
{
    many_requests(
        method,
        codec,
        request,
        handler,
        move |_, reply: Result<R>| Ok(Body::One(codec.encode_linked(&reply?))),
    )
}

/// A stream of requests, a stream of replies.
pub fn bidi_streaming<C, Q, R, F>(
    method: &'static MethodDescriptor,
    codec: C,
    request: Request,
    handler: impl FnOnce(Context, Streaming<Q>) -> F + Send + 'static,
) -> ResponseFuture
where
    C: Codec<Q> + Codec<R>,
    Q: Send + 'static,
    R: Send + 'static,
    F: Future<Output = Result<Streaming<R>>> + Send + 'static,
{
    many_requests(method, codec, request, handler, move |context, replies| {
        Ok(encode_all(codec, context, replies?))
    })
}

/// Responds to a call of a method that the service does not have.
pub fn unimplemented(service: &ServiceDescriptor, request: Request) -> ResponseFuture {
    let (name, id) = (service.name(), request.method());
    let methods = list(service.methods().map(MethodDescriptor::name));
    let text = format!("`{name}` has no method with id {id}; it has {methods}");
    let status = Status::unimplemented(text).with_delivery(Delivery::NotSent);
    ResponseFuture::ready(Err(status))
}

fn one_request<C, Q, F>(
    method: &'static MethodDescriptor,
    codec: C,
    request: Request,
    handler: impl FnOnce(Context, Q) -> F + Send + 'static,
    into_body: impl Fn(&Context, F::Output) -> Result<Body> + Send + 'static,
) -> ResponseFuture
where
    C: Codec<Q>,
    Q: Send + 'static,
    F: Future + Send + 'static,
{
    let (context, body) = Context::of(method.into(), request);
    let bytes = match body {
        Body::One(message) => message.into_bytes(),
        Body::Many(requests) => {
            return streamed_request(method, codec, (context, requests), handler, into_body);
        }
    };
    let is_little = decoding::is_little(method, bytes.len()) && bytes.len() <= LARGE_BYTES;
    if !is_little || context.is_blocking() {
        return heavy_request(method, codec, (context, bytes), handler, into_body);
    }
    match decode(method, codec, bytes) {
        Ok(message) => run(context, |context| handler(context, message), into_body),
        Err(status) => ResponseFuture::ready(Err(status)),
    }
}

/// Handles the request of a call that came as a stream. The handler begins when the requests have ended.
#[cold]
fn streamed_request<C, Q, F>(
    method: &'static MethodDescriptor,
    codec: C,
    (context, requests): (Context, Streaming<Bytes>),
    handler: impl FnOnce(Context, Q) -> F + Send + 'static,
    into_body: impl Fn(&Context, F::Output) -> Result<Body> + Send + 'static,
) -> ResponseFuture
where
    C: Codec<Q>,
    Q: Send + 'static,
    F: Future + Send + 'static,
{
    ResponseFuture::boxed(async move {
        let bytes = only_request(method, requests).await?;
        heavy_request(method, codec, (context, bytes), handler, into_body).await
    })
}

/// Handles a request that takes long to decode, or whose memory is counted until the handler ends, or
/// whose handler blocks. It is a function of its own, so that the futures of all other requests are built
/// where they run.
#[inline(never)]
fn heavy_request<C, Q, F>(
    method: &'static MethodDescriptor,
    codec: C,
    (context, bytes): (Context, Bytes),
    handler: impl FnOnce(Context, Q) -> F + Send + 'static,
    into_body: impl Fn(&Context, F::Output) -> Result<Body> + Send + 'static,
) -> ResponseFuture
where
    C: Codec<Q>,
    Q: Send + 'static,
    F: Future + Send + 'static,
{
    let reserved = match decoding::reserve(method, codec, &bytes, context.decoding_limits()) {
        Ok(reserved) => reserved,
        Err(status) => return ResponseFuture::ready(Err(status)),
    };
    let length = bytes.len();
    let decode = move || decode(method, codec, bytes);
    let serve = move |context: Context, message, reserved| {
        let begin = |context| handler(context, message);
        match reserved {
            None => run(context, begin, into_body),
            Some(reserved) => run_counted(context, begin, into_body, reserved),
        }
    };
    if context.is_blocking() {
        let of_call = context.clone();
        return blocking::run(of_call, length, move || match decode() {
            Ok(message) => serve(context, message, reserved),
            Err(status) => ResponseFuture::ready(Err(status)),
        });
    }
    if length > LARGE_BYTES && !wake_io() {
        return ResponseFuture::boxed(async move {
            // The job holds the reservation until it ends, because it may go on when its call is over.
            let decode = move || Ok((decode()?, reserved));
            let decoded = BlockingFuture::begin(context.clone(), length, decode)?;
            let (message, reserved) = decoded.await?;
            serve(context, message, reserved).await
        });
    }
    match decode() {
        Ok(message) => serve(context, message, reserved),
        Err(status) => ResponseFuture::ready(Err(status)),
    }
}

fn many_requests<C, Q, F>(
    method: &'static MethodDescriptor,
    codec: C,
    request: Request,
    handler: impl FnOnce(Context, Streaming<Q>) -> F + Send + 'static,
    into_body: impl Fn(&Context, F::Output) -> Result<Body> + Send + 'static,
) -> ResponseFuture
where
    C: Codec<Q>,
    Q: Send + 'static,
    F: Future + Send + 'static,
{
    let (context, body) = Context::of(method.into(), request);
    let begin = move |context: Context| {
        let requests = decode_all(method, codec, body, &context);
        run(context, |context| handler(context, requests), into_body)
    };
    match context.is_blocking() {
        true => blocking::run(context.clone(), 0, || begin(context)),
        false => begin(context),
    }
}

/// Runs a handler as [`run`] does, and holds the reservation of its request's memory until it has ended.
fn run_counted<F: Future + Send + 'static>(
    context: Context,
    begin: impl FnOnce(Context) -> F,
    body: impl Fn(&Context, F::Output) -> Result<Body> + Send + 'static,
    reserved: Reservation,
) -> ResponseFuture {
    let handler = begin(context.clone());
    let reply = ResponseFuture::boxed(HandlerFuture::new(context.clone(), handler, body));
    let reply = reserved.hold_for(reply);
    match context.runs_to_completion() {
        false => ResponseFuture::boxed(reply),
        true => ResponseFuture::boxed(RunToCompletion::new(context, reply)),
    }
}

/// Begins a handler, and runs it in its context. The handler is cancelled if it is dropped, and its
/// status is made fit to be sent. Always inlined, so that the future is built where it runs: each move
/// of it costs every call.
#[inline(always)]
pub(super) fn run<F: Future + Send + 'static>(
    context: Context,
    begin: impl FnOnce(Context) -> F,
    body: impl Fn(&Context, F::Output) -> Result<Body> + Send + 'static,
) -> ResponseFuture {
    if !context.runs_to_completion() {
        return ResponseFuture::boxed_in_place(|| {
            let handler = begin(context.clone());
            HandlerFuture::new(context, handler, body)
        });
    }
    let handler = begin(context.clone());
    let reply = HandlerFuture::new(context.clone(), handler, body);
    ResponseFuture::boxed(RunToCompletion::new(context, reply))
}

fn decode<C: Codec<Q>, Q>(method: &'static MethodDescriptor, codec: C, bytes: Bytes) -> Result<Q> {
    let length = bytes.len();
    let request = codec.decode(bytes);
    request.map_err(|error| Status::from_bad_request(method, length, error))
}

fn decode_all<C, Q>(
    method: &'static MethodDescriptor,
    codec: C,
    body: Body,
    context: &Context,
) -> Streaming<Q>
where
    C: Codec<Q>,
    Q: Send + 'static,
{
    let requests = match body {
        Body::One(message) => Streaming::once(message.into_bytes()),
        Body::Many(requests) => requests,
    };
    let requests = match method.runs_to_completion() {
        false => requests,
        // In process, requests are the caller's own stream, which does not end with the call by itself.
        true => cancellable_requests(requests, context),
    };
    let decode = move |bytes: &[u8], whole: &Bytes, requests: &mut VecDeque<Q>| {
        let decoded = codec.decode_to(bytes, whole, requests);
        decoded.map_err(|error| Status::from_bad_request(method, bytes.len(), error))
    };
    let memory = StreamMemory::requests::<C, Q>(method, context.decoding_limits());
    requests.decoded(decode, memory, |status| status)
}
