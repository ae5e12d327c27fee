//! Layers before a caller.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    call_target::{CallTarget, Start, TwoWay},
    request::Request,
    response_future::ResponseFuture,
    serve::{BoxService, CallService},
};

/// The way of calls through any tower service, such as a [`Peer`](crate::Peer) under layers.
///
/// ```
/// # fn channel(peer: wawo::Peer) -> wawo::Channel {
/// use std::time::Duration;
/// use tower::{ServiceBuilder, timeout::TimeoutLayer};
///
/// let layers = ServiceBuilder::new().layer(TimeoutLayer::new(Duration::from_secs(1)));
/// wawo::Channel::new(layers.service(peer))
/// # }
/// ```
///
/// Layers with timers, such as tower's `timeout` and `rate_limit`, panic outside of a tokio runtime;
/// wawo's own do not.
///
/// It clones cheaply; all clones and all stubs made over it share the service.
#[derive(Debug, Clone)]
pub struct Channel(Arc<ChannelService>);

#[derive(Debug)]
struct ChannelService(Mutex<BoxService>);

impl Channel {
    /// A channel to a service.
    pub fn new(service: impl CallService) -> Self {
        Self(Arc::new(ChannelService(Mutex::new(BoxService::new(
            service,
        )))))
    }
}

impl CallTarget for Channel {
    type Ability = TwoWay;

    fn handle(&self) -> Arc<dyn Start> {
        self.0.clone()
    }
}

impl Start for ChannelService {
    fn start(self: Arc<Self>, request: Request) -> ResponseFuture {
        // Held while the call is begun, not while it is answered.
        let mut service = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        service.call(request)
    }
}
