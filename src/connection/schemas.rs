//! The services that stubs of this side call, and the table of services that the other side announces in
//! its hello.
//!
//! A difference between the two explains why a call failed, but refuses none: services come and go, and
//! schemas grow. [`ConnectionHandle`](crate::connection::ConnectionHandle) compares them, in
//! `announced.rs`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use crate::{
    descriptor::{MethodDescriptor, MethodIds, MethodName, MethodNames, ServiceDescriptor, list},
    status::CallFailure,
    wire::ServiceEntry,
};

/// The services that stubs over a connection call.
#[derive(Debug, Default)]
pub(crate) struct Schemas(Mutex<Vec<ServiceDescriptor>>);

/// How many services of stubs a connection keeps for the comparison. It bounds the memory of each
/// connection in a program with many services.
const MAX_EXPECTED: usize = 64;

/// How many entries of an announced table are read. A hello has room for some 300 entries with names.
const MAX_ENTRIES: usize = 1024;

impl Schemas {
    /// Adds a service. Returns `false` if it was there already, or if there are too many.
    pub(crate) fn add(&self, service: &ServiceDescriptor) -> bool {
        let mut services = self.lock();
        let key = |service: &ServiceDescriptor| (service.id(), service.fingerprint());
        let is_new = services.iter().all(|other| key(other) != key(service));
        let has_room = services.len() < MAX_EXPECTED;
        if is_new && has_room {
            services.push(service.clone());
        }
        is_new && has_room
    }

    pub(crate) fn all(&self) -> Vec<ServiceDescriptor> {
        self.lock().clone()
    }

    /// The name of a method that this side calls, for the log.
    pub(crate) fn name(&self, ids: MethodIds) -> MethodName {
        MethodNames::new(self.lock().iter()).name(ids)
    }

    pub(super) fn of_method(&self, method: &MethodDescriptor) -> Option<ServiceDescriptor> {
        let services = self.lock();
        let found = services.iter().find(|other| other.id() == method.service());
        found.cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ServiceDescriptor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the entry is this service with another schema. An entry without a fingerprint never differs.
pub(super) fn differs(entry: &ServiceEntry, service: &ServiceDescriptor) -> bool {
    entry.id == service.id().0
        && entry.fingerprint != 0
        && entry.fingerprint != service.fingerprint()
}

/// The text that explains why a call of the method may have failed, from the entries of the other side.
/// `own` is the service as this side knows it. A service that was not announced explains only a call that
/// was refused unserved: a peer that passes calls on serves more than it announces.
pub(super) fn explain(
    method: &MethodDescriptor,
    own: Option<&ServiceDescriptor>,
    announced: &[ServiceEntry],
    failure: CallFailure<'_>,
) -> Option<String> {
    let name = method.service_name();
    let id = method.service().0;
    match announced.iter().find(|entry| entry.id == id) {
        Some(entry) if entry.name != name => Some(format!(
            "the peer announced the service {id} as `{}`, not as `{name}`",
            entry.name
        )),
        Some(entry) if own.is_some_and(|own| differs(entry, own)) => {
            Some(format!("the peer announced another schema of `{name}`"))
        }
        Some(_) => None,
        None if failure.is_unserved => not_announced(name, id, announced, failure.said),
        None => None,
    }
}

fn not_announced(name: &str, id: u32, announced: &[ServiceEntry], said: &str) -> Option<String> {
    if let Some(entry) = announced.iter().find(|entry| entry.name == name) {
        let other = entry.id;
        return Some(format!(
            "the peer announced `{name}` with the id {other}, this side calls {id}"
        ));
    }
    let names = list(announced.iter().map(|entry| entry.name.as_str()));
    match (said.contains(&names), said.contains(name)) {
        // The status says both already.
        (true, true) => None,
        (true, false) => Some(format!("the peer did not announce `{name}`")),
        (false, _) => Some(format!(
            "the peer did not announce `{name}`; it announced {names}"
        )),
    }
}

/// The entries of a table, up to the first malformed one.
pub(super) fn read_table(mut table: Bytes) -> (Vec<ServiceEntry>, Option<DecodeError>) {
    let mut entries = Vec::new();
    while !table.is_empty() && entries.len() < MAX_ENTRIES {
        match read_entry(&mut table) {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => {}
            Err(error) => return (entries, Some(error)),
        }
    }
    (entries, None)
}

/// The next field, if it is an entry; `None` for another field.
fn read_entry(table: &mut Bytes) -> Result<Option<ServiceEntry>, DecodeError> {
    let (tag, wire_type) = decode_key(table)?;
    if (tag, wire_type) != (1, WireType::LengthDelimited) {
        skip_field(wire_type, tag, table, DecodeContext::default())?;
        return Ok(None);
    }
    // An entry that is longer than the rest of the table is malformed, which the decoder reports.
    let length = usize::try_from(decode_varint(table)?).unwrap_or(usize::MAX);
    let entry = table.split_to(length.min(table.remaining()));
    match entry.len() == length {
        true => ServiceEntry::decode(entry).map(Some),
        false => ServiceEntry::decode(CUT_OFF).map(Some),
    }
}

/// A message that ends within a field.
const CUT_OFF: &[u8] = &[0x08];

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;

    use super::{MAX_ENTRIES, MAX_EXPECTED, Schemas, explain, read_table};
    use crate::{
        descriptor::{Idempotency, MethodDescriptor, MethodTexts, ServiceDescriptor, Shape},
        status::CallFailure,
        wire::{ServiceEntry, ServiceTable},
    };

    static JOIN: MethodDescriptor = MethodDescriptor::new(
        &MethodTexts::new("chat.Chat/Join", "", ""),
        7,
        1,
        Shape::Unary,
        Idempotency::Unknown,
    );
    static CHAT: ServiceDescriptor = ServiceDescriptor::new("chat.Chat", 7, 1, &[&JOIN], &[]);

    fn entry(id: u32, name: &str, fingerprint: u64) -> ServiceEntry {
        ServiceEntry {
            id,
            name: name.to_owned(),
            fingerprint,
        }
    }

    fn explained(announced: &[ServiceEntry], said: &str) -> Option<String> {
        let failure = CallFailure {
            said,
            is_unserved: true,
        };
        explain(&JOIN, Some(&CHAT), announced, failure)
    }

    #[test]
    fn the_error_of_a_handler_has_nothing_to_do_with_what_was_not_announced() {
        let served = CallFailure {
            said: "no such room",
            is_unserved: false,
        };
        assert_eq!(explain(&JOIN, Some(&CHAT), &[], served), None);
        let other = [entry(7, "chat.Chat", 2)];
        assert!(explain(&JOIN, Some(&CHAT), &other, served).is_some());
    }

    #[test]
    fn what_was_announced_explains_why_a_call_failed() {
        for (announced, text) in [
            (vec![], "did not announce `chat.Chat`; it announced nothing"),
            (
                vec![entry(8, "a.B", 1)],
                "did not announce `chat.Chat`; it announced a.B",
            ),
            (
                vec![entry(8, "chat.Chat", 1)],
                "announced `chat.Chat` with the id 8, this side calls 7",
            ),
            (
                vec![entry(7, "a.B", 1)],
                "announced the service 7 as `a.B`, not as `chat.Chat`",
            ),
            (
                vec![entry(7, "chat.Chat", 2)],
                "announced another schema of `chat.Chat`",
            ),
        ] {
            let explained = explained(&announced, "").unwrap();
            assert_eq!(explained, format!("the peer {text}"));
        }
        for same in [entry(7, "chat.Chat", 1), entry(7, "chat.Chat", 0)] {
            assert_eq!(explained(&[same], ""), None);
        }
    }

    #[test]
    fn names_that_the_peer_said_are_not_said_again_and_only_ten_are() {
        let all: Vec<_> = (0..22).map(|at| entry(100 + at, "a.B", 1)).collect();
        let text = explained(&all, "").unwrap();
        assert!(text.ends_with("a.B, a.B and 12 more"), "{text}");
        let text = explained(&all[..1], "no service with id 7; served: a.B").unwrap();
        assert_eq!(text, "the peer did not announce `chat.Chat`");
        let said = "`chat.Chat` is not served there; served: a.B";
        assert_eq!(explained(&all[..1], said), None);
    }

    #[test]
    fn a_table_is_read_up_to_where_it_is_broken_and_up_to_a_limit() {
        let table = |services: Vec<ServiceEntry>| ServiceTable { services }.encode_to_vec();
        let good = table(vec![entry(7, "chat.Chat", 1), entry(8, "a.B", 2)]);
        let (entries, fault) = read_table(good.clone().into());
        assert_eq!((entries.len(), fault.is_none()), (2, true));
        for end in 1..good.len() {
            let (entries, _) = read_table(Bytes::copy_from_slice(&good[..end]));
            assert!(entries.len() < 2, "{end}");
        }
        let (_, fault) = read_table(Bytes::copy_from_slice(&good[..good.len() - 1]));
        assert!(fault.is_some());
        // Fields that a later version may add.
        let later = [&good[..], &[0x10, 5]].concat();
        assert_eq!(read_table(later.into()).0.len(), 2);
        let many = table(vec![ServiceEntry::default(); MAX_ENTRIES + 1]);
        assert_eq!(read_table(many.into()).0.len(), MAX_ENTRIES);
    }

    #[test]
    fn a_service_is_remembered_once_and_not_beyond_a_limit() {
        let schemas = Schemas::default();
        assert!(schemas.add(&CHAT));
        assert!(!schemas.add(&CHAT));
        for id in 100..200 {
            schemas.add(&ServiceDescriptor::new("other", id, 1, &[], &[]));
        }
        assert_eq!(schemas.lock().len(), MAX_EXPECTED);
    }
}
