//! The table of a dispatcher's services, which a server may change while they are called.

use std::{
    panic::Location,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use wawo_protocol::ServiceId;

use crate::{
    descriptor::ServiceDescriptor,
    dispatch::duplicate::DuplicateService,
    serve::{BoxService, CallService, Serve, Template},
};

/// The services that clones of a dispatcher share.
#[derive(Clone, Default)]
pub(super) struct Table {
    /// The entries, sorted by id.
    services: Vec<DispatchEntry>,
    /// The service for calls of services that are not in the table.
    fallback: Option<Arc<Template>>,
}

/// A service of the table.
#[derive(Clone)]
struct DispatchEntry {
    id: ServiceId,
    descriptor: ServiceDescriptor,
    service: Arc<Template>,
    /// The place in the program that added it.
    added_at: &'static Location<'static>,
}

impl Table {
    /// # Errors
    ///
    /// If a service with its id or its name is there already. It gives the service back, because that is
    /// the user's code, and must not be dropped under the lock.
    pub(super) fn add<S: Serve>(
        &mut self,
        service: S,
        added_at: &'static Location<'static>,
    ) -> Result<(), (S, DuplicateService)> {
        let descriptor = service.descriptor().clone();
        let id = descriptor.id();
        let same =
            |other: &ServiceDescriptor| other.id() == id || other.name() == descriptor.name();
        if let Some(entry) = self.services.iter().find(|entry| same(&entry.descriptor)) {
            let first = &entry.descriptor;
            let duplicate = DuplicateService {
                first: first.name().to_owned(),
                first_id: first.id(),
                second: descriptor.name().to_owned(),
                second_id: id,
                first_at: entry.added_at,
                second_at: added_at,
            };
            return Err((service, duplicate));
        }
        let served = DispatchEntry {
            id,
            descriptor,
            service: template(service),
            added_at,
        };
        let index = self.services.partition_point(|other| other.id < id);
        self.services.insert(index, served);
        Ok(())
    }

    /// Removes a service; returns `false` if no service has that name.
    fn remove(&mut self, name: &str) -> bool {
        let before = self.services.len();
        self.services
            .retain(|other| other.descriptor.name() != name);
        self.services.len() < before
    }

    pub(super) fn set_fallback(&mut self, service: impl CallService) {
        self.fallback = Some(template(service));
    }

    pub(super) fn descriptors(&self) -> impl ExactSizeIterator<Item = &ServiceDescriptor> {
        self.services.iter().map(|served| &served.descriptor)
    }

    pub(super) fn find(&self, id: ServiceId) -> Option<&Arc<Template>> {
        let found = self.services.binary_search_by_key(&id, |served| served.id);
        found.ok().map(|index| &self.services[index].service)
    }

    pub(super) fn fallback(&self) -> Option<&Arc<Template>> {
        self.fallback.as_ref()
    }
}

fn template(service: impl CallService) -> Arc<Template> {
    Arc::new(Template::new(BoxService::new(service)))
}

/// A table that changes while clones of its dispatcher are called. Each clone compares the generation
/// before each call, and reads the table only if the generation has changed.
pub(crate) struct LiveTable {
    generation: AtomicU64,
    table: Mutex<Arc<Table>>,
}

impl LiveTable {
    pub(super) fn new(table: Arc<Table>) -> Self {
        Self {
            generation: AtomicU64::new(0),
            table: Mutex::new(table),
        }
    }

    /// The number of changes so far. A reader that sees a new generation gets that table, or a later one,
    /// from [`table`](Self::table). A change may be seen a little late.
    #[inline]
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    pub(super) fn table(&self) -> Arc<Table> {
        self.lock().clone()
    }

    /// Adds a service.
    ///
    /// # Errors
    ///
    /// If a service with its id or its name is there already.
    #[track_caller]
    pub(crate) fn add(&self, service: impl Serve) -> Result<(), DuplicateService> {
        let added_at = Location::caller();
        let added = self.change(|table| table.add(service, added_at));
        added.map_err(|(_, duplicate)| duplicate)
    }

    /// Removes a service; returns `false` if there is none with that name.
    pub(crate) fn remove(&self, name: &str) -> bool {
        self.change(|table| table.remove(name))
    }

    /// The services that are served now, by id.
    pub(crate) fn descriptors(&self) -> Vec<ServiceDescriptor> {
        self.lock().descriptors().cloned().collect()
    }

    /// The service with this full name, if it is served now.
    pub(crate) fn descriptor(&self, name: &str) -> Option<ServiceDescriptor> {
        let table = self.lock();
        let mut descriptors = table.descriptors();
        descriptors.find(|service| service.name() == name).cloned()
    }

    fn change<R>(&self, change: impl FnOnce(&mut Table) -> R) -> R {
        let mut current = self.lock();
        let mut table = Table::clone(&current);
        let result = change(&mut table);
        let before = std::mem::replace(&mut *current, Arc::new(table));
        self.generation.fetch_add(1, Ordering::Relaxed);
        drop(current);
        // Services are the user's code, so they must not be dropped under the lock.
        drop(before);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Table>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for LiveTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let table = self.table();
        let names = table.descriptors().map(ServiceDescriptor::name);
        f.debug_list().entries(names).finish()
    }
}
