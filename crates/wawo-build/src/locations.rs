//! The positions of a file's items. prost expects one for each item once a file has any, and tools
//! that strip descriptors leave out some.

use std::collections::BTreeSet;

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, source_code_info::Location,
};

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

/// The paths of all items for which prost looks up comments, with the field numbers of
/// descriptor.proto.
fn paths(file: &FileDescriptorProto) -> Vec<Vec<i32>> {
    let mut paths = Vec::new();
    let mut messages = children::<DescriptorProto>(&[], 4, &file.message_type);
    let mut enums = children::<EnumDescriptorProto>(&[], 5, &file.enum_type);
    while let Some((path, message)) = messages.pop() {
        paths.extend(children(&path, 2, &message.field).into_iter().map(path_of));
        paths.extend(
            children(&path, 8, &message.oneof_decl)
                .into_iter()
                .map(path_of),
        );
        messages.extend(children(&path, 3, &message.nested_type));
        enums.extend(children(&path, 4, &message.enum_type));
        paths.push(path);
    }
    for (path, item) in enums {
        paths.extend(children(&path, 2, &item.value).into_iter().map(path_of));
        paths.push(path);
    }
    for (path, service) in children(&[], 6, &file.service) {
        paths.extend(children(&path, 2, &service.method).into_iter().map(path_of));
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

fn path_of<T>((path, _): (Vec<i32>, T)) -> Vec<i32> {
    path
}
