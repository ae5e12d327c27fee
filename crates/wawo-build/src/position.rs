//! Where something stands in a `.proto` file.

use prost_reflect::FileDescriptor;

/// `file:line:column` of what a path of descriptor.proto leads to; of what is around it if that
/// has no place of its own; the file's name if its source is not known.
pub(crate) fn position(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let locations = info.map_or(&[][..], |info| &info.location);
    let around = (1..=path.len()).rev().map(|length| &path[..length]);
    for path in around {
        if let Some(found) = locations.iter().find(|location| location.path == path)
            && let [line, column, ..] = found.span[..]
        {
            return format!("{}:{}:{}", file.name(), line + 1, column + 1);
        }
    }
    file.name().to_owned()
}
