//! Services as their schemas declare them.

use std::{fmt, sync::Arc};

use wawo_protocol::{MethodId, ServiceId};

use crate::descriptor::{method::MethodDescriptor, shared::StaticOrArc};

/// A service as its schema declares it. Generated code has one as `SERVICE`.
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
    pub(super) name: StaticOrArc<str>,
    pub(super) id: ServiceId,
    pub(super) fingerprint: u64,
    pub(super) methods: Methods,
    /// The encoded files; empty if there are none.
    pub(super) files: StaticOrArc<[u8]>,
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
            name: StaticOrArc::Static(name),
            id: ServiceId(id),
            fingerprint,
            methods: Methods::Static(methods),
            files: StaticOrArc::Static(files),
        }
    }

    /// The full name, such as `chat.v1.Chat`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number that names the service on the wire.
    pub const fn id(&self) -> ServiceId {
        self.id
    }

    /// A hash of the service's name, methods and message names. It differs if two schemas of the service
    /// differ in these.
    pub const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The methods, in the order of the schema.
    pub fn methods(&self) -> impl ExactSizeIterator<Item = &MethodDescriptor> + Clone {
        (0..self.methods.len()).map(|index| self.methods.at(index))
    }

    /// The method with this id.
    pub fn method(&self, id: MethodId) -> Option<&MethodDescriptor> {
        self.methods().find(|method| method.id() == id)
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

/// The methods of a service. Generated code has a static for each, which stubs use to call it.
#[derive(Clone)]
pub(super) enum Methods {
    Static(&'static [&'static MethodDescriptor]),
    Counted(Arc<[MethodDescriptor]>),
}

impl Methods {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Static(methods) => methods.len(),
            Self::Counted(methods) => methods.len(),
        }
    }

    /// The method at an index below [`len`](Self::len).
    pub(super) fn at(&self, index: usize) -> &MethodDescriptor {
        match self {
            Self::Static(methods) => methods[index],
            Self::Counted(methods) => &methods[index],
        }
    }

    fn iter(&self) -> impl Iterator<Item = &MethodDescriptor> {
        (0..self.len()).map(|index| self.at(index))
    }
}

impl PartialEq for Methods {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Methods {}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
