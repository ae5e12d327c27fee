//! What is known of services and methods before any call: names, ids, shapes.

mod names;

use std::{fmt, time::Duration};

pub use wawo_protocol::Shape;
use wawo_protocol::{MethodId, ServiceId};

pub(crate) use crate::descriptor::names::{MethodIds, MethodName, MethodNames, list};
use crate::layout::Layout;

/// A service as its schema declares it. Generated code holds one as `SERVICE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceDescriptor {
    name: &'static str,
    id: ServiceId,
    fingerprint: u64,
    methods: &'static [&'static MethodDescriptor],
}

impl ServiceDescriptor {
    /// For generated code.
    #[doc(hidden)]
    pub const fn new(
        name: &'static str,
        id: u32,
        fingerprint: u64,
        methods: &'static [&'static MethodDescriptor],
    ) -> Self {
        Self {
            name,
            id: ServiceId(id),
            fingerprint,
            methods,
        }
    }

    /// The full name, such as `chat.v1.Chat`.
    pub const fn name(&self) -> &'static str {
        self.name
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
    pub const fn methods(&self) -> &'static [&'static MethodDescriptor] {
        self.methods
    }

    /// The method with this id.
    pub fn method(&self, id: MethodId) -> Option<&'static MethodDescriptor> {
        let mut methods = self.methods.iter().copied();
        methods.find(|method| method.id == id)
    }
}

/// A method as its schema declares it. Generated code holds one for each method, in the module
/// `method` beside the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodDescriptor {
    path: &'static str,
    service: ServiceId,
    id: MethodId,
    shape: Shape,
    idempotency: Idempotency,
    runs_to_completion: bool,
    is_blocking: bool,
    request: MessageLayout,
    reply: MessageLayout,
    timeout: Option<Duration>,
}

/// The memory that a message takes, if that is known. Methods that differ in nothing else are the same.
#[derive(Debug, Clone, Copy)]
struct MessageLayout(Option<&'static Layout>);

impl PartialEq for MessageLayout {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for MessageLayout {}

impl MethodDescriptor {
    /// For generated code. `path` is `package.Service/Method`.
    #[doc(hidden)]
    pub const fn new(
        path: &'static str,
        service: u32,
        id: u32,
        shape: Shape,
        idempotency: Idempotency,
    ) -> Self {
        Self {
            path,
            service: ServiceId(service),
            id: MethodId(id),
            shape,
            idempotency,
            runs_to_completion: false,
            is_blocking: false,
            request: MessageLayout(None),
            reply: MessageLayout(None),
            timeout: None,
        }
    }

    /// For generated code: what its requests take in memory.
    #[doc(hidden)]
    pub const fn with_request(mut self, layout: &'static Layout) -> Self {
        self.request = MessageLayout(Some(layout));
        self
    }

    /// For generated code: what its replies take in memory.
    #[doc(hidden)]
    pub const fn with_reply(mut self, layout: &'static Layout) -> Self {
        self.reply = MessageLayout(Some(layout));
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
        self.timeout = Some(Duration::from_millis(millis as u64));
        self
    }

    /// For generated code: its handler blocks its thread.
    #[doc(hidden)]
    pub const fn run_blocking(mut self) -> Self {
        self.is_blocking = true;
        self
    }

    /// The full name, such as `chat.v1.Chat/Join`.
    pub const fn path(&self) -> &'static str {
        self.path
    }

    /// The name within the service, such as `Join`.
    pub fn name(&self) -> &'static str {
        let name = self.path.rsplit_once('/');
        name.map_or(self.path, |(_, name)| name)
    }

    /// The name of the service that the method belongs to, such as `chat.v1.Chat`.
    pub(crate) fn service_name(&self) -> &'static str {
        self.path.rsplit_once('/').map_or("", |(name, _)| name)
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

    /// The memory that its requests take, as far as the schema tells.
    pub const fn request_layout(&self) -> Option<&'static Layout> {
        self.request.0
    }

    /// The memory that its replies take, as far as the schema tells.
    pub const fn reply_layout(&self) -> Option<&'static Layout> {
        self.reply.0
    }

    /// Whether a handler that has begun goes on to its end although its call was cancelled, as
    /// `(wawo.method).run_to_completion` asks for. See [`Context::cancelled`](crate::Context::cancelled).
    pub const fn runs_to_completion(&self) -> bool {
        self.runs_to_completion
    }

    /// The timeout of calls that set none, as `(wawo.method).timeout_ms` of the caller's schema asks
    /// for: from one millisecond to 49 days. `None`: the settings of the connection hold.
    pub const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Whether its handler blocks its thread, as `(wawo.method).blocking` says. What that means is
    /// told at [`BlockingLayer`](crate::layer::BlockingLayer), which says it at a server.
    pub const fn is_blocking(&self) -> bool {
        self.is_blocking
    }
}

impl fmt::Display for MethodDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)
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
