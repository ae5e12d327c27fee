//! Types of `extern_path`, of which it is not known that they are `Copy`, `Eq` or `Hash`.
//!
//! prost derives these traits for a message whose fields allow it, and judges a field by the schema of
//! its type, even if the user has another type for it.

use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

use crate::names;

/// Gives each message of `extern_paths` a field that is neither `Copy` nor `Eq` nor `Hash`. No code
/// is generated for these messages.
pub(crate) fn hide_traits(file: &mut FileDescriptorProto, extern_paths: &[String]) {
    let package = file.package().to_owned();
    for message in &mut file.message_type {
        hide_in(message, &package, extern_paths);
    }
}

fn hide_in(message: &mut DescriptorProto, parent: &str, extern_paths: &[String]) {
    let full_name = match parent {
        "" => message.name().to_owned(),
        parent => format!("{parent}.{}", message.name()),
    };
    if names::is_within(&full_name, extern_paths) {
        message.field.push(FieldDescriptorProto {
            label: Some(Label::Repeated.into()),
            r#type: Some(Type::Double.into()),
            ..FieldDescriptorProto::default()
        });
    }
    for inner in &mut message.nested_type {
        hide_in(inner, &full_name, extern_paths);
    }
}
