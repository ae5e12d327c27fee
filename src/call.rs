//! A call that a stub makes: a future that starts when it is first polled.

mod cancellation;
mod only_reply;
mod raw;
mod requests;
mod settings;
mod stub;

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, ready},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use wawo_protocol::{DeadlineSource, Metadata};

pub(crate) use crate::call::cancellation::cancellable_requests;
pub use crate::call::stub::{
    call, call_bidi_streaming, call_client_streaming, call_server_streaming, send,
};
pub use crate::call::{cancellation::CancelGuard, raw::RawClient};

use crate::{
    body::Body,
    call::{
        cancellation::{CancelSignal, cancel_signal, cancelled_status},
        only_reply::only_reply,
    },
    call_target::Start,
    context::Context,
    descriptor::{MethodDescriptor, MethodRef, Shape},
    request::Request,
    response::Response,
    response_future::ResponseFuture,
    status::{Carrier, Delivery, Result, Status},
};

/// A call, as a stub's method returns it: a future that starts the call when it is first polled.
///
/// A call fails when its deadline passes. The time runs from the first poll and covers waiting, sending,
/// the reply, and each item of a stream. The timeout is the first of these that is set:
///
/// | time | default | for |
/// |---|---|---|
/// | [`timeout`](Self::timeout), or [`no_timeout`](Self::no_timeout) | | this call |
/// | `option (wawo.method).timeout_ms` of the caller's schema | | calls of the method |
/// | `default_timeout` of the [`Config`](wawo_protocol::Config) of the peer | 10 s | calls with one message each way, and one-way messages |
/// | `stream_timeout` of the same | none | calls with a stream in either direction |
///
/// Also, a call ends no later than the handler in which it was made, whose deadline it inherits unless it
/// is [`detached`](Self::detached), and no later than `max_timeout` or `max_stream_time` of the callee's
/// configuration allow. The status of a call whose deadline passed names the setting that the deadline
/// came from.
///
/// So a stream has no deadline unless one is set. It ends with its connection, which keep-alive closes
/// when the peer is lost; after `stall_timeout`, when it has items to send and nobody reads them; and
/// when the server drains.
///
/// Dropping the future after it was started cancels the call on the other side. So does dropping the
/// stream that it resolved to, or the [`CancelGuard`] of [`with_cancel_guard`](Self::with_cancel_guard).
/// A call that a handler makes is cancelled when the handler's own call is. A handler that runs to
/// completion passes on neither its deadline nor its cancellation (see [`Context::cancelled`]).
///
/// The deadline does not depend on the task of the connection, or on its runtime: a call ends within 100
/// ms after its deadline, as long as the thread that awaits it can run. It can be awaited in any runtime,
/// and outside of one.
///
/// A one-way call resolves when the message was given to the connection. To be sure that all have left
/// before a program ends, use [`Peer::drain`](crate::Peer::drain).
#[must_use = "a call does nothing until it is awaited"]
pub struct Call<R> {
    method: MethodRef,
    state: State,
    metadata: Metadata,
    timeout: Timeout,
    /// The context of the handler that makes this call.
    parent: Option<Context>,
    cancel_token: Option<CancellationToken>,
    /// Resolves when the parent or the token is cancelled. Made when the call has to wait.
    cancelled: Option<CancelSignal>,
    refused: Option<Status>,
    /// `None` if the peer decides.
    wait_for_ready: Option<bool>,
    /// How many bytes the decoded reply may take, at most.
    max_decoded_bytes: usize,
    read: Read<R>,
}

/// Reads the reply to a call of a method. The number is the most that it may take when it is decoded, in
/// bytes.
type Read<R> = fn(&MethodDescriptor, Body, usize) -> Result<R>;

/// The timeout that a caller sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timeout {
    /// None: the default of the schema or the connection applies, if there is one.
    Default,
    After(Duration),
    Never,
}

enum State {
    New(Arc<dyn Start>, Body),
    Started(ResponseFuture),
    Ended,
}

impl State {
    /// The connection that carries the call, if it is known here.
    #[cold]
    fn carrier(&self) -> Option<Arc<dyn Carrier>> {
        match self {
            Self::Started(reply) => reply.carrier(),
            Self::New(..) | Self::Ended => None,
        }
    }
}

impl<R> Call<R> {
    fn new(to: &Arc<dyn Start>, method: MethodRef, body: Body, read: Read<R>) -> Self {
        Self {
            method,
            state: State::New(to.clone(), body),
            metadata: Metadata::new(),
            timeout: Timeout::Default,
            parent: Context::current(),
            cancel_token: None,
            cancelled: None,
            refused: None,
            wait_for_ready: None,
            max_decoded_bytes: 0,
            read,
        }
    }

    /// Returns the call, and a guard that cancels it when it is dropped, so that the call ends with
    /// `Cancelled`. It is for code elsewhere that decides when the call is no longer wanted. Give the
    /// guard a name: `let (call, _) = ..` drops it at once.
    ///
    /// ```
    /// # async fn ask(call: wawo::Call<()>) {
    /// let (call, guard) = call.with_cancel_guard();
    /// let asking = tokio::spawn(async { call.await });
    /// guard.cancel();
    /// let ended = asking.await.expect("no panic");
    /// # }
    /// ```
    pub fn with_cancel_guard(mut self) -> (Self, CancelGuard) {
        let token = self.cancel_token.get_or_insert_default();
        let guard = token.clone().drop_guard();
        (self, CancelGuard::new(guard))
    }

    /// Resolves to the reply and its metadata.
    ///
    /// # Errors
    ///
    /// The status with which the call ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call.
    pub async fn with_metadata(mut self) -> Result<(R, Metadata)> {
        let response = poll_fn(|cx| self.poll_response(cx)).await;
        let result = response.and_then(|response| {
            let (metadata, body) = response.into_wire_parts();
            Ok((self.read(body)?, metadata))
        });
        self.end(result)
    }

    #[inline]
    fn read(&self, body: Body) -> Result<R> {
        (self.read)(&self.method, body, self.max_decoded_bytes)
    }

    /// Ends the call. A status gets the name of the call's method.
    #[inline]
    fn end<T>(&mut self, result: Result<T>) -> Result<T> {
        match result {
            Ok(reply) => {
                self.state = State::Ended;
                Ok(reply)
            }
            Err(status) => Err(self.failed(status)),
        }
    }

    #[cold]
    fn failed(&mut self, status: Status) -> Status {
        let status = status.of_call(&self.method, self.state.carrier());
        self.state = State::Ended;
        status
    }

    fn poll_response(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Response>> {
        if let State::New(..) = self.state {
            self.start();
        }
        loop {
            let State::Started(reply) = &mut self.state else {
                return Poll::Pending;
            };
            match Pin::new(reply).poll(cx) {
                Poll::Ready(Ok(response)) if self.is_apart(&response) => {
                    let (method, carrier) = (self.method.clone(), self.state.carrier());
                    let whole = only_reply(method, carrier, response);
                    self.state = State::Started(ResponseFuture::boxed(whole));
                }
                Poll::Ready(result) => {
                    return Poll::Ready(result.map(|response| self.watch(response)));
                }
                Poll::Pending => {
                    return self.poll_cancelled(cx).map(|()| Err(cancelled_status()));
                }
            }
        }
    }

    /// Whether the method has one reply and it came as a stream: its message and the end of the call
    /// travelled apart.
    #[inline]
    fn is_apart(&self, response: &Response) -> bool {
        matches!(response.body(), Body::Many(_)) && !self.method.shape().streams_replies()
    }

    fn start(&mut self) {
        let State::New(to, body) = std::mem::replace(&mut self.state, State::Ended) else {
            return;
        };
        if self.method.shape() != Shape::OneWay {
            self.max_decoded_bytes = to.max_decoded_bytes();
        }
        let refused = self.refused.take().or_else(|| self.refusal());
        let reply = match (refused, body) {
            (Some(status), _) => ResponseFuture::ready(Err(status.at(to.address()))),
            (None, Body::One(message)) if self.is_plain() => to.start_plain(&self.method, message),
            (None, body) => to.start(self.request(body)),
        };
        self.state = State::Started(reply);
    }

    /// Whether the call has nothing but messages: no metadata, no deadline.
    fn is_plain(&self) -> bool {
        self.wait_for_ready.is_none()
            && self.metadata.is_empty()
            && matches!(self.timeout, Timeout::Default)
            && self.method.timeout().is_none()
            && self.parent.is_none()
    }

    fn request(&mut self, body: Body) -> Request {
        let mut request = Request::of(self.method.clone(), body);
        if self.timeout == Timeout::Never {
            request.set_no_deadline();
        }
        if let Some(wait_for_ready) = self.wait_for_ready {
            request.set_wait_for_ready(wait_for_ready);
        }
        let head = request.head_mut();
        head.metadata = std::mem::take(&mut self.metadata);
        if let Timeout::After(timeout) = self.timeout {
            head.set_timeout(timeout, DeadlineSource::Call);
        }
        if let Some(parent) = &self.parent {
            head.call_depth = parent.call_depth();
            if let Some(deadline) = parent.inherited_deadline() {
                head.inherit_deadline(deadline);
            }
            inherit_trace(parent, &mut head.metadata);
        }
        request
    }

    /// The reason not to send the call, if there is one.
    fn refusal(&self) -> Option<Status> {
        let is_cancelled = self
            .cancel_token
            .as_ref()
            .is_some_and(CancellationToken::is_cancelled)
            || self
                .parent
                .as_ref()
                .is_some_and(Context::hands_down_cancelled);
        if is_cancelled {
            return Some(cancelled_status().with_delivery(Delivery::NotSent));
        }
        let has_no_time = self.timeout == Timeout::After(Duration::ZERO);
        has_no_time.then(|| {
            let text = "the timeout of the call is zero, so it was not made";
            Status::deadline_exceeded(text).with_delivery(Delivery::NotSent)
        })
    }

    /// Resolves when the call is cancelled, by its token or by its parent.
    fn poll_cancelled(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        match self.cancelled() {
            Some(cancelled) => cancelled.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    fn cancelled(&mut self) -> Option<&mut CancelSignal> {
        if self.cancelled.is_none() {
            let parent = self.parent.as_ref();
            let parent = parent.and_then(Context::inherited_cancellation);
            let token = self
                .cancel_token
                .clone()
                .map(CancellationToken::cancelled_owned);
            self.cancelled = Some(cancel_signal(parent, token)?);
        }
        self.cancelled.as_mut()
    }

    /// Makes a stream of replies end when the call is cancelled.
    fn watch(&mut self, response: Response) -> Response {
        if !matches!(response.body(), Body::Many(_)) || self.cancelled().is_none() {
            return response;
        }
        match self.cancelled.take() {
            Some(cancelled) => {
                response.map_stream(|items| items.until(cancelled, cancelled_status))
            }
            None => response,
        }
    }
}

/// Copies the W3C trace context of a handler's call to a call that the handler makes.
fn inherit_trace(parent: &Context, metadata: &mut Metadata) {
    for key in ["traceparent", "tracestate", "baggage"] {
        if metadata.bytes(key).is_none()
            && let Some(value) = parent.all_metadata().bytes(key)
        {
            // The value came as metadata, so that metadata allows it.
            let _ = metadata.append(key, value.clone());
        }
    }
}

impl<R> Future for Call<R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Result<R>> {
        let response = ready!(self.poll_response(cx));
        let reply = response.and_then(|response| self.read(response.into_body()));
        Poll::Ready(self.end(reply))
    }
}

impl<R> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::New(..) => "new",
            State::Started(_) => "started",
            State::Ended => "ended",
        };
        write!(f, "Call({}, {state})", self.method.path())
    }
}
