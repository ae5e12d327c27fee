//! The context of a call, for its handler.

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    sync::{self, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::task::futures::TaskLocalFuture;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use triomphe::Arc;
use wawo_protocol::Metadata;

use crate::{
    body::Body,
    clock,
    decoding::DecodingLimits,
    descriptor::{MethodDescriptor, MethodRef},
    request::{Caller, ReplyMetadata, Request, RequestHead},
    status::Result,
};

tokio::task_local! {
    /// The context of the call whose handler, or stream of replies, is being polled.
    static CURRENT: Context;
}

/// The context of a call, for its handler: metadata, deadline, cancellation, the peer that calls, and
/// values that layers have left. Cheap to clone.
///
/// While a handler runs, calls that it makes inherit its deadline, its cancellation and its trace context
/// (the metadata `traceparent`, `tracestate` and `baggage`). [`Context::current`] is this context for all
/// code that runs in the handler's task, and in its stream of replies. Pass it on to tasks of your own
/// with [`wawo::spawn`](crate::spawn) or [`scope`](Self::scope). One call does not inherit it with
/// [`Call::detached`](crate::Call::detached).
///
/// Where the schema sets `(wawo.method).run_to_completion`, calls inherit the trace context only: if they
/// inherited the deadline and the cancellation, the handler would go on and all its calls would fail.
#[derive(Clone)]
pub struct Context(Arc<RequestHead>);

/// A future with its current context, which can be taken out of it.
pub(crate) type ScopedFuture<F> = TaskLocalFuture<Context, F>;

impl Context {
    /// The context of a call, and its messages.
    #[inline]
    pub(crate) fn of(method: MethodRef, request: Request) -> (Self, Body) {
        let (mut head, body) = request.into_head();
        head.runs_to_completion = method.runs_to_completion();
        head.is_blocking |= method.is_blocking();
        if method.shape().streams_replies() {
            head.become_stream();
        }
        head.descriptor = Some(method);
        (Self(head.shareable()), body)
    }

    /// The context of the handler in whose task this runs, if it runs in one.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// Runs a future with this as its current context.
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.clone().into_scope(future)
    }

    pub(crate) fn into_scope<F: Future>(self, future: F) -> ScopedFuture<F> {
        CURRENT.scope(self, future)
    }

    /// The method that is called.
    ///
    /// # Panics
    ///
    /// Never: the service that has the method makes the context with it.
    pub fn method(&self) -> &MethodDescriptor {
        let method = self.0.descriptor.as_deref();
        method.expect("`of`, which makes all contexts, puts it in")
    }

    /// The first text value of this metadata key.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.0.metadata.text(key)
    }

    /// All metadata of the call.
    pub fn all_metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// Adds to the metadata of the reply, or of the status if the handler fails. An entry of the status
    /// itself replaces entries with the same key.
    ///
    /// Metadata that is added after the handler has returned is lost, with one exception: if it returned
    /// a stream and that fails, it is sent with the status of the stream.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if [`Metadata`] does not allow the key or the value.
    pub fn set_reply_metadata(
        &self,
        key: impl Into<Cow<'static, str>>,
        value: impl Into<Bytes>,
    ) -> Result<()> {
        let mut metadata = self.reply_metadata();
        metadata.leading.append(key, value).map_err(Into::into)
    }

    /// Adds to the metadata that is sent at the end: after a stream of replies, where
    /// [`Streaming::trailing_metadata`](crate::Streaming::trailing_metadata) returns it, or with the
    /// status if the call fails, as reply metadata is. A single reply is sent together with its end, so
    /// that its caller gets both kinds together.
    ///
    /// Metadata may be added until the stream has ended, and is lost after that.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if [`Metadata`] does not allow the key or the value.
    pub fn set_trailing_metadata(
        &self,
        key: impl Into<Cow<'static, str>>,
        value: impl Into<Bytes>,
    ) -> Result<()> {
        let mut metadata = self.reply_metadata();
        metadata.trailing.append(key, value).map_err(Into::into)
    }

    /// The time at which the call fails if it has not ended.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// How much time is left for the call; `None` if it has no deadline.
    pub fn time_left(&self) -> Option<Duration> {
        let now = clock::now();
        let deadline = self.0.deadline?;
        Some(deadline.saturating_duration_since(now))
    }

    /// The value of this type that a layer has left.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.0.extensions.get()
    }

    /// The proven identity of the caller: that of the call, where a protocol or a layer has
    /// [set](Request::set_identity) one, else that of [the peer](crate::Peer::identity). `None` if neither
    /// has one, or it is of another type.
    ///
    /// ```
    /// struct User {
    ///     is_admin: bool,
    /// }
    ///
    /// fn check(cx: &wawo::Context) -> wawo::Result<()> {
    ///     match cx.identity::<User>() {
    ///         Some(user) if user.is_admin => Ok(()),
    ///         Some(_) => Err(wawo::Status::permission_denied("for administrators only")),
    ///         None => Err(wawo::Status::unauthenticated("who is there?")),
    ///     }
    /// }
    /// ```
    pub fn identity<U: Send + Sync + 'static>(&self) -> Option<&U> {
        self.0.identity()
    }

    /// Waits until the call is cancelled: its caller cancelled it, its deadline passed, or its connection
    /// ended. The handler's own future is dropped then; this is for the tasks that it spawned.
    ///
    /// # Handlers that run to completion
    ///
    /// Where the schema sets `(wawo.method).run_to_completion`, a handler that has begun goes on in a
    /// task of its own, and learns of the cancellation here. A stream of requests fails with `Cancelled`
    /// then. The handler's reply is thrown away, a stream of replies unread; a panic is caught and
    /// logged.
    ///
    /// Only the handler itself, or the end of the runtime, ends it. It is not a call in flight any more:
    /// neither the limits on these nor those of layers count it, and a drain does not wait for it. So put
    /// a timeout on everything that it waits for, and let a program that ends wait for it, for example
    /// with a `TaskTracker` of tokio-util.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn cancelled(&self) {
        self.token().cancelled().await;
    }

    /// Whether the call was cancelled.
    pub fn is_cancelled(&self) -> bool {
        let parts = self.0.lazy_parts.get();
        let token = parts.and_then(|parts| parts.cancelled.get());
        token.is_some_and(CancellationToken::is_cancelled)
    }

    /// Whether the handler may outlive its call.
    pub(crate) fn runs_to_completion(&self) -> bool {
        self.0.runs_to_completion
    }

    /// Whether the handler blocks its thread.
    pub(crate) fn is_blocking(&self) -> bool {
        self.0.is_blocking
    }

    /// The call depth of calls that the handler makes.
    pub(crate) fn call_depth(&self) -> u32 {
        self.0.call_depth
    }

    /// Resolves when the call is cancelled. It outlives the context.
    pub(crate) fn cancellation(&self) -> WaitForCancellationFutureOwned {
        self.token().clone().cancelled_owned()
    }

    /// The cancellation that calls of the handler inherit.
    pub(crate) fn inherited_cancellation(&self) -> Option<WaitForCancellationFutureOwned> {
        (!self.0.runs_to_completion).then(|| self.cancellation())
    }

    /// Whether a call that the handler makes now would be cancelled at once.
    pub(crate) fn hands_down_cancelled(&self) -> bool {
        !self.0.runs_to_completion && self.is_cancelled()
    }

    /// The deadline that calls of the handler inherit.
    pub(crate) fn inherited_deadline(&self) -> Option<Instant> {
        self.deadline().filter(|_| !self.0.runs_to_completion)
    }

    /// Cancels the call, and wakes all tasks that wait for that.
    pub(crate) fn cancel(&self) {
        self.token().cancel();
    }

    pub(crate) fn caller(&self) -> Option<&sync::Arc<dyn Caller>> {
        self.0.caller.as_ref()
    }

    /// The origin of the call, for the log.
    pub(crate) fn caller_label(&self) -> String {
        let label = self.caller().map(|caller| caller.label());
        label.unwrap_or_else(|| "this process".to_owned())
    }

    /// How much memory decoded messages of the caller may take.
    pub(crate) fn decoding_limits(&self) -> DecodingLimits<'_> {
        self.0.caller.as_ref().map(|caller| caller.decoded_bytes())
    }

    /// Whether the handler may have set metadata for its replies.
    #[inline]
    pub(crate) fn may_have_reply_metadata(&self) -> bool {
        self.0.lazy_parts.get().is_some()
    }

    /// Takes the metadata that is sent before the replies.
    pub(crate) fn take_reply_metadata(&self) -> Metadata {
        self.take_metadata(|metadata| std::mem::take(&mut metadata.leading))
    }

    /// Takes the metadata that is sent after the replies.
    pub(crate) fn take_trailing_metadata(&self) -> Metadata {
        self.take_metadata(|metadata| std::mem::take(&mut metadata.trailing))
    }

    fn take_metadata(&self, take: impl FnOnce(&mut ReplyMetadata) -> Metadata) -> Metadata {
        match self.may_have_reply_metadata() {
            false => Metadata::new(),
            true => take(&mut self.reply_metadata()),
        }
    }

    fn reply_metadata(&self) -> MutexGuard<'_, ReplyMetadata> {
        let metadata = &self.0.lazy_parts().reply_metadata;
        metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a function with this as its current context.
    pub(crate) fn sync_scope<R>(&self, function: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self.clone(), function)
    }

    /// A guard that cancels the call when it is dropped, unless [`CancelOnDrop::disarm`] was called.
    pub(crate) fn cancel_on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(Some(self.clone()))
    }

    fn token(&self) -> &CancellationToken {
        let token = &self.0.lazy_parts().cancelled;
        token.get_or_init(CancellationToken::new)
    }
}

/// Cancels a call when it is dropped. A stream of replies holds it, because it serves the call after the
/// handler has ended.
#[derive(Debug)]
pub(crate) struct CancelOnDrop(Option<Context>);

impl CancelOnDrop {
    /// Disarms the guard, because the stream ended by itself.
    pub(crate) fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(context) = self.0.take() {
            context.cancel();
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("method", &self.method().path())
            .field("metadata", &self.0.metadata)
            .field("deadline", &self.0.deadline)
            .finish_non_exhaustive()
    }
}

/// Spawns a task that keeps the current [`Context`], if there is one: calls made in it inherit deadline,
/// cancellation and trace context. A task of `tokio::spawn` has no context.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match Context::current() {
        Some(context) => tokio::spawn(context.scope(future)),
        None => tokio::spawn(future),
    }
}
