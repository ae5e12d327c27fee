//! Limits of calls: of a whole server, of one service, or of one method.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_core::Stream;
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};
use wawo_protocol::time::after;

use crate::{
    backstop::Timer,
    body::{Body, Streaming},
    request::Request,
    response::Response,
    status::{BoxError, Delivery, Result, Status},
};

/// Limits calls: put it on a server, on one service or on one method, as any layer.
///
/// ```
/// # fn limited<S: wawo::Serve>(chat: S) -> wawo::Layered<S, wawo::layer::Limit<S>> {
/// use std::time::Duration;
/// use wawo::layer::LimitLayer;
///
/// let limits = LimitLayer::new()
///     .max_request_bytes(64 * 1024)
///     .max_in_flight(100)
///     .max_time(Duration::from_secs(2));
/// wawo::Layered::new(chat, limits, None) // generated servers: `ChatServer::new(room).layer(limits)`
/// # }
/// ```
///
/// A call over a limit is answered with `ResourceExhausted`, or, over its time, with
/// `DeadlineExceeded`; the text names the limit. One that was refused before its handler saw it
/// says so: its caller may make it again. What a connection as a whole may hold is set by
/// [`Config`](crate::Config).
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct LimitLayer {
    max_request_bytes: Option<usize>,
    max_in_flight: Option<usize>,
    max_time: Option<Duration>,
}

impl LimitLayer {
    /// No limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long each request message may be, in bytes.
    pub fn max_request_bytes(mut self, max: usize) -> Self {
        self.max_request_bytes = Some(max);
        self
    }

    /// How many calls there may be at once, from all peers together; a call whose reply is a
    /// stream counts until the stream ends. 0 lets no call through.
    pub fn max_in_flight(mut self, max: usize) -> Self {
        self.max_in_flight = Some(max);
        self
    }

    /// How long a call may take, to the end of its stream of replies if it has one.
    pub fn max_time(mut self, max: Duration) -> Self {
        self.max_time = Some(max);
        self
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Limit<S> {
        let most = |max: usize| max.min(Semaphore::MAX_PERMITS);
        let places = self.max_in_flight.map(most).map(Semaphore::new);
        Limit {
            inner,
            limits: *self,
            places: places.map(Arc::new),
        }
    }
}

/// A service with limits; made by [`LimitLayer`]. All clones share the places of
/// [`max_in_flight`](LimitLayer::max_in_flight).
#[derive(Debug, Clone)]
pub struct Limit<S> {
    inner: S,
    limits: LimitLayer,
    places: Option<Arc<Semaphore>>,
}

impl<S> Limit<S> {
    /// What a call holds while it lasts, if it is let in.
    fn admit(&self, request: &mut Request) -> Result<InFlightSlot> {
        if let Some(max) = self.limits.max_request_bytes {
            limit_requests(request, max)?;
        }
        let place = match &self.places {
            None => None,
            Some(places) => {
                let place = places.clone().try_acquire_owned();
                Some(place.map_err(|_| self.is_full())?)
            }
        };
        let end = self.limits.max_time.map(|max| {
            let now = tokio::time::Instant::now().into_std();
            after(now, max)
        });
        if let Some(end) = end {
            request.shorten_deadline(end);
        }
        Ok(InFlightSlot { place, end })
    }

    fn is_full(&self) -> Status {
        let text = match self.limits.max_in_flight {
            Some(0) => "no call is let through (max_in_flight is 0)".to_owned(),
            max => {
                let max = max.unwrap_or_default();
                format!("{max} calls are in flight already (max_in_flight)")
            }
        };
        Status::resource_exhausted(text).with_delivery(Delivery::NotSent)
    }
}

fn limit_requests(request: &mut Request, max: usize) -> Result<()> {
    match request.body_mut() {
        Body::One(message) => check(message.len(), max),
        Body::Many(requests) => {
            let all = std::mem::replace(requests, Streaming::empty());
            *requests = all.map(move |message| {
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
    let text = format!("a request of {length} bytes; at most {max} may come (max_request_bytes)");
    Err(Status::resource_exhausted(text).with_delivery(Delivery::NotSent))
}

/// What a call holds, and until when.
#[derive(Debug)]
struct InFlightSlot {
    place: Option<OwnedSemaphorePermit>,
    end: Option<Instant>,
}

impl<S> Service<Request> for Limit<S>
where
    S: Service<Request, Response = Response, Error: Into<BoxError>>,
{
    type Response = Response;
    type Error = BoxError;
    type Future = LimitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request) -> LimitFuture<S::Future> {
        match self.admit(&mut request) {
            Ok(slot) => LimitFuture {
                timer: slot.end.map(Timer::new),
                inner: Some(self.inner.call(request)),
                outcome: Some(Ok(slot)),
            },
            Err(status) => LimitFuture {
                timer: None,
                inner: None,
                outcome: Some(Err(status)),
            },
        }
    }
}

pin_project! {
    /// The answer of a [`Limit`].
    pub struct LimitFuture<F> {
        #[pin]
        inner: Option<F>,
        timer: Option<Timer>,
        // Taken when it resolves.
        outcome: Option<Result<InFlightSlot>>,
    }
}

impl<F, E> Future for LimitFuture<F>
where
    F: Future<Output = Result<Response, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return match this.outcome.take() {
                Some(Err(status)) => Poll::Ready(Err(status.into())),
                _ => Poll::Pending,
            };
        };
        if let Poll::Ready(result) = inner.poll(cx) {
            let response = result.map_err(Into::into)?;
            let slot = this.outcome.take().and_then(Result::ok);
            return Poll::Ready(Ok(keep_slot(response, slot)));
        }
        if let Some(timer) = this.timer {
            ready!(Pin::new(timer).poll(cx));
            return Poll::Ready(Err(took_too_long().into()));
        }
        Poll::Pending
    }
}

impl<F> fmt::Debug for LimitFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LimitFuture")
    }
}

fn took_too_long() -> Status {
    Status::deadline_exceeded("the call took too long (max_time)")
}

/// Lets a stream of replies hold what its call held.
fn keep_slot(response: Response, slot: Option<InFlightSlot>) -> Response {
    let (metadata, body) = response.into_parts();
    let body = match (body, slot) {
        (Body::Many(replies), Some(slot)) => Body::Many(Streaming::new(LimitedReplies {
            replies,
            timer: slot.end.map(Timer::new),
            _place: slot.place,
        })),
        (body, _) => body,
    };
    Response::new(metadata, body)
}

struct LimitedReplies {
    replies: Streaming<Bytes>,
    timer: Option<Timer>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Stream for LimitedReplies {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if let Poll::Ready(item) = Pin::new(&mut self.replies).poll_next(cx) {
            return Poll::Ready(item);
        }
        if let Some(timer) = &mut self.timer {
            ready!(Pin::new(timer).poll(cx));
            self.replies = Streaming::empty();
            return Poll::Ready(Some(Err(took_too_long())));
        }
        Poll::Pending
    }
}
