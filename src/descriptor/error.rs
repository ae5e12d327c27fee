//! The errors of descriptors that cannot be built.

use std::fmt;

use thiserror::Error;

/// The reason why services cannot be described, by hand or from a descriptor set.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// The bytes are not an encoded `google.protobuf.FileDescriptorSet`.
    #[error("the bytes are no FileDescriptorSet: {0}")]
    Unreadable(prost::DecodeError),
    /// A set has two different files with the same name, so it is not clear which one is meant.
    #[error("the set has two different files named `{0}`; leave one of them out, or rename it")]
    FileDiffers(String),
    /// A service or a method has no name, or one with a `/`, which separates the two in a path.
    #[error("`{0}` is no name of a service or a method")]
    Name(String),
    /// Two services, or two methods of one service, have the same name.
    #[error("`{0}` stands there twice; rename one of them")]
    DuplicateName(String),
    /// Two methods of a service have the same id.
    #[error(
        "the methods `{first}` and `{second}` have the same id {id}; \
         give one of them another by `(wawo.method).id`"
    )]
    DuplicateId {
        /// The path of the first one.
        first: String,
        /// The path of the second one.
        second: String,
        /// The id of both.
        id: u32,
    },
    /// An id that a schema sets is not from 1 to 2147483647: higher ids are derived from names.
    #[error("`{name}` sets the id {id}; use a number from 1 to 2147483647")]
    IdOutOfRange {
        /// The service, or the path of the method.
        name: String,
        /// The id that it sets.
        id: u32,
    },
    /// A one-way method has a stream, or a reply.
    #[error(
        "the one-way method `{0}` has a stream or a reply; \
         let it take one message and return google.protobuf.Empty"
    )]
    OneWay(String),
    /// The timeout of a method is below one millisecond.
    #[error(
        "the timeout of `{0}` is below 1 ms, so no call would be made; leave it out or use more"
    )]
    Timeout(String),
    /// A one-way method is set to run to completion, which one-way methods always do.
    #[error("the one-way method `{0}` is set to run to completion; nobody can cancel it as it is")]
    Completion(String),
}

/// As `Display`: a `main` that returns the error prints it by `Debug`.
impl fmt::Debug for DescriptorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
