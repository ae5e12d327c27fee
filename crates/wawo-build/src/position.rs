//! Finds positions in a `.proto` file.

use std::fmt::Display;

use prost_types::FileDescriptorProto;

/// Returns `shown:line:column` of the item at a path of descriptor.proto, or of its parent if the
/// item has no position, or only `shown` if the source is not known.
pub(crate) fn position(shown: impl Display, file: &FileDescriptorProto, path: &[i32]) -> String {
    let info = file.source_code_info.as_ref();
    let locations = info.map_or(&[][..], |info| &info.location);
    let around = (1..=path.len()).rev().map(|length| &path[..length]);
    for path in around {
        if let Some(found) = locations.iter().find(|location| location.path == path)
            && let [line, column, ..] = found.span[..]
        {
            return format!("{shown}:{}:{}", line + 1, column + 1);
        }
    }
    shown.to_string()
}

/// Returns `shown:line:column` of the end of a text.
pub(crate) fn position_after(shown: impl Display, text: &str) -> String {
    let lines = text.split('\n');
    let last = lines.clone().next_back().unwrap_or_default();
    format!("{shown}:{}:{}", lines.count(), last.chars().count() + 1)
}
