//! Calls a service in the same process without a connection.

use std::{fmt, sync::Arc};

use wawo_protocol::Config;

use crate::{
    call_target::{CallTarget, Start, TwoWay},
    clock,
    descriptor::{MethodNames, ServiceDescriptor},
    identity::Identity,
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

#[derive(Debug)]
struct InProcessService {
    descriptor: ServiceDescriptor,
    inbound: Arc<DirectInbound>,
    default_timeouts: DefaultTimeouts,
    /// The identity of all calls.
    identity: Option<Identity>,
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
            inbound: DirectInbound::new(service, Arc::new(config)),
            identity: None,
        }))
    }

    /// A target for the same service, whose calls have this [identity](crate::Context::identity): for
    /// tests, and for parts of a program that act for a user.
    #[must_use = "returns another target"]
    pub fn with_identity(&self, identity: Identity) -> Self {
        let service = &*self.0;
        Self(Arc::new(InProcessService {
            descriptor: service.descriptor.clone(),
            inbound: service.inbound.clone(),
            default_timeouts: service.default_timeouts,
            identity: Some(identity),
        }))
    }
}

impl CallTarget for InProcess {
    type Ability = TwoWay;

    fn handle(&self) -> Arc<dyn Start> {
        self.0.clone()
    }
}

impl Start for InProcessService {
    fn start(self: Arc<Self>, mut request: Request) -> ResponseFuture {
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
