//! A layer that limits the length of request messages.

use std::{
    mem,
    task::{Context, Poll},
};

use tower::{Layer, Service};

use crate::{
    body::{Body, Streaming},
    layer::refusable::RefusableFuture,
    request::Request,
    response::Response,
    status::{BoxError, Delivery, Result, Status},
};

/// Limits the length of each request message of a server, of a service, or of a method.
///
/// ```
/// # fn bounded<S: wawo::Serve>(chat: S) -> impl wawo::Serve {
/// use wawo::layer::RequestBytesLayer;
///
/// let layer = RequestBytesLayer::new(64 * 1024);
/// // Then, with a generated server: ChatServer::new(room).layer(layer)
/// # wawo::Layered::new(chat, layer, None)
/// # }
/// ```
///
/// - The length is that of the encoded message, in bytes. In a stream of requests it limits each message,
///   not their sum.
/// - The message is in memory already when the layer gets it. [`Limits`](crate::Limits) set how much a
///   connection may receive; their `max_message_bytes` limits a message.
///
/// # Errors
///
/// A call with a longer message ends with `ResourceExhausted`. If it has a single request, the call did
/// not reach its handler, and its status says so: [`Status::is_safe_to_retry`]. In a stream of requests,
/// the handler gets the status in the place of the message, and nothing after it.
#[derive(Debug, Clone, Copy)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct RequestBytesLayer {
    max: usize,
}

impl RequestBytesLayer {
    /// Creates a layer that allows `max` bytes for each request message.
    pub fn new(max: usize) -> Self {
        Self { max }
    }
}

impl<S> Layer<S> for RequestBytesLayer {
    type Service = RequestBytes<S>;

    fn layer(&self, inner: S) -> RequestBytes<S> {
        let max = self.max;
        RequestBytes { inner, max }
    }
}

/// A service with a limit on the length of its requests; made by [`RequestBytesLayer`].
#[derive(Debug, Clone)]
pub struct RequestBytes<S> {
    inner: S,
    max: usize,
}

impl<S> Service<Request> for RequestBytes<S>
where
    S: Service<Request, Response = Response, Error: Into<BoxError>>,
{
    type Response = Response;
    type Error = BoxError;
    type Future = RefusableFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request) -> RefusableFuture<S::Future> {
        let checked = check_body(request.body_mut(), self.max);
        RefusableFuture::new(checked, || self.inner.call(request))
    }
}

/// Checks a single message now, and each message of a stream when it is read.
fn check_body(body: &mut Body, max: usize) -> Result<()> {
    match body {
        Body::One(message) => {
            let checked = check(message.len(), max);
            checked.map_err(|status| status.with_delivery(Delivery::NotSent))
        }
        Body::Many(requests) => {
            let all = mem::replace(requests, Streaming::empty());
            *requests = all.map_items(move |message| {
                let message = message?;
                check(message.len(), max).map(|()| message)
            });
            Ok(())
        }
    }
}

fn check(length: usize, max: usize) -> Result<()> {
    if length <= max {
        return Ok(());
    }
    let text = format!("a request of {length} bytes; at most {max} may come (RequestBytesLayer)");
    Err(Status::resource_exhausted(text).with_limit("RequestBytesLayer"))
}

#[cfg(test)]
mod tests {
    use tower::{Layer, Service, service_fn};
    use wawo_protocol::{Code, MethodId, ServiceId};

    use super::RequestBytesLayer;
    use crate::{
        body::{Body, Streaming},
        layer::tests::{reply, status_of},
        request::Request,
        status::Status,
    };

    fn request(body: Body) -> Request {
        Request::by_id(ServiceId(1), MethodId(1), false, body)
    }

    #[tokio::test]
    async fn a_request_may_be_as_long_as_the_bound_and_no_longer() {
        let mut service = RequestBytesLayer::new(3).layer(service_fn(|_| async { reply() }));
        let one = |text: &'static str| request(Body::One(bytes::Bytes::from(text).into()));
        service.call(one("123")).await.unwrap();
        let status = status_of(service.call(one("1234")).await);
        assert_eq!(status.code(), Code::ResourceExhausted);
        let text = "a request of 4 bytes; at most 3 may come (RequestBytesLayer)";
        assert_eq!(status.message(), text);
        assert!(status.is_safe_to_retry());
    }

    #[tokio::test]
    async fn the_handler_finds_the_status_of_a_long_message_of_a_stream_and_nothing_after_it() {
        let read = service_fn(|mut request: Request| async move {
            let Body::Many(requests) = request.body_mut() else {
                panic!("a stream was sent");
            };
            assert_eq!(requests.message().await?.unwrap(), "123");
            let status = requests.message().await.unwrap_err();
            assert_eq!(requests.message().await?, None);
            Err::<crate::Response, Status>(status)
        });
        let mut service = RequestBytesLayer::new(3).layer(read);
        let (sender, requests) = Streaming::channel(3);
        for text in ["123", "1234", "1"] {
            sender.send(text.into()).await.unwrap();
        }
        let result = service.call(request(Body::Many(requests))).await;
        let status = status_of(result);
        assert!(status.message().contains("4 bytes"), "{status}");
        // The handler has begun, and may have done something.
        assert!(!status.is_safe_to_retry());
    }
}
