//! A layer that limits the time that a call may take.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use wawo_protocol::{Metadata, time::after};

use crate::{
    backstop::Timer,
    body::{Items, Streaming},
    clock,
    request::Request,
    response::Response,
    status::{BoxError, Result, Status},
};

/// Limits the time that a call takes: of a server, of a service, or of a method.
///
/// ```
/// # fn bounded<S: wawo::Serve>(chat: S) -> impl wawo::Serve {
/// use std::time::Duration;
/// use wawo::layer::MaxTimeLayer;
///
/// let layer = MaxTimeLayer::new(Duration::from_secs(2));
/// // Then, with a generated server: ChatServer::new(room).layer(layer)
/// # wawo::Layered::new(chat, layer, None)
/// # }
/// ```
///
/// - The time runs from when the layer gets the call. If the reply is a stream, it runs until the end of
///   the stream.
/// - The deadline of the request becomes no later than the end of that time, so that the handler sees it,
///   and calls that it makes inherit it.
/// - It needs no runtime. tower's `TimeoutLayer` does, counts only until a stream of replies begins, and
///   leaves the deadline unchanged.
///
/// # Errors
///
/// A call that takes longer ends with `DeadlineExceeded`; its handler, or its stream of replies, is
/// dropped. The handler may have done its work.
#[derive(Debug, Clone, Copy)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct MaxTimeLayer {
    max: Duration,
}

impl MaxTimeLayer {
    /// Creates a layer that allows a call this time. If the end of the time cannot be expressed as an
    /// `Instant`, the latest one applies.
    pub fn new(max: Duration) -> Self {
        Self { max }
    }
}

impl<S> Layer<S> for MaxTimeLayer {
    type Service = MaxTime<S>;

    fn layer(&self, inner: S) -> MaxTime<S> {
        let max = self.max;
        MaxTime { inner, max }
    }
}

/// A service with a limit on the time of its calls; made by [`MaxTimeLayer`].
#[derive(Debug, Clone)]
pub struct MaxTime<S> {
    inner: S,
    max: Duration,
}

impl<S> Service<Request> for MaxTime<S>
where
    S: Service<Request, Response = Response, Error: Into<BoxError>>,
{
    type Response = Response;
    type Error = BoxError;
    type Future = MaxTimeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request) -> MaxTimeFuture<S::Future> {
        let end = after(clock::now(), self.max);
        request.shorten_deadline(end);
        let timer = Timer::new(end);
        MaxTimeFuture {
            inner: self.inner.call(request),
            limit: Some(TimeLimit {
                timer,
                max: self.max,
            }),
        }
    }
}

/// The time limit of one call.
#[derive(Debug)]
struct TimeLimit {
    timer: Timer,
    max: Duration,
}

impl TimeLimit {
    /// Resolves when the time is over, to the status of the call.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        ready!(Pin::new(&mut self.timer).poll(cx));
        let text = format!("the call took longer than {:?} (MaxTimeLayer)", self.max);
        Poll::Ready(Status::deadline_exceeded(text))
    }
}

pin_project! {
    /// The future of a call through [`MaxTime`].
    pub struct MaxTimeFuture<F> {
        #[pin]
        inner: F,
        // The limit of the call. Taken when the future resolves.
        limit: Option<TimeLimit>,
    }
}

impl<F, E> Future for MaxTimeFuture<F>
where
    F: Future<Output = Result<Response, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(result) = this.inner.poll(cx) {
            let response = result.map_err(Into::into)?;
            return Poll::Ready(Ok(keep_limit(response, this.limit.take())));
        }
        match this.limit {
            Some(limit) => limit.poll_over(cx).map(|status| Err(status.into())),
            None => Poll::Pending,
        }
    }
}

impl<F> fmt::Debug for MaxTimeFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaxTimeFuture")
    }
}

/// Keeps the limit with a stream of replies, for which the time runs on.
fn keep_limit(response: Response, limit: Option<TimeLimit>) -> Response {
    match limit {
        None => response,
        Some(limit) => {
            response.map_stream(|replies| Streaming::of_items(MaxTimeReplies { replies, limit }))
        }
    }
}

/// A stream of replies that ends when its time is over.
struct MaxTimeReplies {
    replies: Streaming<Bytes>,
    limit: TimeLimit,
}

impl Items<Bytes> for MaxTimeReplies {
    fn poll_item(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut VecDeque<Bytes>,
    ) -> Poll<Option<Result<Bytes>>> {
        // The time is checked first; otherwise a stream that always has an item would never end.
        if let Poll::Ready(status) = self.limit.poll_over(cx) {
            self.replies = Streaming::empty();
            return Poll::Ready(Some(Err(status)));
        }
        Pin::new(&mut self.replies).poll_next(cx)
    }

    fn take_trailing_metadata(mut self: Pin<&mut Self>) -> Metadata {
        self.replies.take_trailing_metadata()
    }
}

#[cfg(test)]
mod tests {
    use std::{future, time::Duration};

    use tokio::time::Instant;
    use tower::{Layer, Service, service_fn};
    use wawo_protocol::Code;

    use super::MaxTimeLayer;
    use crate::{
        body::{Body, Streaming},
        layer::tests::{reply, request, status_of},
        request::Request,
        response::Response,
        status::{BoxError, Status},
    };

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_call_takes_its_time_and_no_longer() {
        let held = service_fn(|_| future::pending::<Result<Response, Status>>());
        let begin = Instant::now();
        let status = status_of(MaxTimeLayer::new(SECOND).layer(held).call(request()).await);
        assert!((SECOND..2 * SECOND).contains(&begin.elapsed()));
        assert_eq!(status.code(), Code::DeadlineExceeded);
        let text = "the call took longer than 1s (MaxTimeLayer)";
        assert_eq!(status.message(), text);
        assert!(!status.is_safe_to_retry());
    }

    #[tokio::test(start_paused = true)]
    async fn the_handler_sees_the_earlier_one_of_the_two_deadlines() {
        let now = Instant::now().into_std();
        let seen = service_fn(move |request: Request| async move {
            let left = request.deadline().unwrap() - now;
            Err::<Response, _>(Status::aborted(format!("{left:?}")))
        });
        let mut service = MaxTimeLayer::new(SECOND).layer(seen);
        for (own, expected) in [(None, "1s"), (Some(2), "1s"), (Some(0), "0ns")] {
            let mut request = request();
            request.set_deadline(own.map(|own| now + own * SECOND));
            let status = status_of(service.call(request).await);
            assert_eq!(status.message(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_of_replies_ends_with_the_time_of_its_call_even_if_it_never_pauses() {
        let endless = service_fn(|_| async {
            tokio::time::sleep(SECOND / 2).await;
            let items = futures::stream::repeat_with(|| Ok("again".into()));
            let replies = Body::Many(Streaming::new(items));
            Ok::<_, BoxError>(Response::new(Default::default(), replies))
        });
        let mut service = MaxTimeLayer::new(SECOND).layer(endless);
        let (_, body) = service.call(request()).await.unwrap().into_parts();
        let Body::Many(mut replies) = body else {
            panic!("{body:?}");
        };
        assert_eq!(replies.message().await.unwrap().unwrap(), "again");
        tokio::time::advance(SECOND / 2 - Duration::from_millis(1)).await;
        assert_eq!(replies.message().await.unwrap().unwrap(), "again");
        tokio::time::advance(Duration::from_millis(2)).await;
        let status = replies.message().await.unwrap_err();
        assert!(status.message().contains("MaxTimeLayer"), "{status}");
        assert_eq!(replies.message().await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_no_clock_can_tell_bounds_nothing() {
        let quick = service_fn(|_| async { reply() });
        let mut service = MaxTimeLayer::new(Duration::MAX).layer(quick);
        service.call(request()).await.unwrap();
    }
}
