//! Calls a service in the same process without a connection.

use std::{fmt, sync::Arc};

use wawo_protocol::Config;

use crate::{
    call_side::CallSide,
    call_target::{CallTarget, Start, TwoWay},
    clock,
    descriptor::{MethodNames, ServiceDescriptor},
    identity::Identity,
    metrics::Metrics,
    observe::{FarEnd, Observe, Observers},
    observed_start::observe,
    request::{DefaultTimeouts, Request},
    response_future::ResponseFuture,
    serve::{
        BoxService, Serve,
        inbound::{DirectInbound, Origin},
    },
    status::Status,
};

/// Carries calls to a service in the same process: for tests, and for parts of a program that may move
/// elsewhere later. As over a connection, messages are encoded and decoded, layers and deadlines apply, a
/// panic ends its call with `Internal`, and a call of another service ends with `Unimplemented`. There
/// are no sockets, and no peer to call back. Calls that set no timeout have the defaults of a [`Config`].
///
/// A call that comes while another is given to the service goes to a clone of it, so that it does not
/// wait.
///
/// Calls need no tokio runtime, unless their handlers do. A one-way message is handled in a task of its
/// own, so outside of a runtime it fails with `FailedPrecondition`.
///
/// Its calls have no [identity](crate::Context::identity), unless [`with_identity`](Self::with_identity)
/// gives them one.
#[derive(Debug, Clone)]
pub struct InProcess(Arc<InProcessService>);

#[derive(Debug, Clone)]
struct InProcessService {
    descriptor: ServiceDescriptor,
    inbound: Arc<DirectInbound>,
    default_timeouts: DefaultTimeouts,
    /// The identity of all calls.
    identity: Option<Identity>,
    observers: Observers,
}

impl InProcess {
    /// Creates a target that calls this service.
    pub fn new(service: impl Serve) -> Self {
        let descriptor = service.descriptor().clone();
        let names = MethodNames::new([&descriptor].into_iter());
        let service = BoxService::new(service).with_names(names);
        let config = Config::default();
        Self(Arc::new(InProcessService {
            descriptor,
            default_timeouts: DefaultTimeouts::new(&config),
            inbound: DirectInbound::new(service, Arc::new(config), FarEnd::in_process()),
            identity: None,
            observers: Observers::default(),
        }))
    }

    /// A target for the same service, whose calls have this [identity](crate::Context::identity): for
    /// tests, and for parts of a program that act for a user.
    #[must_use = "returns another target"]
    pub fn with_identity(&self, identity: Identity) -> Self {
        let mut service = InProcessService::clone(&self.0);
        service.identity = Some(identity);
        Self(Arc::new(service))
    }

    /// A target for the same service, whose calls these metrics count, in place of any other: each call on both
    /// of its sides.
    #[must_use = "returns another target"]
    pub fn with_metrics(&self, metrics: &Metrics) -> Self {
        self.observed_by(|observers| observers.set_metrics(metrics))
    }

    /// A target for the same service, whose calls this observer sees: each call on both of its sides.
    #[must_use = "returns another target"]
    pub fn with_observer(&self, observer: impl Observe) -> Self {
        self.observed_by(|observers| observers.add(observer))
    }

    fn observed_by(&self, add: impl FnOnce(&mut Observers)) -> Self {
        let mut service = InProcessService::clone(&self.0);
        add(&mut service.observers);
        let (observers, far_end) = (service.observers.shared(), FarEnd::in_process());
        service.inbound = service.inbound.observed_by(observers, far_end);
        Self(Arc::new(service))
    }
}

impl CallTarget for InProcess {
    type Ability = TwoWay;

    fn handle(&self) -> Arc<dyn Start> {
        self.0.clone()
    }
}

impl Start for InProcessService {
    fn start(self: Arc<Self>, request: Request) -> ResponseFuture {
        match self.inbound.observed() {
            None => self.serve(request),
            Some((observers, far_end)) => {
                let start = |request| self.clone().serve(request);
                observe(CallSide::Client, observers, far_end, request, start)
            }
        }
    }
}

impl InProcessService {
    fn serve(self: Arc<Self>, mut request: Request) -> ResponseFuture {
        if request.service() != self.descriptor.id() {
            let status = Status::not_served(request.service(), self.descriptor.name());
            return ResponseFuture::ready(Err(status.in_process()));
        }
        let head = request.head_mut();
        head.take_default(clock::now(), &self.default_timeouts);
        if let Some(identity) = &self.identity {
            head.set_identity(identity.clone());
        }
        self.inbound.clone().serve(request, Arc::new(ThisProcess))
    }
}

/// The origin of calls in the same process.
struct ThisProcess;

impl Origin for ThisProcess {
    fn place(&self, status: Status) -> Status {
        status.in_process()
    }
}

impl fmt::Display for ThisProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this process")
    }
}
