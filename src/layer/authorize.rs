//! A layer that lets only calls through that their caller may make.

use std::{
    collections::HashMap,
    fmt,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use tower::{Layer, Service};
use wawo_protocol::{MethodId, ServiceId};

use crate::{
    descriptor::{MethodDescriptor, ServiceDescriptor},
    layer::refusable::RefusableFuture,
    request::Request,
    response::Response,
    status::{BoxError, Result, Status},
};

/// Makes a layer that lets only calls through that their caller may make, by
/// [identity](crate::Context::identity) and method. All other calls are refused before their messages are
/// decoded.
///
/// The rule is a closure, or a table of [`Permissions`]:
///
/// ```
/// use wawo::{MethodDescriptor, Server, layer};
///
/// struct User {
///     is_admin: bool,
/// }
///
/// let authorize = layer::authorize(|user: &User, method: &MethodDescriptor| {
///     user.is_admin || method.service_name() == "chat.v1.Chat"
/// });
/// let server = Server::builder().layer(authorize);
/// ```
///
/// # Errors
///
/// | the caller | the method | the call |
/// |---|---|---|
/// | any | permitted to anyone | goes on |
/// | without an identity of the type `U` | any other | ends: `Unauthenticated` |
/// | with one | permitted | goes on |
/// | with one | not permitted, or not known on this side | ends: `PermissionDenied` |
///
/// So calls that go to a [fallback](crate::ServerBuilder::fallback), whose methods are not known here, are
/// refused too. The handler has not run then; to make the call again does not help.
pub fn authorize<U, A: Authorize<U>>(authorize: A) -> AuthorizeLayer<A, U> {
    AuthorizeLayer {
        authorize: Arc::new(authorize),
        user: PhantomData,
    }
}

/// Decides who may call what, for [`authorize`]. Closures from an identity and a method to a `bool` do, and
/// [`Permissions`].
///
/// It is asked for each call, and must not block. A panic ends the one call with `Internal`.
pub trait Authorize<U>: Send + Sync + 'static {
    /// Whether a caller with this identity may call the method.
    fn permits(&self, user: &U, method: &MethodDescriptor) -> bool;

    /// Whether all may call the method, also without an identity. No method by default.
    fn permits_anyone(&self, method: &MethodDescriptor) -> bool {
        let _ = method;
        false
    }
}

impl<F, U> Authorize<U> for F
where
    F: Fn(&U, &MethodDescriptor) -> bool + Send + Sync + 'static,
{
    fn permits(&self, user: &U, method: &MethodDescriptor) -> bool {
        self(user, method)
    }
}

/// A table of who may call what, for [`authorize`]. Nobody may call a method that is not in it.
///
/// ```
/// # use wawo_test_protos::tests::echo::echo_service;
/// use wawo::layer::{self, Permissions};
///
/// struct User {
///     is_admin: bool,
/// }
///
/// let permissions = Permissions::new()
///     .allow_service(&echo_service::SERVICE, |_: &User| true)
///     .allow(&echo_service::method::NOTE, |user| user.is_admin)
///     .allow_anyone(&echo_service::method::SAY);
/// let server = wawo::Server::builder().layer(layer::authorize(permissions));
/// ```
pub struct Permissions<U> {
    services: HashMap<ServiceId, Rule<U>>,
    methods: HashMap<(ServiceId, MethodId), Rule<U>>,
}

/// The callers that a method is for.
enum Rule<U> {
    Anyone,
    These(Box<dyn Fn(&U) -> bool + Send + Sync>),
}

impl<U> Permissions<U> {
    /// An empty table: nobody may call anything.
    pub fn new() -> Self {
        Self {
            services: HashMap::new(),
            methods: HashMap::new(),
        }
    }

    /// Lets callers call a method, if `permits` says so. It replaces an earlier rule for the method.
    #[must_use = "returns the table with the rule"]
    pub fn allow(
        mut self,
        method: &MethodDescriptor,
        permits: impl Fn(&U) -> bool + Send + Sync + 'static,
    ) -> Self {
        let key = (method.service(), method.id());
        self.methods.insert(key, Rule::These(Box::new(permits)));
        self
    }

    /// Lets callers call the methods of a service that have no rule of their own, if `permits` says so. It
    /// replaces an earlier rule for the service.
    #[must_use = "returns the table with the rule"]
    pub fn allow_service(
        mut self,
        service: &ServiceDescriptor,
        permits: impl Fn(&U) -> bool + Send + Sync + 'static,
    ) -> Self {
        let rule = Rule::These(Box::new(permits));
        self.services.insert(service.id(), rule);
        self
    }

    /// Lets all call a method, also without an identity. It replaces an earlier rule for the method.
    #[must_use = "returns the table with the rule"]
    pub fn allow_anyone(mut self, method: &MethodDescriptor) -> Self {
        let key = (method.service(), method.id());
        self.methods.insert(key, Rule::Anyone);
        self
    }

    fn rule(&self, method: &MethodDescriptor) -> Option<&Rule<U>> {
        let of_method = self.methods.get(&(method.service(), method.id()));
        of_method.or_else(|| self.services.get(&method.service()))
    }
}

impl<U: 'static> Authorize<U> for Permissions<U> {
    fn permits(&self, user: &U, method: &MethodDescriptor) -> bool {
        match self.rule(method) {
            Some(Rule::Anyone) => true,
            Some(Rule::These(permits)) => permits(user),
            None => false,
        }
    }

    fn permits_anyone(&self, method: &MethodDescriptor) -> bool {
        matches!(self.rule(method), Some(Rule::Anyone))
    }
}

impl<U> Default for Permissions<U> {
    fn default() -> Self {
        Self::new()
    }
}

impl<U> fmt::Debug for Permissions<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permissions")
            .field("services", &self.services.len())
            .field("methods", &self.methods.len())
            .finish()
    }
}

/// Lets only calls through that their caller may make; made by [`authorize`].
#[must_use = "a layer does nothing until it is put on a service"]
pub struct AuthorizeLayer<A, U> {
    authorize: Arc<A>,
    user: PhantomData<fn(&U)>,
}

impl<S, A, U> Layer<S> for AuthorizeLayer<A, U> {
    type Service = AuthorizeService<S, A, U>;

    fn layer(&self, inner: S) -> AuthorizeService<S, A, U> {
        let layer = self.clone();
        AuthorizeService { inner, layer }
    }
}

impl<A, U> Clone for AuthorizeLayer<A, U> {
    fn clone(&self) -> Self {
        let authorize = self.authorize.clone();
        let user = PhantomData;
        Self { authorize, user }
    }
}

impl<A, U> fmt::Debug for AuthorizeLayer<A, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthorizeLayer")
    }
}

/// A service whose calls have to be permitted; made by [`AuthorizeLayer`].
pub struct AuthorizeService<S, A, U> {
    inner: S,
    layer: AuthorizeLayer<A, U>,
}

impl<S, A, U> Service<Request> for AuthorizeService<S, A, U>
where
    S: Service<Request, Response = Response, Error: Into<BoxError>>,
    A: Authorize<U>,
    U: Send + Sync + 'static,
{
    type Response = Response;
    type Error = BoxError;
    type Future = RefusableFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> RefusableFuture<S::Future> {
        let checked = check(&*self.layer.authorize, &request);
        RefusableFuture::new(checked, || self.inner.call(request))
    }
}

/// # Errors
///
/// If the caller may not make the call.
fn check<U: Send + Sync + 'static>(authorize: &impl Authorize<U>, request: &Request) -> Result<()> {
    let method = request.descriptor();
    if method.is_some_and(|method| authorize.permits_anyone(method)) {
        return Ok(());
    }
    let Some(user) = request.identity::<U>() else {
        let text = "the caller has no identity, and the method is not for anyone";
        return Err(Status::unauthenticated(text));
    };
    match method {
        Some(method) if authorize.permits(user, method) => Ok(()),
        Some(method) => {
            let text = format!("the caller may not call {}", method.path());
            Err(Status::permission_denied(text))
        }
        None => {
            let text = "the method is not known here, so nobody may call it";
            Err(Status::permission_denied(text))
        }
    }
}

impl<S: Clone, A, U> Clone for AuthorizeService<S, A, U> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            layer: self.layer.clone(),
        }
    }
}

impl<S: fmt::Debug, A, U> fmt::Debug for AuthorizeService<S, A, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizeService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
