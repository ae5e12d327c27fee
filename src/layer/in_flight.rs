//! A layer that limits the calls in flight.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};
use wawo_protocol::Metadata;

use crate::{
    body::{Items, Streaming},
    request::Request,
    response::Response,
    status::{BoxError, Delivery, Result, Status},
};

/// Limits the calls in flight of a server, of a service, or of a method. A call above the limit is
/// refused at once; it does not wait.
///
/// ```
/// # fn bounded<S: wawo::Serve>(chat: S) -> impl wawo::Serve {
/// use wawo::layer::InFlightLayer;
///
/// let layer = InFlightLayer::new(100);
/// // Then, with a generated server: ChatServer::new(room).layer(layer)
/// # wawo::Layered::new(chat, layer, None)
/// # }
/// ```
///
/// - It counts calls of all peers together: all clones of the service share one count. Each use of
///   [`Layer::layer`] begins a new one.
/// - A call counts until it has ended. If its reply is a stream, it counts until the stream has
///   ended or was dropped.
/// - A limit of 0 refuses all calls.
///
/// To let calls wait instead, use tower's `ConcurrencyLimitLayer`, which counts a call only until its
/// stream of replies begins. [`Config`](crate::Config) limits the calls of one connection.
///
/// # Errors
///
/// A call above the limit ends with `ResourceExhausted`. It did not reach its handler, and its status
/// says so: [`Status::is_safe_to_retry`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct InFlightLayer {
    max: usize,
}

impl InFlightLayer {
    /// Creates a layer that allows `max` calls in flight at a time.
    pub fn new(max: usize) -> Self {
        Self { max }
    }
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> InFlight<S> {
        let slots = self.max.min(Semaphore::MAX_PERMITS);
        InFlight {
            inner,
            max: self.max,
            slots: Arc::new(Semaphore::new(slots)),
        }
    }
}

/// A service with a limit on its calls in flight; made by [`InFlightLayer`].
#[derive(Debug, Clone)]
pub struct InFlight<S> {
    inner: S,
    max: usize,
    /// One permit for each call that may begin now.
    slots: Arc<Semaphore>,
}

impl<S> InFlight<S> {
    fn refusal(&self) -> Status {
        let text = match self.max {
            0 => "no call is let through (InFlightLayer of 0)".to_owned(),
            max => format!("{max} calls are in flight already (InFlightLayer)"),
        };
        let status = Status::resource_exhausted(text).with_limit("InFlightLayer");
        status.with_delivery(Delivery::NotSent)
    }
}

impl<S> Service<Request> for InFlight<S>
where
    S: Service<Request, Response = Response, Error: Into<BoxError>>,
{
    type Response = Response;
    type Error = BoxError;
    type Future = InFlightFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> InFlightFuture<S::Future> {
        match self.slots.clone().try_acquire_owned() {
            Ok(slot) => InFlightFuture {
                inner: Some(self.inner.call(request)),
                slot: Some(Ok(slot)),
            },
            Err(_) => InFlightFuture {
                inner: None,
                slot: Some(Err(self.refusal())),
            },
        }
    }
}

pin_project! {
    /// The future of a call through [`InFlight`]. A call whose future is dropped no longer counts.
    pub struct InFlightFuture<F> {
        // The future of the call; `None` if it was refused.
        #[pin]
        inner: Option<F>,
        // The permit of the call, or its refusal. Taken when the future resolves.
        slot: Option<Result<OwnedSemaphorePermit>>,
    }
}

impl<F, E> Future for InFlightFuture<F>
where
    F: Future<Output = Result<Response, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return match this.slot.take() {
                Some(Err(refusal)) => Poll::Ready(Err(refusal.into())),
                _ => Poll::Pending,
            };
        };
        let response = ready!(inner.poll(cx)).map_err(Into::into)?;
        let slot = this.slot.take().and_then(Result::ok);
        Poll::Ready(Ok(keep_slot(response, slot)))
    }
}

impl<F> fmt::Debug for InFlightFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InFlightFuture")
    }
}

/// Keeps the permit with a stream of replies; a single reply ends the call.
fn keep_slot(response: Response, slot: Option<OwnedSemaphorePermit>) -> Response {
    match slot {
        None => response,
        Some(slot) => response.map_stream(|replies| {
            Streaming::of_items(InFlightReplies {
                replies,
                _slot: slot,
            })
        }),
    }
}

/// A stream of replies that counts as a call in flight.
struct InFlightReplies {
    replies: Streaming<Bytes>,
    _slot: OwnedSemaphorePermit,
}

impl Items<Bytes> for InFlightReplies {
    fn poll_item(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<Bytes>,
    ) -> Poll<Option<Result<Bytes>>> {
        Pin::new(&mut self.replies).poll_next(cx)
    }

    fn take_trailing_metadata(mut self: Pin<&mut Self>) -> Metadata {
        self.replies.take_trailing_metadata()
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use tower::{Layer, Service, service_fn};
    use wawo_protocol::Code;

    use super::InFlightLayer;
    use crate::{
        body::{Body, Streaming},
        layer::tests::{poll_once, reply, request, status_of},
        response::Response,
        status::{BoxError, Status},
    };

    #[tokio::test]
    async fn calls_up_to_the_bound_go_through_and_one_more_is_refused_unserved() {
        let held = service_fn(|_| future::pending::<Result<Response, Status>>());
        let mut service = InFlightLayer::new(2).layer(held);
        let mut clone = service.clone();
        let (mut first, mut second) = (service.call(request()), clone.call(request()));
        assert!(poll_once(&mut first).is_pending() && poll_once(&mut second).is_pending());
        let status = status_of(clone.call(request()).await);
        assert_eq!(status.code(), Code::ResourceExhausted);
        let text = "2 calls are in flight already (InFlightLayer)";
        assert_eq!(status.message(), text);
        assert!(status.is_safe_to_retry());
        drop(first);
        assert!(poll_once(&mut clone.call(request())).is_pending());
    }

    #[tokio::test]
    async fn a_bound_of_zero_lets_no_call_through() {
        let mut service = InFlightLayer::new(0).layer(service_fn(|_| async { reply() }));
        let status = status_of(service.call(request()).await);
        assert_eq!(
            status.message(),
            "no call is let through (InFlightLayer of 0)"
        );
    }

    #[tokio::test]
    async fn a_call_that_failed_counts_no_more() {
        let fails = service_fn(|_| async { Err::<Response, _>(Status::aborted("no")) });
        let mut service = InFlightLayer::new(1).layer(fails);
        for _ in 0..2 {
            assert_eq!(status_of(service.call(request()).await).message(), "no");
        }
    }

    #[tokio::test]
    async fn a_stream_of_replies_counts_until_it_ends() {
        let stream = service_fn(|_| async {
            let replies = Body::Many(Streaming::once("last".into()));
            Ok::<_, BoxError>(Response::new(Default::default(), replies))
        });
        let mut service = InFlightLayer::new(1).layer(stream);
        let (_, body) = service.call(request()).await.unwrap().into_parts();
        let Body::Many(mut replies) = body else {
            panic!("{body:?}");
        };
        assert_eq!(replies.message().await.unwrap().unwrap(), "last");
        status_of(service.call(request()).await);
        assert_eq!(replies.message().await.unwrap(), None);
        // The call has ended, though its future still exists.
        service.call(request()).await.unwrap();
        drop(replies);
    }
}
