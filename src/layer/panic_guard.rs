//! A layer that turns a panic into a status, which ends only one call.

use std::task::{Context, Poll};

use tower::{Layer, Service};

use crate::{
    panic::{Part, catch},
    request::Request,
    response::Response,
    response_future::ResponseFuture,
    status::{BoxError, Result, Status},
};

/// Turns a panic of the service inside (with its codec and its layers) into the status
/// [`Internal`](crate::Code::Internal), and any error into its status. So layers outside of it count, log
/// and measure a panic as they do every failure.
///
/// There is one inside of each layer that is added separately to a server, a service or a method. Layers
/// that were stacked before, as by [`tower::ServiceBuilder`], have none between them: put this layer
/// there if the outer ones are to see a panic of the inner ones. A panic that passes all layers ends its
/// call with `Internal` too.
///
/// A panic in `poll_ready` becomes an error of `poll_ready`, as tower defines it: the call ends with the
/// status, and the layers outside, which polled for readiness, do not call.
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct PanicGuardLayer(());

impl PanicGuardLayer {
    /// Creates the layer, which has no settings.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for PanicGuardLayer {
    type Service = PanicGuard<S>;

    fn layer(&self, inner: S) -> PanicGuard<S> {
        PanicGuard::new(inner)
    }
}

/// A service whose panics become statuses; made by [`PanicGuardLayer`]. Every layer on a server, a
/// service or a method has one inside of it.
#[derive(Debug, Clone)]
pub struct PanicGuard<S> {
    inner: S,
}

impl<S> PanicGuard<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> Service<Request> for PanicGuard<S>
where
    S: Service<Request, Response = Response, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = Response;
    type Error = Status;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match catch(Part::Service, || self.inner.poll_ready(cx)) {
            Ok(poll) => poll.map_err(Status::from_error),
            Err(status) => Poll::Ready(Err(status)),
        }
    }

    fn call(&mut self, request: Request) -> ResponseFuture {
        let begin = || ResponseFuture::guarded(self.inner.call(request));
        catch(Part::Service, begin).unwrap_or_else(|status| ResponseFuture::ready(Err(status)))
    }
}
