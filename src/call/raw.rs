//! Calls with encoded messages, by a descriptor: for scripts, tools and gateways.

use std::{fmt, marker::PhantomData, sync::Arc};

use bytes::Bytes;
use futures_core::Stream;

use crate::{
    body::{StreamItem, Streaming},
    call::{Call, call, call_bidi_streaming, call_client_streaming, call_server_streaming, send},
    call_target::{CallTarget, ReplyAbility, Start, TwoWay},
    codec::RawBytes,
    descriptor::{MethodDescriptor, Shape},
    status::{Delivery, Status},
};

/// Calls methods by their descriptors, with encoded messages: the counterpart of a generated client where
/// there is no generated code. Its calls have all settings of a [`Call`]. Clones are cheap.
///
/// There is a function for each shape of method. If it does not fit the method, the call fails with
/// `InvalidArgument` and is not sent.
///
/// ```no_run
/// # async fn ask(peer: wawo::Peer, set: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// let services = wawo::ServiceDescriptor::all_in(set)?;
/// let echo = services.iter().find(|service| service.name() == "tests.Echo");
/// let say = echo.and_then(|echo| echo.method_by_name("Say")).ok_or("no such method")?;
/// let client = wawo::RawClient::new(&peer);
/// let reply = client.call(say, "\n\u{2}hi").metadata("lang", "en").await?;
/// # Ok(())
/// # }
/// ```
pub struct RawClient<A = TwoWay> {
    start: Arc<dyn Start>,
    ability: PhantomData<fn() -> A>,
}

impl<A> RawClient<A> {
    /// A client over a peer, a channel, or a service in the same process.
    pub fn new(over: &impl CallTarget<Ability = A>) -> Self {
        Self {
            start: over.handle(),
            ability: PhantomData,
        }
    }

    /// One request, one reply: a method of the shape [`Shape::Unary`].
    pub fn call(&self, method: &MethodDescriptor, request: impl Into<Bytes>) -> Call<Bytes>
    where
        A: ReplyAbility,
    {
        let call = call(&self.start, method.clone(), RawBytes, request.into());
        fit(call, method, Shape::Unary)
    }

    /// One request and nothing back: a method of the shape [`Shape::OneWay`].
    pub fn send(&self, method: &MethodDescriptor, request: impl Into<Bytes>) -> Call<()> {
        let call = send(&self.start, method.clone(), RawBytes, request.into());
        fit(call, method, Shape::OneWay)
    }

    /// One request, a stream of replies: a method of the shape [`Shape::ServerStreaming`].
    pub fn call_server_streaming(
        &self,
        method: &MethodDescriptor,
        request: impl Into<Bytes>,
    ) -> Call<Streaming<Bytes>>
    where
        A: ReplyAbility,
    {
        let call = call_server_streaming(&self.start, method.clone(), RawBytes, request.into());
        fit(call, method, Shape::ServerStreaming)
    }

    /// A stream of requests, one reply: a method of the shape [`Shape::ClientStreaming`].
    pub fn call_client_streaming(
        &self,
        method: &MethodDescriptor,
        requests: impl Stream<Item: StreamItem<Bytes>> + Send + 'static,
    ) -> Call<Bytes>
    where
        A: ReplyAbility,
    {
        let call = call_client_streaming(&self.start, method.clone(), RawBytes, requests);
        fit(call, method, Shape::ClientStreaming)
    }

    /// A stream each way: a method of the shape [`Shape::BidiStreaming`].
    pub fn call_bidi_streaming(
        &self,
        method: &MethodDescriptor,
        requests: impl Stream<Item: StreamItem<Bytes>> + Send + 'static,
    ) -> Call<Streaming<Bytes>>
    where
        A: ReplyAbility,
    {
        let call = call_bidi_streaming(&self.start, method.clone(), RawBytes, requests);
        fit(call, method, Shape::BidiStreaming)
    }
}

/// Makes a call fail before it is sent, if its method has another shape.
fn fit<R>(mut call: Call<R>, method: &MethodDescriptor, shape: Shape) -> Call<R> {
    if method.shape() != shape {
        let (shape, own) = (shape.name(), method.shape().name());
        let text = format!("a {shape} call of `{method}`, whose shape is {own}");
        let status = Status::invalid_argument(text).with_delivery(Delivery::NotSent);
        call.refused.get_or_insert(status);
    }
    call
}

impl<A> Clone for RawClient<A> {
    fn clone(&self) -> Self {
        Self {
            start: self.start.clone(),
            ability: PhantomData,
        }
    }
}

impl<A> fmt::Debug for RawClient<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawClient")
    }
}
