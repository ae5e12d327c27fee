//! Methods as their schemas declare them.

use std::{fmt, num::NonZeroU32, ops::Deref, sync::Arc, time::Duration};

use wawo_protocol::{MethodId, ServiceId, Shape};

use crate::{
    descriptor::shared::{MethodTexts, StaticOrArc, Texts},
    layout::Layout,
};

/// A method as its schema declares it. Generated code has one for each method, in the module `method`
/// beside the service.
#[derive(Debug, Clone)]
pub struct MethodDescriptor {
    pub(super) texts: Texts,
    pub(super) service: ServiceId,
    pub(super) id: MethodId,
    pub(super) shape: Shape,
    pub(super) idempotency: Idempotency,
    pub(super) runs_to_completion: bool,
    pub(super) is_blocking: bool,
    pub(super) timeout_ms: Option<NonZeroU32>,
    /// The memory that its request messages take, if it is known.
    pub(super) request: Option<&'static Layout>,
    pub(super) reply: Option<&'static Layout>,
}

impl MethodDescriptor {
    /// For generated code.
    #[doc(hidden)]
    pub const fn new(
        texts: &'static MethodTexts<&'static str>,
        service: u32,
        id: u32,
        shape: Shape,
        idempotency: Idempotency,
    ) -> Self {
        Self {
            texts: Texts::Static(texts),
            service: ServiceId(service),
            id: MethodId(id),
            shape,
            idempotency,
            runs_to_completion: false,
            is_blocking: false,
            timeout_ms: None,
            request: None,
            reply: None,
        }
    }

    /// For generated code: sets the layout of its requests in memory.
    #[doc(hidden)]
    pub const fn with_request(mut self, layout: &'static Layout) -> Self {
        self.request = Some(layout);
        self
    }

    /// For generated code: sets the layout of its replies in memory.
    #[doc(hidden)]
    pub const fn with_reply(mut self, layout: &'static Layout) -> Self {
        self.reply = Some(layout);
        self
    }

    /// For generated code: declares that its handler goes on when its call is cancelled.
    #[doc(hidden)]
    pub const fn run_to_completion(mut self) -> Self {
        self.runs_to_completion = true;
        self
    }

    /// For generated code: the timeout of calls that set none.
    #[doc(hidden)]
    pub const fn timeout_ms(mut self, millis: u32) -> Self {
        self.timeout_ms = NonZeroU32::new(millis);
        self
    }

    /// For generated code: declares that its handler blocks its thread.
    #[doc(hidden)]
    pub const fn run_blocking(mut self) -> Self {
        self.is_blocking = true;
        self
    }

    /// The address of a descriptor that lives as long as the program, which no other has.
    pub(crate) fn static_address(&self) -> Option<usize> {
        self.texts.static_address()
    }

    /// The full name, such as `chat.v1.Chat/Join`.
    pub fn path(&self) -> &str {
        self.texts.path()
    }

    /// The name within the service, such as `Join`.
    pub fn name(&self) -> &str {
        let path = self.path();
        path.rsplit_once('/').map_or(path, |(_, name)| name)
    }

    /// The full name of the service that the method belongs to, such as `chat.v1.Chat`.
    pub fn service_name(&self) -> &str {
        self.path().rsplit_once('/').map_or("", |(name, _)| name)
    }

    /// The full name of the type of its requests, such as `chat.v1.JoinRequest`. Empty if the method was
    /// described by hand without one.
    pub fn input(&self) -> &str {
        self.texts.input()
    }

    /// The full name of the type of its replies, such as `chat.v1.JoinReply`. Empty if the method was
    /// described by hand without one.
    pub fn output(&self) -> &str {
        self.texts.output()
    }

    /// The id of the service that the method belongs to.
    pub const fn service(&self) -> ServiceId {
        self.service
    }

    /// The number that names the method within its service on the wire.
    pub const fn id(&self) -> MethodId {
        self.id
    }

    /// The shape: whether one message or a stream goes each way.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Whether the method may run twice, by its schema.
    pub const fn idempotency(&self) -> Idempotency {
        self.idempotency
    }

    /// The memory that its requests take, as far as the schema says; known in generated code.
    pub const fn request_layout(&self) -> Option<&'static Layout> {
        self.request
    }

    /// The memory that its replies take, as far as the schema says; known in generated code.
    pub const fn reply_layout(&self) -> Option<&'static Layout> {
        self.reply
    }

    /// Whether a handler that has begun goes on to its end although its call was cancelled, as
    /// `(wawo.method).run_to_completion` declares. See [`Context::cancelled`](crate::Context::cancelled).
    pub const fn runs_to_completion(&self) -> bool {
        self.runs_to_completion
    }

    /// The timeout of calls that set none, which `(wawo.method).timeout_ms` of the caller's schema sets:
    /// from one millisecond to 49 days. `None`: the settings of the connection apply.
    pub const fn timeout(&self) -> Option<Duration> {
        match self.timeout_ms {
            Some(millis) => Some(Duration::from_millis(millis.get() as u64)),
            None => None,
        }
    }

    /// Whether its handler blocks its thread, as `(wawo.method).blocking` declares.
    /// [`BlockingLayer`](crate::layer::BlockingLayer) describes the effect, and declares the same at a
    /// server.
    pub const fn is_blocking(&self) -> bool {
        self.is_blocking
    }
}

/// Methods are equal if their schemas are equal. Layouts do not count: they belong to the Rust types of
/// one program.
impl PartialEq for MethodDescriptor {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |method: &Self| (method.service, method.id, method.timeout_ms);
        let traits = |method: &Self| (method.shape, method.idempotency);
        let handling = |method: &Self| (method.runs_to_completion, method.is_blocking);
        numbers(self) == numbers(other)
            && traits(self) == traits(other)
            && handling(self) == handling(other)
            && self.texts == other.texts
    }
}

impl Eq for MethodDescriptor {}

impl fmt::Display for MethodDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

/// A method in the form in which a call and its request hold it, in two words: a static of generated
/// code, which costs nothing to hold, or a descriptor that was built at run time.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct MethodRef(StaticOrArc<MethodDescriptor>);

impl From<&'static MethodDescriptor> for MethodRef {
    #[inline]
    fn from(method: &'static MethodDescriptor) -> Self {
        Self(StaticOrArc::Static(method))
    }
}

impl From<MethodDescriptor> for MethodRef {
    fn from(method: MethodDescriptor) -> Self {
        Self(StaticOrArc::Counted(Arc::new(method)))
    }
}

impl Deref for MethodRef {
    type Target = MethodDescriptor;

    #[inline]
    fn deref(&self) -> &MethodDescriptor {
        &self.0
    }
}

/// Whether a method may run twice, by the `idempotency_level` of its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the levels that protobuf defines")]
pub enum Idempotency {
    /// Not known: running it twice may do harm.
    Unknown,
    /// It changes nothing, so it may run twice.
    NoSideEffects,
    /// Running it twice has the same effect as running it once.
    Idempotent,
}
