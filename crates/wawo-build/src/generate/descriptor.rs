//! Generates the statics that describe a service and its methods.

use prost_types::method_options::IdempotencyLevel;

use crate::{generate::view::View, ids};

pub(crate) fn statics(service: &View<'_>) -> String {
    let View { name, schema, .. } = service;
    let (full_name, fingerprint) = (&schema.full_name, schema.fingerprint);
    let id = ids::literal(schema.id);
    let mut statics = String::new();
    let mut table = String::new();
    for method in &service.methods {
        let (statik, proto_name) = (&method.statik, &method.prost.proto_name);
        let (method_id, shape) = (ids::literal(method.schema.id), method.schema.shape.name());
        let idempotency = match method.schema.idempotency {
            IdempotencyLevel::IdempotencyUnknown => "Unknown",
            IdempotencyLevel::NoSideEffects => "NoSideEffects",
            IdempotencyLevel::Idempotent => "Idempotent",
        };
        let completion = match method.schema.runs_to_completion {
            true => ".run_to_completion()",
            false => "",
        };
        let timeout = method.schema.timeout_ms;
        let timeout = timeout.map_or(String::new(), |millis| format!(".timeout_ms({millis})"));
        let blocking = match method.schema.is_blocking {
            true => ".run_blocking()",
            false => "",
        };
        let layout = |function: &str, layout: &Option<String>| match layout {
            Some(layout) => format!(".{function}(&super::super::{layout})"),
            None => String::new(),
        };
        let [input, output] = [
            &method.prost.input_proto_type,
            &method.prost.output_proto_type,
        ]
        .map(|name| name.trim_start_matches('.'));
        let request = layout("with_request", &method.request_layout);
        let reply = layout("with_reply", &method.reply_layout);
        statics += &format!(
            "/// `{full_name}/{proto_name}`\n\
             pub static {statik}: MethodDescriptor = MethodDescriptor::new(&MethodTexts::new(\"{full_name}/{proto_name}\", \"{input}\", \"{output}\"), {id}, {method_id}, Shape::{shape}, Idempotency::{idempotency}){completion}{timeout}{blocking}{request}{reply};\n"
        );
        table += &format!("&method::{statik}, ");
    }
    let imports = match service.methods.is_empty() {
        true => "",
        false => "use super::codegen::{Idempotency, MethodDescriptor, MethodTexts, Shape};\n",
    };
    format!(
        "/// The methods of `{name}`.\n\
         pub mod method {{\n\
         {imports}\
         {statics}\
         }}\n\
         /// The descriptor of `{name}`.\n\
         pub static SERVICE: codegen::ServiceDescriptor = codegen::ServiceDescriptor::new(\"{full_name}\", {id}, {fingerprint:#x}, &[{table}], super::FILE_DESCRIPTOR_SET);\n"
    )
}
