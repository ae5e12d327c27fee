//! Services that several threads clone or call.

use std::{
    fmt,
    sync::{Mutex, PoisonError, TryLockError},
};

use crate::serve::BoxService;

/// A service that is cloned and never called. The lock is for cloning: a service need not be `Sync`.
pub(crate) struct Template<S = BoxService>(Mutex<S>);

impl<S: Clone> Template<S> {
    pub(crate) fn new(service: S) -> Self {
        Self(Mutex::new(service))
    }

    /// A clone of the service, which can be called.
    pub(crate) fn fresh(&self) -> S {
        let service = self.0.lock();
        service.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A service that its callers share. No call waits for another: the part of a call that runs at once is
/// the user's code, which may block, or call the same service.
pub(crate) struct SharedService<S> {
    /// It takes a call if no other call begins now.
    service: Mutex<S>,
    /// Each call that comes meanwhile gets a clone of this one.
    template: Template<S>,
}

impl<S: Clone> SharedService<S> {
    pub(crate) fn new(service: S) -> Self {
        Self {
            service: Mutex::new(service.clone()),
            template: Template::new(service),
        }
    }

    /// Begins a call.
    pub(crate) fn begin<R>(&self, call: impl FnOnce(&mut S) -> R) -> R {
        match self.service.try_lock() {
            Ok(mut service) => call(&mut service),
            // A call before has panicked, which ended no other call.
            Err(TryLockError::Poisoned(service)) => call(&mut service.into_inner()),
            Err(TryLockError::WouldBlock) => call(&mut self.template.fresh()),
        }
    }
}

impl<S> fmt::Debug for Template<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template")
    }
}

impl<S> fmt::Debug for SharedService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedService")
    }
}
