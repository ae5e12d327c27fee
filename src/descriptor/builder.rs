//! Descriptors that are made at run time.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use wawo_protocol::{Fingerprint, MethodId, ServiceId, Shape};

use crate::descriptor::{
    error::DescriptorError,
    method::{Idempotency, MethodDescriptor},
    service::{Methods, ServiceDescriptor},
    shared::{MethodTexts, StaticOrArc, Texts},
};

/// Builds the descriptor of a service by hand. See [`ServiceDescriptor::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct ServiceBuilder {
    full_name: String,
    id: Option<ServiceId>,
    methods: Vec<MethodBuilder>,
    files: StaticOrArc<[u8]>,
}

/// Builds the descriptor of a method by hand. See [`MethodDescriptor::builder`].
#[derive(Debug, Clone)]
#[must_use = "a method does nothing until it is added to a service"]
pub struct MethodBuilder {
    name: String,
    id: Option<MethodId>,
    shape: Shape,
    input: String,
    output: String,
    idempotency: Idempotency,
    timeout: Option<Duration>,
    runs_to_completion: bool,
    is_blocking: bool,
}

impl ServiceDescriptor {
    /// Begins the descriptor of a service with this full name, such as `chat.v1.Chat`.
    pub fn builder(full_name: impl Into<String>) -> ServiceBuilder {
        ServiceBuilder::new(full_name.into())
    }
}

impl MethodDescriptor {
    /// Begins the descriptor of a method with this name within its service, such as `Join`. It is
    /// added by [`ServiceBuilder::method`].
    pub fn builder(name: impl Into<String>, shape: Shape) -> MethodBuilder {
        MethodBuilder::new(name.into(), shape)
    }
}

impl ServiceBuilder {
    fn new(full_name: String) -> Self {
        Self {
            full_name,
            id: None,
            methods: Vec::new(),
            files: StaticOrArc::Static(&[]),
        }
    }

    /// The number that names the service on the wire. Default: [`ServiceId::of`] its full name, as
    /// for a schema that sets none.
    pub fn id(mut self, id: ServiceId) -> Self {
        self.id = Some(id);
        self
    }

    /// Adds a method, after those that were added before.
    pub fn method(mut self, method: MethodBuilder) -> Self {
        self.methods.push(method);
        self
    }

    /// Sets the files that declare the service, which other services share.
    pub(super) fn files(mut self, files: Arc<[u8]>) -> Self {
        self.files = StaticOrArc::Counted(files);
        self
    }

    /// Builds the descriptor.
    ///
    /// # Errors
    ///
    /// If a name is empty or has a `/`, if two methods have the same name or id, or if a method breaks a
    /// rule of its settings. The error names it.
    pub fn build(self) -> Result<ServiceDescriptor, DescriptorError> {
        check_name(&self.full_name)?;
        let id = self.id.unwrap_or_else(|| ServiceId::of(&self.full_name));
        let mut fingerprint = Fingerprint::new(&self.full_name);
        let mut methods = Vec::<MethodDescriptor>::with_capacity(self.methods.len());
        for method in self.methods {
            let name = method.name.clone();
            let method = method.build(&self.full_name, id)?;
            check_unique(&methods, &method)?;
            let (input, output) = (method.input(), method.output());
            fingerprint.add_method(&name, method.id, method.shape, input, output);
            methods.push(method);
        }
        Ok(ServiceDescriptor {
            name: StaticOrArc::Counted(self.full_name.into()),
            id,
            fingerprint: fingerprint.value(),
            methods: Methods::Counted(methods.into()),
            files: self.files,
        })
    }
}

impl MethodBuilder {
    fn new(name: String, shape: Shape) -> Self {
        Self {
            name,
            id: None,
            shape,
            input: String::new(),
            output: String::new(),
            idempotency: Idempotency::Unknown,
            timeout: None,
            runs_to_completion: false,
            is_blocking: false,
        }
    }

    /// The number that names the method within its service on the wire. Default: [`MethodId::of`]
    /// its name, as for a schema that sets none.
    pub fn id(mut self, id: MethodId) -> Self {
        self.id = Some(id);
        self
    }

    /// The full names of the types of its requests and of its replies, such as
    /// `chat.v1.JoinRequest`. They count in the fingerprint of the service. Empty by default.
    pub fn types(mut self, input: impl Into<String>, output: impl Into<String>) -> Self {
        self.input = input.into();
        self.output = output.into();
        self
    }

    /// Sets whether the method may run twice. Default: [`Idempotency::Unknown`].
    pub fn idempotency(mut self, idempotency: Idempotency) -> Self {
        self.idempotency = idempotency;
        self
    }

    /// The timeout of calls that set none, from one millisecond; more than 49 days count as 49 days. None
    /// by default: then the settings of the connection apply.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Lets a handler that has begun go on to its end although its call was cancelled. See
    /// [`Context::cancelled`](crate::Context::cancelled). Not for one-way methods, which cannot be
    /// cancelled.
    pub fn run_to_completion(mut self) -> Self {
        self.runs_to_completion = true;
        self
    }

    /// Declares that its handler blocks its thread. See [`BlockingLayer`](crate::layer::BlockingLayer).
    pub fn blocking(mut self) -> Self {
        self.is_blocking = true;
        self
    }

    fn build(
        self,
        service: &str,
        service_id: ServiceId,
    ) -> Result<MethodDescriptor, DescriptorError> {
        check_name(&self.name)?;
        let path = format!("{service}/{}", self.name);
        let timeout_ms = match self.timeout {
            None => None,
            Some(timeout) => match NonZeroU32::new(clamped_millis(timeout)) {
                Some(millis) => Some(millis),
                None => return Err(DescriptorError::Timeout(path)),
            },
        };
        if self.runs_to_completion && self.shape == Shape::OneWay {
            return Err(DescriptorError::Completion(path));
        }
        let texts = MethodTexts {
            path,
            input: self.input,
            output: self.output,
        };
        Ok(MethodDescriptor {
            texts: Texts::Counted(Arc::new(texts)),
            service: service_id,
            id: self.id.unwrap_or_else(|| MethodId::of(&self.name)),
            shape: self.shape,
            idempotency: self.idempotency,
            runs_to_completion: self.runs_to_completion,
            is_blocking: self.is_blocking,
            timeout_ms,
            request: None,
            reply: None,
        })
    }
}

/// The timeout in milliseconds, at most what 32 bits hold, as on the wire.
fn clamped_millis(timeout: Duration) -> u32 {
    u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)
}

fn check_name(name: &str) -> Result<(), DescriptorError> {
    match name.is_empty() || name.contains('/') {
        true => Err(DescriptorError::Name(name.to_owned())),
        false => Ok(()),
    }
}

fn check_unique(
    methods: &[MethodDescriptor],
    method: &MethodDescriptor,
) -> Result<(), DescriptorError> {
    for other in methods {
        if other.path() == method.path() {
            return Err(DescriptorError::DuplicateName(method.path().to_owned()));
        }
        if other.id == method.id {
            return Err(DescriptorError::DuplicateId {
                first: other.path().to_owned(),
                second: method.path().to_owned(),
                id: method.id.0,
            });
        }
    }
    Ok(())
}
