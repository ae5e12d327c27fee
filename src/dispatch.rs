//! Finds the service for a call by its id.

mod blocking;
mod blocking_future;
mod duplicate;
pub(crate) mod handler;
mod handler_future;
mod only_request;
mod raw;
mod replies;
mod run_to_completion;
mod table;

use std::{
    fmt,
    panic::Location,
    sync::Arc,
    task::{self, Poll},
};

use tower::Service;
use wawo_protocol::ServiceId;

pub(crate) use crate::dispatch::table::LiveTable;
pub use crate::dispatch::{duplicate::DuplicateService, raw::RawService};
use crate::{
    descriptor::{ServiceDescriptor, list},
    dispatch::table::Table,
    request::Request,
    response::Response,
    response_future::ResponseFuture,
    serve::{BoxService, CallService, Serve, Template},
    status::{Result, Status},
};

/// The services of one side, found by id. It is itself a tower service. A call for an unknown id goes to
/// the [fallback](Self::set_fallback), or ends with `Unimplemented`.
///
/// Clones share one table, and cost next to nothing. A clone of the dispatcher clones a service when it
/// is first called for it, so that each connection has its own clones of the services that it calls.
#[derive(Clone, Default)]
pub struct Dispatch {
    /// The table, as this clone last saw it.
    table: Arc<Table>,
    /// The live table, once other handles may change it.
    live: Option<LiveView>,
    /// Clones of the services that were called.
    clones: ServiceClones,
}

/// A table that others may change, as one clone of a dispatcher sees it.
#[derive(Clone)]
struct LiveView {
    table: Arc<LiveTable>,
    generation: u64,
}

/// The services of one clone of a dispatcher.
#[derive(Default)]
struct ServiceClones {
    /// Sorted by id.
    services: Vec<ServiceClone>,
    fallback: Option<BoxService>,
}

struct ServiceClone {
    id: ServiceId,
    /// The service of the table that was cloned.
    template: Arc<Template>,
    service: BoxService,
}

impl Dispatch {
    /// Adds a service. Existing clones do not get it.
    ///
    /// # Errors
    ///
    /// If a service with its id or its name is there already.
    #[track_caller]
    pub fn add(&mut self, service: impl Serve) -> Result<(), DuplicateService> {
        let added = self.table_mut().add(service, Location::caller());
        added.map_err(|(_, duplicate)| duplicate)
    }

    /// Sets the service that gets the calls of all services that are not in the table. It replaces an
    /// earlier fallback. It gets requests unchanged, with encoded messages: a [`Peer`](crate::Peer) sends
    /// them on.
    pub fn set_fallback(&mut self, service: impl CallService) {
        self.table_mut().set_fallback(service);
    }

    /// The services that are served, by id.
    pub fn descriptors(&self) -> impl Iterator<Item = &ServiceDescriptor> {
        self.table.descriptors()
    }

    /// The table that this dispatcher and its later clones share. It can be changed while they are
    /// called.
    pub(crate) fn live(&mut self) -> Arc<LiveTable> {
        let table = Arc::new(LiveTable::new(self.table.clone()));
        let generation = table.generation();
        self.live = Some(LiveView {
            table: table.clone(),
            generation,
        });
        table
    }

    /// The table for this dispatcher alone.
    fn table_mut(&mut self) -> &mut Table {
        self.update();
        self.live = None;
        Arc::make_mut(&mut self.table)
    }

    /// Takes over changes of the table. Clones of services that have stayed are kept.
    #[inline]
    fn update(&mut self) {
        if let Some(live) = &mut self.live {
            let generation = live.table.generation();
            if generation != live.generation {
                live.generation = generation;
                let table = live.table.table();
                self.replace_table(table);
            }
        }
    }

    /// Drops the clones of services that the new table has not.
    #[cold]
    fn replace_table(&mut self, table: Arc<Table>) {
        let has_stayed = |own: &ServiceClone| {
            let now = table.find(own.id);
            now.is_some_and(|now| Arc::ptr_eq(now, &own.template))
        };
        self.clones.services.retain(has_stayed);
        self.table = table;
    }

    /// The service for a call, cloned if this is the first one.
    fn service(&mut self, id: ServiceId) -> Option<&mut BoxService> {
        self.update();
        let own = &self.clones.services;
        let index = match own.binary_search_by_key(&id, |own| own.id) {
            Ok(index) => index,
            Err(index) => {
                let Some(template) = self.table.find(id) else {
                    return self.fallback();
                };
                let own = ServiceClone {
                    id,
                    service: template.fresh(),
                    template: template.clone(),
                };
                self.clones.services.insert(index, own);
                index
            }
        };
        Some(&mut self.clones.services[index].service)
    }

    /// The fallback, cloned if this is the first call for it.
    fn fallback(&mut self) -> Option<&mut BoxService> {
        let template = self.table.fallback()?;
        Some(self.clones.fallback.get_or_insert_with(|| template.fresh()))
    }
}

impl Clone for ServiceClones {
    /// A clone begins without clones of services: the next connection may call others.
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
        // The service is known only with the request, so `call` waits for its readiness.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> ResponseFuture {
        match self.service(request.service()) {
            Some(service) => service.call(request),
            None => {
                let id = request.service();
                let served = list(self.table.descriptors().map(ServiceDescriptor::name));
                ResponseFuture::ready(Err(Status::not_served(id, &served)))
            }
        }
    }
}
