//! Compares the services that stubs of this side call with those that the other side announced, and
//! reports and explains the differences.

use std::fmt;

use crate::{
    connection::{
        handle::ConnectionHandle,
        owner::ConnectionEvent,
        schemas::{differs, explain, read_table},
    },
    descriptor::{MethodDescriptor, ServiceDescriptor},
    peer_id::PeerId,
    status::{CallFailure, Carrier},
    transport::Address,
    wire::ServiceEntry,
};

impl ConnectionHandle {
    /// Records that a stub of this side calls this service. Its schema is compared with the announced one
    /// now, or when the hello comes.
    pub(crate) fn expect_schema(&self, service: &ServiceDescriptor) {
        let hello = self.hello();
        let is_silent = hello.is_some_and(|hello| hello.services.is_empty());
        if !is_silent && self.schemas().add(service) && hello.is_some() {
            self.compare(service);
        }
    }

    /// Compares all services of stubs, once the hello has come. A stub that is made at the same time may
    /// compare its service once more.
    pub(super) fn compare_schemas(&self) {
        let services = self.schemas().all();
        services.iter().for_each(|service| self.compare(service));
    }

    /// Reports the service if the other side announced it with another schema.
    fn compare(&self, service: &ServiceDescriptor) {
        let announced = self.announced();
        let Some(entry) = announced.iter().find(|entry| differs(entry, service)) else {
            return;
        };
        let (here, there) = (service.fingerprint(), entry.fingerprint);
        let (here, there) = (Fingerprint(here), Fingerprint(there));
        let warnings = self.warnings();
        warnings.schema_differs(self, service, &here, &there);
        let event = ConnectionEvent::SchemaDiffers(service.clone());
        self.owner().connection_changed(event);
    }

    /// The services that the other side announced; empty before its hello.
    fn announced(&self) -> Vec<ServiceEntry> {
        let table = self.hello().map(|hello| hello.services.clone());
        let (entries, fault) = read_table(table.unwrap_or_default());
        if let Some(error) = fault {
            tracing::debug!(target: "wawo::connection", peer = %self, %error, "the table of services in a hello is broken");
        }
        entries
    }
}

impl Carrier for ConnectionHandle {
    fn id(&self) -> PeerId {
        self.owner().id()
    }

    fn address(&self) -> Option<&Address> {
        self.owner().address()
    }

    fn explain(&self, method: &MethodDescriptor, failure: CallFailure<'_>) -> Option<String> {
        self.hello()?;
        let own = self.schemas().of_method(method);
        explain(method, own.as_ref(), &self.announced(), failure)
    }
}

/// Prints a fingerprint in the form in which people compare fingerprints.
struct Fingerprint(u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
