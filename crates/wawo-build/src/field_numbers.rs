//! Field numbers of descriptor.proto. Paths of items consist of them and of indices.

pub(crate) mod file {
    pub(crate) const PACKAGE: i32 = 2;
    pub(crate) const DEPENDENCIES: i32 = 3;
    pub(crate) const MESSAGES: i32 = 4;
    pub(crate) const ENUMS: i32 = 5;
    pub(crate) const SERVICES: i32 = 6;
}

pub(crate) mod message {
    pub(crate) const FIELDS: i32 = 2;
    pub(crate) const MESSAGES: i32 = 3;
    pub(crate) const ENUMS: i32 = 4;
    pub(crate) const ONEOFS: i32 = 8;
}

/// The values of an enum.
pub(crate) const VALUES: i32 = 2;

/// The methods of a service.
pub(crate) const METHODS: i32 = 2;
