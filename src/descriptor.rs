//! Descriptors of services and methods: their names, ids, shapes and types, known before any call.
//!
//! A descriptor comes from one of three sources. Generated code has one as a static for each service and
//! method. [`ServiceDescriptor::builder`] makes one by hand. [`ServiceDescriptor::all_in`] reads all of
//! an encoded `google.protobuf.FileDescriptorSet`. All are the same type, so a service of a script is
//! served, called, logged and limited as a generated one is. A clone copies a few words and allocates
//! nothing.
//!
//! ```text
//!   service ──► method ──► shared        a static, or a count of references
//!   builder ──► service                  by hand
//!   files   ──► builder                  from a descriptor set
//!   names   ──► service                  by the ids that travel
//! ```

mod builder;
mod error;
mod files;
mod method;
mod names;
mod service;
mod shared;

pub use wawo_protocol::Shape;

pub(crate) use crate::descriptor::names::{MethodIds, MethodName, MethodNames, list};
pub use crate::descriptor::{
    builder::{MethodBuilder, ServiceBuilder},
    error::DescriptorError,
    method::{Idempotency, MethodDescriptor, MethodRef},
    service::ServiceDescriptor,
    shared::MethodTexts,
};
