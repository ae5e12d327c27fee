//! A panic ends one call, and the layers around it see a status.

use std::task::{Context, Poll};

use tower::{Layer, Service};

use crate::{
    panic::{Part, catch},
    request::Request,
    response::Response,
    response_future::ResponseFuture,
    status::{BoxError, Result, Status},
};

/// Turns a panic of what is inside (a service, its codec, other layers) into the status
/// [`Internal`](crate::Code::Internal), as well as any error into its status. So the layers outside
/// of it count, log and measure a panic as they do every failure.
///
/// There is one inside of each layer that is put on a server, a service or a method by itself.
/// Layers that were stacked before, as by [`tower::ServiceBuilder`], have none between them: put this
/// layer there if the outer ones are to see a panic of the inner ones. A panic that passes all layers
/// ends its call with `Internal` too.
///
/// A panic in `poll_ready` is an error of that, as tower has it: the call ends with the status, and
/// the layers outside, which asked whether they may call, do not call.
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct PanicGuardLayer(());

impl PanicGuardLayer {
    /// The layer; there is nothing to set.
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

/// A service whose panics become statuses; made by [`PanicGuardLayer`], and what every layer on a
/// server, a service or a method finds inside of it.
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
