//! Fields that have one name in JSON: the linker names only one of them, or none.

use std::{collections::BTreeMap, fmt::Display};

use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};

use crate::{error::Error, position::position};

/// Finds the first two fields of a message that have one name in JSON.
pub(super) fn clash(shown: impl Display, file: &FileDescriptorProto) -> Option<Error> {
    /// Field numbers of descriptor.proto.
    const MESSAGES: i32 = 4;
    const NESTED: i32 = 3;
    const FIELDS: i32 = 2;
    let children = |parent: &[i32], number: i32, message: usize| {
        [
            parent,
            &[number, i32::try_from(message).unwrap_or(i32::MAX)],
        ]
        .concat()
    };
    let messages = file.message_type.iter().enumerate();
    let messages = messages.map(|(index, message)| (children(&[], MESSAGES, index), message));
    let mut messages = messages.collect::<Vec<_>>();
    while let Some((path, message)) = messages.pop() {
        if let Some((first, second)) = clash_in(message) {
            let at = |field| position(&shown, file, &children(&path, FIELDS, field));
            let [one, two] = [first, second].map(|field| &message.field[field]);
            let problem = format!(
                "the fields `{}` and `{}` ({}) of `{}` are both `{}` in JSON",
                two.name(),
                one.name(),
                at(first),
                message.name(),
                json_name(two)
            );
            let remedy = "rename one of them";
            return Some(Error::schema(at(second), problem, remedy));
        }
        let nested = message.nested_type.iter().enumerate();
        messages.extend(nested.map(|(index, inner)| (children(&path, NESTED, index), inner)));
    }
    None
}

/// The indices of two fields with one name.
fn clash_in(message: &DescriptorProto) -> Option<(usize, usize)> {
    let mut seen = BTreeMap::new();
    for (index, field) in message.field.iter().enumerate() {
        // Two fields also clash if only one of them has the name by its option.
        let names = [json_name(field), lower_camel_case(field.name())];
        if let Some(first) = names.iter().find_map(|name| seen.get(name)) {
            return Some((*first, index));
        }
        seen.extend(names.map(|name| (name, index)));
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
