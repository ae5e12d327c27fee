//! Names of methods for logs, where only ids travel.

use std::{fmt, sync::Arc};

use wawo_protocol::{MethodId, ServiceId};

use crate::descriptor::{MethodDescriptor, ServiceDescriptor};

/// The services of which this side has the schema, to name a method by.
#[derive(Debug, Clone, Default)]
pub(crate) struct MethodNames(Option<Arc<[&'static ServiceDescriptor]>>);

/// The ids of a method, as a connection has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodIds {
    pub(crate) service: ServiceId,
    pub(crate) method: MethodId,
}

/// A method in a log: its path if that is known, else what is known of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MethodName {
    Known(&'static MethodDescriptor),
    OfService(&'static ServiceDescriptor, MethodId),
    Ids(MethodIds),
}

impl MethodNames {
    pub(crate) fn new(services: impl Iterator<Item = &'static ServiceDescriptor>) -> Self {
        Self(Some(services.collect()))
    }

    /// The name of a method.
    pub(crate) fn name(&self, ids: MethodIds) -> MethodName {
        let mut services = self.0.iter().flat_map(|services| services.iter());
        match services.find(|service| service.id() == ids.service) {
            None => MethodName::Ids(ids),
            Some(service) => match service.method(ids.method) {
                Some(method) => MethodName::Known(method),
                None => MethodName::OfService(service, ids.method),
            },
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

/// At most this many names stand in a text.
const MAX_LISTED: usize = 10;

/// Names in a text: at most ten of them, and how many more there are.
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
    use crate::descriptor::{Idempotency, MethodDescriptor, ServiceDescriptor, Shape};

    static JOIN: MethodDescriptor =
        MethodDescriptor::new("chat.Chat/Join", 7, 1, Shape::Unary, Idempotency::Unknown);
    static CHAT: ServiceDescriptor = ServiceDescriptor::new("chat.Chat", 7, 1, &[&JOIN]);

    #[test]
    fn a_method_is_named_by_as_much_as_is_known_of_it() {
        let names = MethodNames::new([&CHAT].into_iter());
        for (service, method, name) in [
            (7, 1, "chat.Chat/Join"),
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
