//! What is known of services and methods before any call: names, ids, shapes, types.
//!
//! A descriptor comes from one of three places. Generated code holds one as a static for each
//! service and method; [`ServiceDescriptor::builder`] makes one by hand; and
//! [`ServiceDescriptor::all_in`] reads all of an encoded `google.protobuf.FileDescriptorSet`. They
//! are the same type, so a service of a script is served, called, logged and limited as a
//! generated one is. A clone copies a few words and allocates nothing.

mod builder;
mod error;
mod files;
mod names;
mod shared;

use std::{fmt, num::NonZeroU32, time::Duration};

pub use wawo_protocol::Shape;
use wawo_protocol::{MethodId, ServiceId};

pub(crate) use crate::descriptor::names::{MethodIds, MethodName, MethodNames, list};
pub use crate::descriptor::{
    builder::{MethodBuilder, ServiceBuilder},
    error::DescriptorError,
    shared::MethodTexts,
};
use crate::{
    descriptor::shared::{Methods, Shared, Texts},
    layout::Layout,
};

/// A service as its schema declares it. Generated code holds one as `SERVICE`.
///
/// # Examples
///
/// ```
/// use wawo::{MethodDescriptor, ServiceDescriptor, ServiceId, Shape};
///
/// let join = MethodDescriptor::builder("Join", Shape::Unary)
///     .types("chat.v1.JoinRequest", "chat.v1.JoinReply");
/// let chat = ServiceDescriptor::builder("chat.v1.Chat").method(join).build()?;
/// assert_eq!(chat.id(), ServiceId::of("chat.v1.Chat"));
/// let join = chat.method_by_name("Join").expect("it was added");
/// assert_eq!(join.path(), "chat.v1.Chat/Join");
/// # Ok::<(), wawo::DescriptorError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceDescriptor {
    name: Shared<str>,
    id: ServiceId,
    fingerprint: u64,
    methods: Methods,
    /// Empty if there are none.
    files: Shared<[u8]>,
}

impl ServiceDescriptor {
    /// For generated code. `files` is the encoded set of files that declare the service.
    #[doc(hidden)]
    pub const fn new(
        name: &'static str,
        id: u32,
        fingerprint: u64,
        methods: &'static [&'static MethodDescriptor],
        files: &'static [u8],
    ) -> Self {
        Self {
            name: Shared::Static(name),
            id: ServiceId(id),
            fingerprint,
            methods: Methods::Static(methods),
            files: Shared::Static(files),
        }
    }

    /// Begins the descriptor of a service with this full name, such as `chat.v1.Chat`.
    pub fn builder(full_name: impl Into<String>) -> ServiceBuilder {
        ServiceBuilder::new(full_name.into())
    }

    /// All services of an encoded `google.protobuf.FileDescriptorSet`, in the order of its files.
    /// Each of them keeps the set as its [`file_descriptor_set`](Self::file_descriptor_set); they
    /// share one copy of it.
    ///
    /// Names, types, shapes and idempotency are read, and the options `(wawo.service)` and
    /// `(wawo.method)`, as `wawo_build` reads them. So a service has the same ids and the same
    /// fingerprint as in generated code.
    ///
    /// # Errors
    ///
    /// If the bytes are no such set, if it has two different files of one name, or if an option
    /// breaks a rule of `wawo/options.proto`.
    pub fn all_in(set: &[u8]) -> Result<Vec<Self>, DescriptorError> {
        files::services(set)
    }

    /// The full name, such as `chat.v1.Chat`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number that names the service on the wire.
    pub const fn id(&self) -> ServiceId {
        self.id
    }

    /// A hash of the service's name, methods and message names: it differs where two schemas of
    /// the service differ in these.
    pub const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The methods, in the order of the schema.
    pub fn methods(&self) -> impl ExactSizeIterator<Item = &MethodDescriptor> + Clone {
        (0..self.methods.len()).map(|index| self.methods.at(index))
    }

    /// The method with this id.
    pub fn method(&self, id: MethodId) -> Option<&MethodDescriptor> {
        self.methods().find(|method| method.id == id)
    }

    /// The method with this name within the service, such as `Join`.
    pub fn method_by_name(&self, name: &str) -> Option<&MethodDescriptor> {
        self.methods().find(|method| method.name() == name)
    }

    /// The files that declare the service and all that they import, as an encoded
    /// `google.protobuf.FileDescriptorSet`: for reflection, JSON and tools. Services of one package
    /// share it. `None` for a service that was described by hand.
    pub fn file_descriptor_set(&self) -> Option<&[u8]> {
        (!self.files.is_empty()).then_some(&*self.files)
    }
}

/// A method as its schema declares it. Generated code holds one for each method, in the module
/// `method` beside the service.
#[derive(Debug, Clone)]
pub struct MethodDescriptor {
    texts: Texts,
    service: ServiceId,
    id: MethodId,
    shape: Shape,
    idempotency: Idempotency,
    runs_to_completion: bool,
    is_blocking: bool,
    timeout_ms: Option<NonZeroU32>,
    /// The memory that messages take, if that is known.
    request: Option<&'static Layout>,
    reply: Option<&'static Layout>,
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

    /// For generated code: what its requests take in memory.
    #[doc(hidden)]
    pub const fn with_request(mut self, layout: &'static Layout) -> Self {
        self.request = Some(layout);
        self
    }

    /// For generated code: what its replies take in memory.
    #[doc(hidden)]
    pub const fn with_reply(mut self, layout: &'static Layout) -> Self {
        self.reply = Some(layout);
        self
    }

    /// For generated code: its handler goes on when its call is cancelled.
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

    /// For generated code: its handler blocks its thread.
    #[doc(hidden)]
    pub const fn run_blocking(mut self) -> Self {
        self.is_blocking = true;
        self
    }

    /// Begins the descriptor of a method with this name within its service, such as `Join`. It is
    /// added by [`ServiceBuilder::method`].
    pub fn builder(name: impl Into<String>, shape: Shape) -> MethodBuilder {
        MethodBuilder::new(name.into(), shape)
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

    /// The full name of the type of its requests, such as `chat.v1.JoinRequest`. Empty if it was
    /// described by hand without one.
    pub fn input(&self) -> &str {
        self.texts.input()
    }

    /// The full name of the type of its replies, such as `chat.v1.JoinReply`. Empty if it was
    /// described by hand without one.
    pub fn output(&self) -> &str {
        self.texts.output()
    }

    /// The service that the method belongs to.
    pub const fn service(&self) -> ServiceId {
        self.service
    }

    /// The number that names the method within its service on the wire.
    pub const fn id(&self) -> MethodId {
        self.id
    }

    /// How many messages go each way.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// What the schema says of running the method twice.
    pub const fn idempotency(&self) -> Idempotency {
        self.idempotency
    }

    /// The memory that its requests take, as far as the schema tells; known of generated code.
    pub const fn request_layout(&self) -> Option<&'static Layout> {
        self.request
    }

    /// The memory that its replies take, as far as the schema tells; known of generated code.
    pub const fn reply_layout(&self) -> Option<&'static Layout> {
        self.reply
    }

    /// Whether a handler that has begun goes on to its end although its call was cancelled, as
    /// `(wawo.method).run_to_completion` asks for. See [`Context::cancelled`](crate::Context::cancelled).
    pub const fn runs_to_completion(&self) -> bool {
        self.runs_to_completion
    }

    /// The timeout of calls that set none, as `(wawo.method).timeout_ms` of the caller's schema asks
    /// for: from one millisecond to 49 days. `None`: the settings of the connection hold.
    pub const fn timeout(&self) -> Option<Duration> {
        match self.timeout_ms {
            Some(millis) => Some(Duration::from_millis(millis.get() as u64)),
            None => None,
        }
    }

    /// Whether its handler blocks its thread, as `(wawo.method).blocking` says. The effect is described
    /// at [`BlockingLayer`](crate::layer::BlockingLayer), which says the same at a server.
    pub const fn is_blocking(&self) -> bool {
        self.is_blocking
    }
}

/// Methods are equal if their schemas say the same of them. Layouts do not count: they belong to the
/// Rust types of one program.
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

/// What a schema says, by `idempotency_level`, of running a method twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the levels that protobuf defines")]
pub enum Idempotency {
    /// Nothing: running it twice may do harm.
    Unknown,
    /// It changes nothing.
    NoSideEffects,
    /// Running it twice does what running it once does.
    Idempotent,
}
