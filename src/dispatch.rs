//! Finds the service for a call by its id.

mod completion;
pub(crate) mod handler;
mod handling;

use std::task::{self, Poll};

use thiserror::Error;
use tower::Service;
use wawo_protocol::ServiceId;

use crate::{
    descriptor::ServiceDescriptor,
    reply::ReplyFuture,
    request::Request,
    response::Response,
    serve::{BoxService, Serve},
    status::{Result, Status},
};

/// The services of one side, found by id. It is itself a tower service; a call for an id that is
/// not there answers `Unimplemented`.
#[derive(Debug, Clone, Default)]
pub struct Dispatch {
    /// Sorted by id.
    services: Vec<(ServiceId, &'static ServiceDescriptor, BoxService)>,
}

/// Two services that would answer to one id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the services `{first}` and `{second}` have the same id {id}; \
     give one of them another by `option (wawo.service).id` in its schema"
)]
#[non_exhaustive]
pub struct DuplicateService {
    /// The name of the one added first.
    pub first: &'static str,
    /// The name of the one added then.
    pub second: &'static str,
    /// Their id.
    pub id: ServiceId,
}

impl Dispatch {
    /// Adds a service.
    ///
    /// # Errors
    ///
    /// If a service with its id is there already.
    pub fn add(&mut self, service: impl Serve) -> Result<(), DuplicateService> {
        let descriptor = service.descriptor();
        let id = descriptor.id();
        match self.find(id) {
            Ok(index) => Err(DuplicateService {
                first: self.services[index].1.name(),
                second: descriptor.name(),
                id,
            }),
            Err(index) => {
                let service = BoxService::new(service);
                self.services.insert(index, (id, descriptor, service));
                Ok(())
            }
        }
    }

    /// What is served, by id.
    pub fn descriptors(&self) -> impl Iterator<Item = &'static ServiceDescriptor> {
        self.services.iter().map(|(_, descriptor, _)| *descriptor)
    }

    fn find(&self, id: ServiceId) -> Result<usize, usize> {
        self.services.binary_search_by_key(&id, |(id, _, _)| *id)
    }
}

impl Service<Request> for Dispatch {
    type Response = Response;
    type Error = Status;
    type Future = ReplyFuture;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<()>> {
        // Which service is meant is known with the request only.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> ReplyFuture {
        match self.find(request.service()) {
            Ok(index) => self.services[index].2.call(request),
            Err(_) => {
                let id = request.service();
                let text = format!("no service with id {id} is served here");
                ReplyFuture::ready(Err(Status::unimplemented(text)))
            }
        }
    }
}
