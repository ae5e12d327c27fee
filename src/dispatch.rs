//! Finds the service for a call by its id.

mod blocking;
mod blocking_future;
pub(crate) mod handler;
mod handler_future;
mod run_to_completion;

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{self, Poll},
};

use tower::Service;
use wawo_protocol::ServiceId;

use crate::{
    descriptor::{ServiceDescriptor, list},
    request::Request,
    response::Response,
    response_future::ResponseFuture,
    serve::{BoxService, Serve},
    status::{Result, Status},
};

/// The services of one side, found by id. It is itself a tower service; a call for an id that is
/// not there answers `Unimplemented`.
///
/// Clones share one table, and cost next to nothing. A service is cloned when a clone of the
/// dispatcher is first called for it, so that each connection has its own, of those that are called.
#[derive(Clone, Default)]
pub struct Dispatch {
    /// Sorted by id.
    table: Arc<Vec<DispatchEntry>>,
    /// Clones of those that were called.
    own: Own,
}

/// A service of the table, from which others are cloned.
struct DispatchEntry {
    id: ServiceId,
    descriptor: ServiceDescriptor,
    /// Locked to clone it only: a service need not be `Sync`.
    service: Mutex<BoxService>,
}

/// The services of one clone of a dispatcher, sorted by id.
#[derive(Default)]
struct Own(Vec<(ServiceId, BoxService)>);

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
            service: Mutex::new(BoxService::new(service)),
        };
        let index = self.table.partition_point(|other| other.id < id);
        Arc::make_mut(&mut self.table).insert(index, served);
        Ok(())
    }

    /// What is served, by id.
    pub fn descriptors(&self) -> impl Iterator<Item = &ServiceDescriptor> {
        self.table.iter().map(|served| &served.descriptor)
    }

    fn find(&self, id: ServiceId) -> Result<usize, usize> {
        self.table.binary_search_by_key(&id, |served| served.id)
    }

    /// The service for a call, cloned if this is the first one.
    fn service(&mut self, id: ServiceId) -> Option<&mut BoxService> {
        let own = &self.own.0;
        let index = match own.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(index) => index,
            Err(index) => {
                let service = self.table[self.find(id).ok()?].fresh();
                self.own.0.insert(index, (id, service));
                index
            }
        };
        Some(&mut self.own.0[index].1)
    }
}

impl DispatchEntry {
    fn fresh(&self) -> BoxService {
        let service = self.service.lock();
        service.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Clone for DispatchEntry {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            descriptor: self.descriptor.clone(),
            service: Mutex::new(self.fresh()),
        }
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
                let served = list(self.table.iter().map(|served| served.descriptor.name()));
                ResponseFuture::ready(Err(Status::not_served(id, &served)))
            }
        }
    }
}
