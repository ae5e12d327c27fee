//! Interceptors: layers made of one asynchronous function around a call.
//!
//! A layer of tower has four parts: a layer, a service, a future, and the code that a call runs through.
//! An interceptor is only the code: a function that gets a request and the [`Next`] service, and returns
//! the response. It may check and change the request, await, refuse, measure, and change the response.
//! [`intercept`] makes a layer of it, which can be used wherever other layers can, on the side that
//! serves and on the side that calls.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower::{Layer, Service};

use crate::{
    request::Request,
    response::Response,
    status::{BoxError, Result, Status},
};

/// Makes a layer of an interceptor: of a function, or of a type that implements [`Intercept`].
///
/// ```
/// use std::time::Instant;
/// use wawo::{Request, Status, layer::{self, Next}};
///
/// // A closure, on a server: `Server::builder().layer(measure)`.
/// let measure = layer::intercept(async |request: Request, next: Next| {
///     let method = request.descriptor().map(ToString::to_string);
///     let begin = Instant::now();
///     let result = next.call(request).await;
///     println!("{method:?}: {:?}, {}", begin.elapsed(), result.is_ok());
///     result
/// });
///
/// // A closure with a state clones it for each call.
/// let token = String::from("secret");
/// let authorise = layer::intercept(move |request: Request, next: Next| {
///     let token = token.clone();
///     async move {
///         if request.metadata().text("token") != Some(&*token) {
///             return Err(Status::unauthenticated("the token is not known"));
///         }
///         next.call(request).await
///     }
/// });
/// # let _ = (measure, authorise);
/// ```
///
/// It costs three allocations for each call. Interceptors run in the order of other layers.
pub fn intercept<I: Intercept>(interceptor: I) -> InterceptLayer<I> {
    InterceptLayer {
        interceptor: Arc::new(interceptor),
    }
}

/// An asynchronous function around a call; [`intercept`] makes a layer of it.
///
/// Functions and closures from a [`Request`] and a [`Next`] to a future are interceptors. A type that
/// implements the trait may borrow from itself while it awaits, and so need not clone:
///
/// ```
/// use tokio::sync::RwLock;
/// use wawo::{Request, Response, Result, Status, layer::{Intercept, Next}};
///
/// struct Tokens(RwLock<Vec<String>>);
///
/// impl Intercept for Tokens {
///     async fn call(&self, request: Request, next: Next) -> Result<Response> {
///         let token = request.metadata().text("token").unwrap_or_default();
///         if !self.0.read().await.iter().any(|known| known == token) {
///             return Err(Status::unauthenticated("the token is not known"));
///         }
///         next.call(request).await
///     }
/// }
/// ```
///
/// - `next` returns how the call ended in the services behind it; errors of layers are statuses already.
///   If the reply is a stream, the call goes on after the response.
/// - A call that is cancelled, or whose connection is lost, drops the future at the `await` at which
///   it waits.
/// - One interceptor serves all calls, many of them at once.
pub trait Intercept: Send + Sync + 'static {
    /// Handles a call, most often by [`next.call(request)`](Next::call).
    ///
    /// # Errors
    ///
    /// The status with which the call ends.
    fn call(&self, request: Request, next: Next) -> impl Future<Output = Result<Response>> + Send;
}

impl<I, F> Intercept for I
where
    I: Fn(Request, Next) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response>> + Send,
{
    fn call(&self, request: Request, next: Next) -> impl Future<Output = Result<Response>> + Send {
        self(request, next)
    }
}

/// The services behind an interceptor, for one call. They were ready when the interceptor was called: a
/// place in a queue or in a limit behind it belongs to this call. Dropping it gives the place back.
#[must_use = "the call goes no further without it"]
pub struct Next(Box<dyn NextService>);

impl Next {
    /// Passes the request on, and waits for the response.
    ///
    /// # Errors
    ///
    /// The status with which the call ended behind the interceptor.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call.
    pub async fn call(self, request: Request) -> Result<Response> {
        self.0.call(request).await
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Next")
    }
}

type BoxResponseFuture = Pin<Box<dyn Future<Output = Result<Response>> + Send>>;

/// A service that is ready for one call, with its type erased.
trait NextService: Send {
    fn call(self: Box<Self>, request: Request) -> BoxResponseFuture;
}

impl<S> NextService for S
where
    S: Service<Request, Response = Response, Error: Into<BoxError>, Future: Send + 'static> + Send,
{
    fn call(mut self: Box<Self>, request: Request) -> BoxResponseFuture {
        let reply = Service::call(&mut *self, request);
        Box::pin(async move { reply.await.map_err(Status::from_error) })
    }
}

/// Puts an interceptor around a service; made by [`intercept`].
#[must_use = "a layer does nothing until it is put on a service"]
pub struct InterceptLayer<I> {
    interceptor: Arc<I>,
}

impl<S, I> Layer<S> for InterceptLayer<I> {
    type Service = InterceptService<S, I>;

    fn layer(&self, inner: S) -> InterceptService<S, I> {
        let interceptor = self.interceptor.clone();
        InterceptService { inner, interceptor }
    }
}

impl<I> Clone for InterceptLayer<I> {
    fn clone(&self) -> Self {
        let interceptor = self.interceptor.clone();
        Self { interceptor }
    }
}

impl<I> fmt::Debug for InterceptLayer<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InterceptLayer")
    }
}

/// A service with an interceptor around it; made by [`InterceptLayer`].
pub struct InterceptService<S, I> {
    inner: S,
    interceptor: Arc<I>,
}

impl<S, I> Service<Request> for InterceptService<S, I>
where
    S: Service<Request, Response = Response, Error: Into<BoxError>, Future: Send + 'static>
        + Clone
        + Send
        + 'static,
    I: Intercept,
{
    type Response = Response;
    type Error = Status;
    type Future = InterceptFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(Status::from_error)
    }

    fn call(&mut self, request: Request) -> InterceptFuture {
        // The service that was found ready goes with the call, and a fresh clone stays.
        let fresh = self.inner.clone();
        let next = Next(Box::new(mem::replace(&mut self.inner, fresh)));
        let interceptor = self.interceptor.clone();
        InterceptFuture(Box::pin(
            async move { interceptor.call(request, next).await },
        ))
    }
}

impl<S: Clone, I> Clone for InterceptService<S, I> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            interceptor: self.interceptor.clone(),
        }
    }
}

impl<S: fmt::Debug, I> fmt::Debug for InterceptService<S, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterceptService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// The future of a call through an [`InterceptService`].
pub struct InterceptFuture(BoxResponseFuture);

impl Future for InterceptFuture {
    type Output = Result<Response>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Response>> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for InterceptFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InterceptFuture")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tower::{
        Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn,
        timeout::TimeoutLayer,
    };
    use wawo_protocol::Code;

    use super::{Intercept, Next, intercept};
    use crate::{
        layer::tests::{poll_once, reply, request},
        request::Request,
        response::Response,
        status::{Result, Status},
    };

    /// Counts calls before and after they went through.
    #[derive(Default)]
    struct Counts {
        before: AtomicUsize,
        after: AtomicUsize,
    }

    impl Intercept for &'static Counts {
        async fn call(&self, request: Request, next: Next) -> Result<Response> {
            self.before.fetch_add(1, Ordering::Relaxed);
            let result = next.call(request).await;
            self.after.fetch_add(1, Ordering::Relaxed);
            result
        }
    }

    #[tokio::test]
    async fn an_interceptor_sees_a_call_before_and_after_and_shares_its_state() {
        let counts: &'static Counts = Box::leak(Box::default());
        let counting = intercept(counts).layer(service_fn(|_| async { reply() }));
        for _ in 0..2 {
            counting.clone().oneshot(request()).await.unwrap();
        }
        let seen = [&counts.before, &counts.after].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(seen, [2, 2]);
    }

    #[tokio::test]
    async fn an_async_closure_may_refuse_a_call_and_change_requests_and_responses() {
        let inner = service_fn(|request: Request| async move {
            let text = request.metadata().text("token").map(str::to_owned);
            let mut response = reply()?;
            response.metadata_mut().append("seen", text.unwrap())?;
            Ok::<_, crate::status::BoxError>(response)
        });
        let outer = intercept(async |mut request: Request, next: Next| {
            if request.is_one_way() {
                return Err(Status::permission_denied("one-way"));
            }
            request.metadata_mut().append("token", "secret")?;
            let mut response = next.call(request).await?;
            response.metadata_mut().append("more", "yes")?;
            Ok(response)
        });
        let mut service = outer.layer(inner);
        let response = service.call(request()).await.unwrap();
        let texts = ["seen", "more"].map(|key| response.metadata().text(key));
        assert_eq!(texts, [Some("secret"), Some("yes")]);
        let (ids, body) = ((request().service(), request().method()), request());
        let body = body.into_parts().1;
        let one_way = Request::by_id(ids.0, ids.1, true, body);
        let status = service.call(one_way).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
    }

    #[tokio::test(start_paused = true)]
    async fn errors_of_layers_behind_it_are_statuses_for_an_interceptor() {
        let held = service_fn(|_| std::future::pending::<Result<Response>>());
        let late = TimeoutLayer::new(Duration::from_secs(1)).layer(held);
        let outer = intercept(async |request: Request, next: Next| {
            let status = next.call(request).await.unwrap_err();
            assert_eq!(status.code(), Code::DeadlineExceeded);
            Err(Status::aborted("seen"))
        });
        let status = outer.layer(late).oneshot(request()).await.unwrap_err();
        assert_eq!(status.message(), "seen");
    }

    #[tokio::test]
    async fn a_place_in_a_limit_goes_with_the_call_and_comes_back_when_next_is_dropped() {
        let one_at_a_time = ConcurrencyLimitLayer::new(1).layer(service_fn(|_| async { reply() }));
        let refuse = intercept(async |_: Request, next: Next| {
            drop(next);
            std::future::pending::<()>().await;
            Err(Status::aborted("never"))
        });
        let mut service = ServiceBuilder::new().layer(refuse).service(one_at_a_time);
        let mut call = service.ready().await.unwrap().call(request());
        assert!(poll_once(&mut service.ready()).is_pending(), "it is taken");
        assert!(poll_once(&mut call).is_pending());
        service.ready().await.unwrap();
    }
}
