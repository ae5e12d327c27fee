//! Finds the service for a call by its id.

mod blocking;
mod blocking_future;
pub(crate) mod handler;
mod handler_future;
mod raw;
mod run_to_completion;

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{self, Poll},
};

use tower::Service;
use wawo_protocol::ServiceId;

pub use crate::dispatch::raw::RawService;
use crate::{
    descriptor::{ServiceDescriptor, list},
    request::Request,
    response::Response,
    response_future::ResponseFuture,
    serve::{BoxService, CallService, Serve},
    status::{Result, Status},
};

/// The services of one side, found by id. It is itself a tower service; a call for an id that is
/// not there goes to the [fallback](Self::set_fallback), or ends with `Unimplemented`.
///
/// Clones share one table, and cost next to nothing. A service is cloned when a clone of the
/// dispatcher is first called for it, so that each connection has its own, of those that are called.
#[derive(Clone, Default)]
pub struct Dispatch {
    table: Arc<Table>,
    /// Clones of those that were called.
    own: Own,
}

/// The services that all clones of a dispatcher share.
#[derive(Clone, Default)]
struct Table {
    /// Sorted by id.
    services: Vec<DispatchEntry>,
    /// Serves the calls of services that are not among them.
    fallback: Option<Template>,
}

/// A service that is cloned and never called. Locked to clone it only: a service need not be `Sync`.
struct Template(Mutex<BoxService>);

/// A service of the table.
#[derive(Clone)]
struct DispatchEntry {
    id: ServiceId,
    descriptor: ServiceDescriptor,
    service: Template,
}

/// The services of one clone of a dispatcher.
#[derive(Default)]
struct Own {
    /// Sorted by id.
    services: Vec<(ServiceId, BoxService)>,
    fallback: Option<BoxService>,
}

/// Two services with one id, or with one name. Calls are told apart by the id, and people, logs and
/// reflection tell services apart by the name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DuplicateService {
    /// The name of the one that was added first.
    pub first: String,
    /// Its id.
    pub first_id: ServiceId,
    /// The name of the one that was added then.
    pub second: String,
    /// Its id.
    pub second_id: ServiceId,
}

impl fmt::Display for DuplicateService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            first,
            first_id,
            second,
            second_id,
        } = self;
        match (first == second, first_id == second_id) {
            (true, true) => write!(f, "the service `{first}` was added twice"),
            (true, false) => write!(
                f,
                "two services are named `{first}`, one with the id {first_id} and one with the id {second_id}; \
                 rename one of them"
            ),
            (false, _) => write!(
                f,
                "the services `{first}` and `{second}` have the same id {first_id}; \
                 give one of them another by `option (wawo.service).id` in its schema"
            ),
        }
    }
}

impl Error for DuplicateService {}

impl Dispatch {
    /// Adds a service.
    ///
    /// # Errors
    ///
    /// If a service with its id or its name is there already.
    pub fn add(&mut self, service: impl Serve) -> Result<(), DuplicateService> {
        let descriptor = service.descriptor().clone();
        let id = descriptor.id();
        let same =
            |other: &&ServiceDescriptor| other.id() == id || other.name() == descriptor.name();
        if let Some(first) = self.descriptors().find(same) {
            return Err(DuplicateService {
                first: first.name().to_owned(),
                first_id: first.id(),
                second: descriptor.name().to_owned(),
                second_id: id,
            });
        }
        let served = DispatchEntry {
            id,
            descriptor,
            service: Template::new(service),
        };
        let index = self.table.services.partition_point(|other| other.id < id);
        let table = Arc::make_mut(&mut self.table);
        table.services.insert(index, served);
        Ok(())
    }

    /// Has this service serve the calls of all services that are not there, instead of one that was set
    /// before. It gets requests as they came, with encoded messages: a [`Peer`](crate::Peer) sends
    /// them on.
    pub fn set_fallback(&mut self, service: impl CallService) {
        Arc::make_mut(&mut self.table).fallback = Some(Template::new(service));
    }

    /// What is served, by id.
    pub fn descriptors(&self) -> impl Iterator<Item = &ServiceDescriptor> {
        let services = self.table.services.iter();
        services.map(|served| &served.descriptor)
    }

    fn find(&self, id: ServiceId) -> Result<usize, usize> {
        let services = &self.table.services;
        services.binary_search_by_key(&id, |served| served.id)
    }

    /// The service for a call, cloned if this is the first one.
    fn service(&mut self, id: ServiceId) -> Option<&mut BoxService> {
        let own = &self.own.services;
        let index = match own.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(index) => index,
            Err(index) => {
                let service = match self.find(id) {
                    Ok(found) => self.table.services[found].service.fresh(),
                    Err(_) => return self.fallback(),
                };
                self.own.services.insert(index, (id, service));
                index
            }
        };
        Some(&mut self.own.services[index].1)
    }

    /// The service for all other calls, cloned if this is the first one.
    fn fallback(&mut self) -> Option<&mut BoxService> {
        let template = self.table.fallback.as_ref()?;
        Some(self.own.fallback.get_or_insert_with(|| template.fresh()))
    }
}

impl Template {
    fn new(service: impl CallService) -> Self {
        Self(Mutex::new(BoxService::new(service)))
    }

    fn fresh(&self) -> BoxService {
        let service = self.0.lock();
        service.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Clone for Template {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.fresh()))
    }
}

impl Clone for Own {
    /// None: what one connection called says nothing about the next.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.descriptors().map(ServiceDescriptor::name);
        f.debug_list().entries(names).finish()
    }
}

impl Service<Request> for Dispatch {
    type Response = Response;
    type Error = Status;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<()>> {
        // Which service is meant is known with the request only.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> ResponseFuture {
        match self.service(request.service()) {
            Some(service) => service.call(request),
            None => {
                let id = request.service();
                let services = self.table.services.iter();
                let served = list(services.map(|served| served.descriptor.name()));
                ResponseFuture::ready(Err(Status::not_served(id, &served)))
            }
        }
    }
}
