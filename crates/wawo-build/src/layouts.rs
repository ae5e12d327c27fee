//! The memory of messages: for each package with services, generates a module of statics from which
//! the size of a message is computed before it is decoded.
//!
//! The Rust compiler knows the sizes of types, so the statics name the Rust types. Only prost knows
//! the names of these types. To learn them, we add a service with one method per message to the
//! schema on its way to prost.

mod fields;
mod type_names;

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{Kind, MessageDescriptor};
use prost_types::{
    FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto, source_code_info::Location,
};

use crate::{
    field_numbers::{METHODS, file::SERVICES},
    layouts::{
        fields::{Fields, kept_fields},
        type_names::TypeNames,
    },
    names,
    source::Source,
};

/// The name of the added service and of the module. prost generates no name that begins with an
/// underscore.
pub(crate) const NAME: &str = "__wawo_layouts";

/// The known layouts of the messages of all packages with services.
pub(crate) struct Layouts {
    packages: BTreeMap<String, Package>,
    fields: Fields,
}

/// The messages that the services of a package use, at any depth.
#[derive(Default)]
struct Package {
    messages: Vec<MessageDescriptor>,
    /// The index of each message in `messages`, by its full name.
    places: BTreeMap<String, usize>,
    /// The full names of requests and replies.
    roots: BTreeSet<String>,
    /// The last file with services, to which the service is added.
    file: String,
}

impl Layouts {
    /// Collects the messages. `is_plain` tells that no setting of prost-build was changed; changed
    /// settings may box fields, copy bytes and use other maps.
    pub(crate) fn new(source: &Source, extern_paths: Vec<String>, is_plain: bool) -> Self {
        let mut packages = BTreeMap::<String, Package>::new();
        for file in source.generated() {
            for service in file.services() {
                let package = packages.entry(file.package_name().to_owned()).or_default();
                file.name().clone_into(&mut package.file);
                for method in service.methods() {
                    package.add_root(&method.input());
                    package.add_root(&method.output());
                }
            }
        }
        Self {
            packages,
            fields: Fields::new(extern_paths, is_plain),
        }
    }

    /// Adds the service to its file.
    pub(crate) fn add_service(&self, file: &mut FileDescriptorProto) {
        let package = self.packages.get(file.package());
        let Some(package) = package.filter(|package| package.file == file.name()) else {
            return;
        };
        let service = i32::try_from(file.service.len()).unwrap_or(i32::MAX);
        let methods = 0..i32::try_from(package.messages.len()).unwrap_or(i32::MAX);
        let method = |(message, index): (&MessageDescriptor, i32)| {
            let name = Some(format!(".{}", message.full_name()));
            MethodDescriptorProto {
                name: Some(format!("m{index}")),
                input_type: name.clone(),
                output_type: name,
                ..MethodDescriptorProto::default()
            }
        };
        file.service.push(ServiceDescriptorProto {
            name: Some(NAME.to_owned()),
            method: package
                .messages
                .iter()
                .zip(methods.clone())
                .map(method)
                .collect(),
            ..ServiceDescriptorProto::default()
        });
        // prost looks for a position of each method.
        if let Some(info) = &mut file.source_code_info {
            let at = |path: Vec<i32>| Location {
                path,
                ..Location::default()
            };
            info.location.push(at(vec![SERVICES, service]));
            let methods = methods.map(|method| at(vec![SERVICES, service, METHODS, method]));
            info.location.extend(methods);
        }
    }

    /// The static of a request or reply, in the module of its package. `None` if it has no fields.
    pub(crate) fn of(&self, package: &str, proto_type: &str) -> Option<String> {
        let package = self.packages.get(package)?;
        let place = package.places.get(proto_type.trim_start_matches('.'))?;
        let message = &package.messages[*place];
        (message.fields().len() > 0).then(|| format!("{NAME}::M{place}"))
    }

    /// Generates the module of a package from the service that was added to it.
    pub(crate) fn module(&self, service: &prost_build::Service, crate_path: &str) -> String {
        let Some(package) = self.packages.get(&service.package) else {
            return String::new();
        };
        let paths = service.methods.iter();
        let paths = paths.map(|method| names::from_inner_module(&method.input_type));
        let names = TypeNames::new(paths.collect(), &package.places);
        let mut statics = String::new();
        for (message, place) in package.messages.iter().zip(0..) {
            let is_root = package.roots.contains(message.full_name());
            if self.fields.have_memory(message) || (is_root && message.fields().len() > 0) {
                statics += &self.statics(message, place, &names);
            }
        }
        let crate_path = names::from_inner_module(crate_path);
        // Messages without fields that have memory of their own need no `Field`.
        format!(
            "#[allow(deprecated, clippy::all, clippy::pedantic)]\n\
             mod {NAME} {{\n\
             #[allow(unused_imports)]\n\
             use {crate_path}::codegen::{{self, Field, Layout}};\n\
             {statics}\
             }}\n"
        )
    }

    /// Generates the statics of a message and of the entries of its maps.
    fn statics(&self, message: &MessageDescriptor, place: usize, names: &TypeNames<'_>) -> String {
        let mut entries = String::new();
        let mut fields = String::new();
        let mut descriptors: Vec<_> = kept_fields(message).collect();
        descriptors.sort_by_key(|field| field.number());
        for field in &descriptors {
            if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
                let of_entry = entry.fields();
                let of_entry = of_entry.filter_map(|part| self.fields.field(&part, place, names));
                let of_entry = of_entry.collect::<Vec<_>>().join(", ");
                let name = fields::entry_static(place, field);
                entries += &format!("static {name}: Layout = Layout::new(0, &[{of_entry}]);\n");
            }
            if let Some(field) = self.fields.field(field, place, names) {
                fields += &field;
                fields += ", ";
            }
        }
        let size = names.size_of(message);
        let default = self.fields.default_bytes(message, names);
        let default = default.map_or(String::new(), |bytes| format!(" + {bytes}"));
        format!(
            "{entries}\
             pub(super) static M{place}: Layout = Layout::new({size}{default}, &[{fields}]);\n"
        )
    }
}

impl Package {
    fn add_root(&mut self, message: &MessageDescriptor) {
        self.roots.insert(message.full_name().to_owned());
        let mut next = vec![message.clone()];
        while let Some(message) = next.pop() {
            // An entry of a map has no type in Rust.
            let full_name = message.full_name().to_owned();
            if self.places.contains_key(&full_name) {
                continue;
            }
            for field in kept_fields(&message) {
                match field.kind() {
                    Kind::Message(entry) if field.is_map() => next.extend(
                        entry
                            .fields()
                            .filter_map(|part| part.kind().as_message().cloned()),
                    ),
                    Kind::Message(inner) => next.push(inner),
                    _ => {}
                }
            }
            self.places.insert(full_name, self.messages.len());
            self.messages.push(message);
        }
    }
}
