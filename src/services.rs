//! The services and layers of one side, while a builder collects them.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tower::{
    Layer,
    layer::util::{Identity, Stack},
};

use crate::{
    descriptor::{MethodNames, ServiceDescriptor},
    dispatch::{Dispatch, DuplicateService, LiveTable},
    layer::PanicGuardLayer,
    observe::Observers,
    serve::{BoxService, CallService, Serve},
    wire,
};

/// The services and layers that a server or a peer will serve.
#[derive(Debug, Clone)]
pub(crate) struct Services<L> {
    layers: L,
    dispatch: Dispatch,
    /// The first two services with the same id or name. `build` returns it as the error.
    duplicate: Option<DuplicateService>,
    /// The observers of all calls, in both directions.
    pub(crate) observers: Observers,
}

impl Services<Identity> {
    pub(crate) fn new() -> Self {
        Self {
            layers: Identity::new(),
            dispatch: Dispatch::default(),
            duplicate: None,
            observers: Observers::default(),
        }
    }
}

impl<L> Services<L> {
    /// Adds a service.
    #[track_caller]
    pub(crate) fn add(&mut self, service: impl Serve) {
        if let Err(duplicate) = self.dispatch.add(service) {
            self.duplicate.get_or_insert(duplicate);
        }
    }

    /// Serves the calls of services that are not added.
    pub(crate) fn set_fallback(&mut self, service: impl CallService) {
        self.dispatch.set_fallback(service);
    }

    /// Puts a layer around all services; the first one added sees a call first. It also sees the panics
    /// of layers that are added later.
    pub(crate) fn layer<M>(self, layer: M) -> Services<Stack<Stack<PanicGuardLayer, M>, L>> {
        Services {
            layers: Stack::new(Stack::new(PanicGuardLayer::new(), layer), self.layers),
            dispatch: self.dispatch,
            duplicate: self.duplicate,
            observers: self.observers,
        }
    }

    /// Builds one service of all, and the table for the hello.
    pub(crate) fn build(self) -> Result<(BoxService, Bytes), DuplicateService>
    where
        L: Layer<Dispatch, Service: CallService>,
    {
        if let Some(duplicate) = self.duplicate {
            return Err(duplicate);
        }
        let table = table(self.dispatch.descriptors());
        let names = MethodNames::new(self.dispatch.descriptors());
        let service = BoxService::new(self.layers.layer(self.dispatch));
        let service = service.with_names(names);
        Ok((service.with_observers(self.observers.shared()), table))
    }

    /// Builds as [`build`](Self::build) does, and returns the live table, in which services can be added
    /// and removed.
    pub(crate) fn build_live(
        mut self,
    ) -> Result<(BoxService, Bytes, Arc<LiveTable>), DuplicateService>
    where
        L: Layer<Dispatch, Service: CallService>,
    {
        let live = self.dispatch.live();
        let (service, table) = self.build()?;
        Ok((service, table, live))
    }
}

/// The services for the hello, which has room for some 300. A table that does not fit is left out, and the log
/// says so: it only gives the other side better errors, and is not needed to call.
pub(crate) fn table<'a>(descriptors: impl Iterator<Item = &'a ServiceDescriptor>) -> Bytes {
    /// The longest table that is sent, in bytes. A hello has at most 16 KiB, of which credentials need some.
    const MAX_TABLE_BYTES: usize = 12 * 1024;
    let entry = |descriptor: &ServiceDescriptor| wire::ServiceEntry {
        id: descriptor.id().0,
        name: descriptor.name().to_owned(),
        fingerprint: descriptor.fingerprint(),
    };
    let services = descriptors.map(entry).collect();
    let table = wire::ServiceTable { services }.encode_to_vec();
    if table.len() <= MAX_TABLE_BYTES {
        return table.into();
    }
    let (bytes, max_bytes) = (table.len(), MAX_TABLE_BYTES);
    tracing::warn!(
        target: "wawo::server",
        bytes,
        max_bytes,
        "the table of the services does not fit into the hello: peers are not told what is served here"
    );
    Bytes::new()
}
