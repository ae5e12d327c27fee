//! The parts of a server that new connections need.

use std::sync::Arc;

use wawo_protocol::Config;

use crate::{
    descriptor::{MethodNames, ServiceDescriptor},
    observe::Observers,
    serve::{BoxService, Template},
    server::{ServeError, listeners::Listeners, workers::Workers},
    services,
};

/// The parts that new connections need. They are dropped when the server takes no more.
#[derive(Debug)]
pub(crate) struct OpenParts {
    pub(crate) source: ConnectionSource,
    pub(crate) listeners: Listeners,
    pub(crate) workers: Workers,
}

/// Makes the parts of each connection.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionSource {
    service: Arc<Template>,
    /// The names of the methods behind the service.
    names: MethodNames,
    observers: Option<Arc<Observers>>,
    /// The configuration, with the services for the hello.
    config: Arc<Config>,
}

/// The parts of a server that one connection needs.
pub(crate) struct ConnectionParts {
    pub(crate) service: BoxService,
    pub(crate) config: Arc<Config>,
}

impl OpenParts {
    pub(crate) fn new(service: BoxService, config: Arc<Config>, workers: Workers) -> Self {
        let source = ConnectionSource {
            names: service.names().clone(),
            observers: service.observers().cloned(),
            service: Arc::new(Template::new(service)),
            config,
        };
        Self {
            source,
            listeners: Listeners::default(),
            workers,
        }
    }
}

impl ConnectionSource {
    /// Not to be called under a lock: clones of the service are the user's code.
    pub(crate) fn parts(self) -> ConnectionParts {
        let service = self.service.fresh().with_names(self.names);
        ConnectionParts {
            service: service.with_observers(self.observers),
            config: self.config,
        }
    }

    /// Announces these services in the hellos of new connections, and renews the names of their methods.
    ///
    /// # Errors
    ///
    /// If the services do not fit into a hello.
    pub(crate) fn announce(&mut self, services: &[ServiceDescriptor]) -> Result<(), ServeError> {
        let table = services::table(services.iter());
        self.config = Arc::new(Config::clone(&self.config).with_services(table)?);
        self.names.replace(services.iter());
        Ok(())
    }
}
