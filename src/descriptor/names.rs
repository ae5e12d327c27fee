//! Finds descriptors by id, since packets carry only ids: for logs, and for layers.

use std::{fmt, sync::Arc};

use wawo_protocol::{MethodId, ServiceId};

use crate::descriptor::{method::MethodDescriptor, service::ServiceDescriptor};

/// The services whose schemas this side has, to find the names of methods.
#[derive(Debug, Clone, Default)]
pub(crate) struct MethodNames(Option<Arc<MethodTable>>);

/// The services and their methods; both lists are sorted by id.
#[derive(Debug)]
struct MethodTable {
    services: Vec<ServiceDescriptor>,
    methods: Vec<MethodDescriptor>,
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
        let mut services: Vec<_> = services.cloned().collect();
        services.sort_by_key(ServiceDescriptor::id);
        let methods = services.iter().flat_map(ServiceDescriptor::methods);
        let mut methods: Vec<_> = methods.cloned().collect();
        methods.sort_by_key(|method| (method.service(), method.id()));
        Self(Some(Arc::new(MethodTable { services, methods })))
    }

    /// The schema of a method, if this side has it.
    pub(crate) fn method(&self, ids: MethodIds) -> Option<&MethodDescriptor> {
        let methods = &self.0.as_ref()?.methods;
        let key = |method: &MethodDescriptor| (method.service(), method.id());
        let found = methods.binary_search_by_key(&(ids.service, ids.method), key);
        found.ok().map(|index| &methods[index])
    }

    fn service(&self, id: ServiceId) -> Option<&ServiceDescriptor> {
        let services = &self.0.as_ref()?.services;
        let found = services.binary_search_by_key(&id, ServiceDescriptor::id);
        found.ok().map(|index| &services[index])
    }

    /// The name of a method.
    #[cold]
    pub(crate) fn name(&self, ids: MethodIds) -> MethodName {
        match (self.method(ids), self.service(ids.service)) {
            (Some(method), _) => MethodName::Known(method.clone()),
            (None, Some(service)) => MethodName::OfService(service.clone(), ids.method),
            (None, None) => MethodName::Ids(ids),
        }
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
            found.map(MethodDescriptor::path)
        };
        assert_eq!(path(9, 1), Some("a.Chat/Join1"));
        assert_eq!(path(9, 3), Some("a.Chat/Join3"));
        assert_eq!(path(7, 2), Some("a.Mail/Join2"));
        assert_eq!((path(7, 1), path(9, 2), path(8, 1)), (None, None, None));
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
