//! Fields that have one name in JSON: the linker names only one of them, or none.

use std::{collections::BTreeMap, fmt::Display};

use prost_types::{FieldDescriptorProto, FileDescriptorProto};

use crate::{
    error::Error,
    field_numbers::{file, message},
    locations::children,
    position::position,
};

/// Finds the first two fields of a message that have one name in JSON.
pub(super) fn clash(shown: impl Display, file: &FileDescriptorProto) -> Option<Error> {
    let mut messages = children(&[], file::MESSAGES, &file.message_type);
    while let Some((path, message)) = messages.pop() {
        let fields = children(&path, message::FIELDS, &message.field);
        if let Some(((first_path, first), (second_path, second))) = clash_in(&fields) {
            let problem = format!(
                "the fields `{}` and `{}` ({}) of `{}` are both `{}` in JSON",
                second.name(),
                first.name(),
                position(&shown, file, first_path),
                message.name(),
                json_name(second)
            );
            let at = position(&shown, file, second_path);
            return Some(Error::schema(at, problem, "rename one of them"));
        }
        messages.extend(children(&path, message::MESSAGES, &message.nested_type));
    }
    None
}

/// A field of a message, and its path.
type Field<'a> = (Vec<i32>, &'a FieldDescriptorProto);

/// The first two fields of a message with one name.
fn clash_in<'a>(fields: &'a [Field<'a>]) -> Option<(&'a Field<'a>, &'a Field<'a>)> {
    let mut seen = BTreeMap::new();
    for field in fields {
        // Two fields also clash if only one of them has the name by its option.
        let names = [json_name(field.1), lower_camel_case(field.1.name())];
        if let Some(first) = names.iter().find_map(|name| seen.get(name)) {
            return Some((*first, field));
        }
        seen.extend(names.map(|name| (name, field)));
    }
    None
}

fn json_name(field: &FieldDescriptorProto) -> String {
    match field.json_name() {
        "" => lower_camel_case(field.name()),
        name => name.to_owned(),
    }
}

/// The name of a field in JSON by default.
fn lower_camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut json = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        json.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        json.push_str(letters.as_str());
    }
    json
}
