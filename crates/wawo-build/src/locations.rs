//! The positions of a file's items. prost expects one for each item once a file has any, and tools
//! that strip descriptors leave out some.

use std::collections::BTreeSet;

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, source_code_info::Location,
};

use crate::field_numbers::{METHODS, VALUES, file, message};

/// Adds an empty position for each item without one, if the file has positions at all.
pub(crate) fn complete(file: &mut FileDescriptorProto) {
    let paths = paths(file);
    let Some(info) = &mut file.source_code_info else {
        return;
    };
    let known = info.location.iter().map(|location| location.path.clone());
    let known = known.collect::<BTreeSet<_>>();
    let missing = paths.into_iter().filter(|path| !known.contains(path));
    info.location.extend(missing.map(|path| Location {
        path,
        span: vec![0, 0, 0],
        ..Location::default()
    }));
}

/// The paths of all items for which prost looks up comments.
fn paths(file: &FileDescriptorProto) -> Vec<Vec<i32>> {
    let mut paths = Vec::new();
    let mut messages = children::<DescriptorProto>(&[], file::MESSAGES, &file.message_type);
    let mut enums = children::<EnumDescriptorProto>(&[], file::ENUMS, &file.enum_type);
    while let Some((path, message)) = messages.pop() {
        paths.extend(child_paths(&path, message::FIELDS, &message.field));
        paths.extend(child_paths(&path, message::ONEOFS, &message.oneof_decl));
        messages.extend(children(&path, message::MESSAGES, &message.nested_type));
        enums.extend(children(&path, message::ENUMS, &message.enum_type));
        paths.push(path);
    }
    for (path, item) in enums {
        paths.extend(child_paths(&path, VALUES, &item.value));
        paths.push(path);
    }
    for (path, service) in children(&[], file::SERVICES, &file.service) {
        paths.extend(child_paths(&path, METHODS, &service.method));
        paths.push(path);
    }
    paths
}

/// The items of a repeated field of a descriptor, each with its path: that of the parent, the number of the
/// field, and the index of the item.
pub(crate) fn children<'a, T>(
    parent: &[i32],
    field: i32,
    items: &'a [T],
) -> Vec<(Vec<i32>, &'a T)> {
    let indices = 0..i32::MAX;
    let path = |index| [parent, &[field, index]].concat();
    indices.map(path).zip(items).collect()
}

fn child_paths<T>(parent: &[i32], field: i32, items: &[T]) -> impl Iterator<Item = Vec<i32>> {
    let children = children(parent, field, items);
    children.into_iter().map(|(path, _)| path)
}
