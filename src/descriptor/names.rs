//! Finds descriptors by id, since packets carry only ids: for logs, and for layers.
//!
//! A server may change its services while connections have the names of the methods. Each clone of the
//! names has a table of its own, which it reads without a lock as long as no other has replaced it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use wawo_protocol::{MethodId, ServiceId};

use crate::descriptor::{
    method::{MethodDescriptor, MethodRef},
    service::ServiceDescriptor,
};

/// The services whose schemas this side has, to find the names of methods. Clones see later
/// [replacements](Self::replace).
#[derive(Debug, Clone, Default)]
pub(crate) struct MethodNames(Option<KnownMethods>);

#[derive(Debug, Clone)]
struct KnownMethods {
    /// The table as this clone last saw it.
    table: Arc<MethodTable>,
    latest: Arc<LatestTable>,
}

/// The table that all clones share.
#[derive(Debug)]
struct LatestTable {
    /// The generation of the table. It is changed while the table is locked.
    generation: AtomicU64,
    table: Mutex<Arc<MethodTable>>,
}

/// The services and their methods; both lists are sorted by id.
#[derive(Debug)]
struct MethodTable {
    /// The number of tables before this one.
    generation: u64,
    services: Vec<ServiceDescriptor>,
    methods: Vec<MethodRef>,
}

/// The ids of a method, as packets carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodIds {
    pub(crate) service: ServiceId,
    pub(crate) method: MethodId,
}

/// A method in a log: its path if it is known, else its ids and the known names.
#[derive(Debug, Clone)]
pub(crate) enum MethodName {
    Known(MethodDescriptor),
    OfService(ServiceDescriptor, MethodId),
    Ids(MethodIds),
}

impl MethodNames {
    pub(crate) fn new<'a>(services: impl Iterator<Item = &'a ServiceDescriptor>) -> Self {
        let table = MethodTable::new(0, services);
        let latest = LatestTable {
            generation: AtomicU64::new(0),
            table: Mutex::new(table.clone()),
        };
        Self(Some(KnownMethods {
            table,
            latest: Arc::new(latest),
        }))
    }

    /// Replaces the services, for all clones.
    pub(crate) fn replace<'a>(&mut self, services: impl Iterator<Item = &'a ServiceDescriptor>) {
        match &mut self.0 {
            None => *self = Self::new(services),
            Some(known) => known.table = known.latest.replace(services),
        }
    }

    /// The schema of a method, if this side has it.
    pub(crate) fn method(&self, ids: MethodIds) -> Option<MethodRef> {
        self.look_up(|table| table.method(ids).cloned())
    }

    fn look_up<R>(&self, look: impl FnOnce(&MethodTable) -> Option<R>) -> Option<R> {
        let KnownMethods { table, latest } = self.0.as_ref()?;
        match latest.generation.load(Ordering::Relaxed) == table.generation {
            true => look(table),
            false => look(&latest.lock()),
        }
    }

    /// The name of a method.
    #[cold]
    pub(crate) fn name(&self, ids: MethodIds) -> MethodName {
        let name = self.look_up(|table| table.name(ids));
        name.unwrap_or(MethodName::Ids(ids))
    }
}

impl LatestTable {
    fn replace<'a>(
        &self,
        services: impl Iterator<Item = &'a ServiceDescriptor>,
    ) -> Arc<MethodTable> {
        let mut latest = self.lock();
        *latest = MethodTable::new(latest.generation + 1, services);
        self.generation.store(latest.generation, Ordering::Relaxed);
        latest.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Arc<MethodTable>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MethodTable {
    fn new<'a>(
        generation: u64,
        services: impl Iterator<Item = &'a ServiceDescriptor>,
    ) -> Arc<Self> {
        let mut services: Vec<_> = services.cloned().collect();
        services.sort_by_key(ServiceDescriptor::id);
        let methods = services.iter().flat_map(ServiceDescriptor::methods);
        let mut methods: Vec<_> = methods.cloned().map(MethodRef::from).collect();
        methods.sort_by_key(|method| (method.service(), method.id()));
        Arc::new(Self {
            generation,
            services,
            methods,
        })
    }

    fn method(&self, ids: MethodIds) -> Option<&MethodRef> {
        let key = |method: &MethodRef| (method.service(), method.id());
        let found = self
            .methods
            .binary_search_by_key(&(ids.service, ids.method), key);
        found.ok().map(|index| &self.methods[index])
    }

    fn service(&self, id: ServiceId) -> Option<&ServiceDescriptor> {
        let found = self
            .services
            .binary_search_by_key(&id, ServiceDescriptor::id);
        found.ok().map(|index| &self.services[index])
    }

    fn name(&self, ids: MethodIds) -> Option<MethodName> {
        if let Some(method) = self.method(ids) {
            return Some(MethodName::Known(MethodDescriptor::clone(method)));
        }
        let service = self.service(ids.service)?;
        Some(MethodName::OfService(service.clone(), ids.method))
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(method) => method.fmt(f),
            Self::OfService(service, id) => write!(f, "method {id} of {}", service.name()),
            Self::Ids(ids) => write!(f, "method {} of service {}", ids.method, ids.service),
        }
    }
}

/// How many names a text lists, at most.
const MAX_LISTED: usize = 10;

/// A list of names for a text: at most ten of them, and the number of the others.
pub(crate) fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(MAX_LISTED);
    let names: Vec<_> = names.take(MAX_LISTED).collect();
    match (names.is_empty(), more) {
        (true, _) => "nothing".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use wawo_protocol::{MethodId, ServiceId};

    use super::{MAX_LISTED, MethodIds, MethodNames, list};
    use crate::descriptor::{MethodDescriptor, ServiceDescriptor, Shape};

    /// A service with this id, and methods with these.
    fn service(name: &str, id: u32, methods: &[u32]) -> ServiceDescriptor {
        let mut service = ServiceDescriptor::builder(name).id(ServiceId(id));
        for id in methods {
            let name = format!("Join{id}");
            let method = MethodDescriptor::builder(name, Shape::Unary).id(MethodId(*id));
            service = service.method(method);
        }
        service.build().expect("it is right")
    }

    #[test]
    fn a_method_is_found_among_many_and_only_where_it_belongs() {
        let (chat, mail) = (service("a.Chat", 9, &[3, 1]), service("a.Mail", 7, &[2]));
        let names = MethodNames::new([&chat, &mail].into_iter());
        let path = |service, method| {
            let (service, method) = (ServiceId(service), MethodId(method));
            let found = names.method(MethodIds { service, method });
            found.map(|method| method.path().to_owned())
        };
        assert_eq!(path(9, 1), Some("a.Chat/Join1".to_owned()));
        assert_eq!(path(9, 3), Some("a.Chat/Join3".to_owned()));
        assert_eq!(path(7, 2), Some("a.Mail/Join2".to_owned()));
        assert_eq!((path(7, 1), path(9, 2), path(8, 1)), (None, None, None));
    }

    #[test]
    fn clones_see_the_services_that_were_added_and_removed_later() {
        let mut names = MethodNames::new([&service("a.Chat", 9, &[1])].into_iter());
        let older = names.clone();
        let both = [&service("a.Chat", 9, &[1]), &service("a.Mail", 7, &[2])];
        let mail = MethodIds {
            service: ServiceId(7),
            method: MethodId(2),
        };
        assert_eq!(older.name(mail).to_string(), "method 2 of service 7");
        names.replace(both.into_iter());
        for names in [&older, &names, &names.clone()] {
            assert_eq!(names.name(mail).to_string(), "a.Mail/Join2");
        }
        names.replace([].into_iter());
        assert!(older.method(mail).is_none() && names.method(mail).is_none());
    }

    #[test]
    fn a_method_is_named_by_as_much_as_is_known_of_it() {
        let names = MethodNames::new([&service("chat.Chat", 7, &[1])].into_iter());
        for (service, method, name) in [
            (7, 1, "chat.Chat/Join1"),
            (7, 2, "method 2 of chat.Chat"),
            (8, 1, "method 1 of service 8"),
        ] {
            let (service, method) = (ServiceId(service), MethodId(method));
            let ids = MethodIds { service, method };
            assert_eq!(names.name(ids).to_string(), name);
        }
    }

    #[test]
    fn a_list_has_an_end() {
        assert_eq!(list([].into_iter()), "nothing");
        assert_eq!(list(["a", "b"].into_iter()), "a, b");
        let full = ["a"; MAX_LISTED];
        assert!(!list(full.into_iter()).contains("more"));
        let over = ["a"; MAX_LISTED + 12];
        assert!(list(over.into_iter()).ends_with("a, a and 12 more"));
    }
}
