//! The names of Rust types, as the generated statics refer to them.

use std::collections::BTreeMap;

use prost_reflect::MessageDescriptor;

/// The Rust names of the messages of a package.
pub(super) struct TypeNames<'a> {
    /// The paths, by the index of the message.
    paths: Vec<String>,
    places: &'a BTreeMap<String, usize>,
}

impl<'a> TypeNames<'a> {
    /// `places` tells the index in `paths` of each message, by its full name.
    pub(super) fn new(paths: Vec<String>, places: &'a BTreeMap<String, usize>) -> Self {
        Self { paths, places }
    }

    pub(super) fn place(&self, message: &MessageDescriptor) -> usize {
        self.places[message.full_name()]
    }

    pub(super) fn path(&self, message: &MessageDescriptor) -> &str {
        &self.paths[self.place(message)]
    }

    pub(super) fn size_of(&self, message: &MessageDescriptor) -> String {
        format!("codegen::size_of::<{}>()", self.path(message))
    }
}
