//! A status as the outcome of a call, on the side that made the call: it gets the method, the address,
//! and why the peer may have refused it.

use std::{error::Error, fmt, sync::Arc};

use wawo_protocol::{Code, ServiceId};

use crate::{
    descriptor::MethodDescriptor,
    status::{
        Delivery, Status,
        site::{CallFailure, CallPlace, Carrier, Site},
    },
    transport::Address,
};

/// The text with which a callee says that it does not have a service.
fn no_service(id: ServiceId) -> String {
    format!("no service with id {id} is served by the callee")
}

/// An explanation why a peer may have refused a call, as far as this side knows.
#[derive(Debug)]
struct Explanation(String);

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Explanation {}

impl Status {
    /// The method whose call ended with this status; `None` for a status that no call of this side
    /// returned.
    pub fn method(&self) -> Option<&MethodDescriptor> {
        self.0.site.method.as_ref()
    }

    /// The address of the peer whose call ended with this status; `None` for a call in the same
    /// process, for a peer without an address, and for a status that no call of this side
    /// returned.
    pub fn address(&self) -> Option<&Address> {
        self.0.site.address()
    }

    /// Sets the address of the peer whose call ended with this status. A carrier of calls over a medium
    /// of its own knows it; a status that a handler returns tells none.
    #[must_use = "returns the status with the address"]
    pub fn with_address(mut self, address: Address) -> Self {
        self.0.site.place = CallPlace::Address(address);
        self
    }

    /// Records that the call went over a connection.
    #[cold]
    pub(crate) fn carried_by(mut self, carrier: Option<Arc<dyn Carrier>>) -> Self {
        if let Some(carrier) = carrier {
            self.0.site.place = CallPlace::Carrier(carrier);
        }
        self
    }

    /// Records that the call was not sent, and the address that it would have gone to.
    #[cold]
    pub(crate) fn at(self, address: Option<&Address>) -> Self {
        match address {
            Some(address) => self.with_address(address.clone()),
            None => self,
        }
    }

    /// Records that the call was made in this process.
    #[cold]
    pub(crate) fn in_process(mut self) -> Self {
        self.0.site.place = CallPlace::Process;
        self
    }

    /// The status of a callee that does not have a service. The callee knows only the id of the service;
    /// the caller replaces it by the name.
    #[cold]
    pub(crate) fn not_served(service: ServiceId, served: &str) -> Self {
        let text = format!("{}; served: {served}", no_service(service));
        Self::unimplemented(text).with_delivery(Delivery::NotSent)
    }

    /// Replaces the id of the service that was called by its name.
    fn name_service(&mut self, method: &MethodDescriptor) {
        let named = self.0.message.strip_prefix(&*no_service(method.service()));
        if let Some(rest) = named {
            self.0.message =
                format!("`{}` is not served there{rest}", method.service_name()).into();
        }
    }

    /// Ends a call of this method. `carrier` is the connection that carried it, if the status does not
    /// name one.
    #[cold]
    pub(crate) fn of_call(
        mut self,
        method: &MethodDescriptor,
        carrier: Option<Arc<dyn Carrier>>,
    ) -> Self {
        let mut fits = matches!(self.0.code, Code::Unimplemented | Code::InvalidArgument);
        if let (CallPlace::Unknown, Some(carrier)) = (&self.0.site.place, carrier) {
            // This side made the status, so the code `Internal` means that the reply cannot be decoded.
            fits |= self.0.code == Code::Internal;
            self.0.site.place = CallPlace::Carrier(carrier);
        }
        self.0.site.method = Some(method.clone());
        if self.0.code == Code::Unimplemented {
            self.name_service(method);
        }
        self.0.is_returned = true;
        if let CallPlace::Carrier(carrier) = &self.0.site.place {
            let carrier = carrier.clone();
            let failure = CallFailure {
                said: &self.0.message,
                is_unserved: self.0.delivery == Delivery::NotSent,
            };
            if fits && let Some(text) = carrier.explain(method, failure) {
                self.0.source = Some(Arc::new(Explanation(text)));
            }
            // The address is copied: a status may be kept for long, and must not keep the connection's
            // state alive.
            self.0.site.place = match carrier.address() {
                Some(address) => CallPlace::Address(address.clone()),
                None => CallPlace::Peer(carrier.id()),
            };
        }
        self
    }

    /// Removes the call that it ended, because it becomes the status of another call.
    pub(crate) fn without_site(mut self) -> Self {
        self.0.site = Site::default();
        self
    }
}
