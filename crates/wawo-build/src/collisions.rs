//! Finds names that differ in a schema and become one name in Rust. protox finds names that become
//! one in JSON.

use std::collections::BTreeMap;

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost_build::Module;
use prost_reflect::{EnumDescriptor, FileDescriptor, MessageDescriptor, OneofDescriptor};

use crate::{error::Error, names, source::Source};

/// Checks the types, fields and services of a schema, except types of `extern_paths`, which are not
/// generated.
pub(crate) fn check(source: &Source, extern_paths: &[String]) -> Result<(), Error> {
    let mut names = Names {
        source,
        extern_paths,
        seen: BTreeMap::new(),
    };
    for file in source.generated() {
        for message in file.messages() {
            names.add_message(&file, &message)?;
        }
        for item in file.enums() {
            names.add_enum(&file, &item)?;
        }
        for service in file.services() {
            let scope = Scope::Services(file.package_name().to_owned());
            let rust_name = service.name().to_upper_camel_case();
            names.add(scope, rust_name, service.full_name(), &file, service.path())?;
        }
    }
    Ok(())
}

/// Adds the position of the enum to prost's error that two values of an enum become one in Rust.
pub(crate) fn of_enum_values(source: &Source, panic: String) -> Error {
    let is_named = |name: &str| panic.contains(&format!("`{name}`"));
    for item in source.pool.all_enums() {
        let values = item.values().filter(|value| is_named(value.name()));
        if let Some(second) = values.skip(1).last() {
            let position = source.position(&item.parent_file(), second.path());
            let remedy = "rename one of them, or keep the prefixes of values by \
                          `Builder::prost` and `retain_enum_prefix`";
            return Error::schema(position, format!("`{}`: {panic}", item.full_name()), remedy);
        }
    }
    Error::Prost(panic)
}

/// A scope in which names must differ. A service and a message may share a name, which the message
/// keeps.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// The types in a module, which may be that of a message and of a package.
    Types(Module),
    /// The fields of a message or oneof.
    Fields(String),
    /// The services of a package.
    Services(String),
}

struct Names<'a> {
    source: &'a Source,
    extern_paths: &'a [String],
    /// The schema name and position of each item, by scope and Rust name.
    seen: BTreeMap<(Scope, String), (String, String)>,
}

impl Names<'_> {
    fn add_message(
        &mut self,
        file: &FileDescriptor,
        message: &MessageDescriptor,
    ) -> Result<(), Error> {
        let full_name = message.full_name();
        if message.is_map_entry() || self.is_extern(full_name) {
            return Ok(());
        }
        self.add_type(file, full_name, message.path())?;
        let module = message.name().to_snake_case();
        if names::has_nested(message) && module == message.name().to_upper_camel_case() {
            let problem = format!("`{full_name}` and the module of what it holds are one in Rust");
            let position = self.source.position(file, message.path());
            return Err(Error::schema(
                position,
                problem,
                "begin its name with a letter",
            ));
        }
        for field in message.fields() {
            let oneof = field
                .containing_oneof()
                .filter(|oneof| !oneof.is_synthetic());
            let parent = oneof.as_ref().map_or(full_name, |oneof| oneof.full_name());
            let scope = Scope::Fields(parent.to_owned());
            let rust_name = field.name().to_snake_case();
            self.add(scope, rust_name, field.full_name(), file, field.path())?;
        }
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            self.add_oneof(file, message, &oneof)?;
        }
        for child in message.child_messages() {
            self.add_message(file, &child)?;
        }
        for child in message.child_enums() {
            self.add_enum(file, &child)?;
        }
        Ok(())
    }

    fn add_enum(&mut self, file: &FileDescriptor, item: &EnumDescriptor) -> Result<(), Error> {
        if self.is_extern(item.full_name()) {
            return Ok(());
        }
        let mut values = item.values();
        if let Some(value) = values.find(|value| value.name().to_upper_camel_case().is_empty()) {
            let position = self.source.position(file, value.path());
            return Err(Error::no_name(position, value.full_name()));
        }
        self.add_type(file, item.full_name(), item.path())
    }

    fn add_type(
        &mut self,
        file: &FileDescriptor,
        full_name: &str,
        path: &[i32],
    ) -> Result<(), Error> {
        let (parent, name) = full_name.rsplit_once('.').unwrap_or(("", full_name));
        let scope = Scope::Types(Module::from_protobuf_package_name(parent));
        self.add(scope, name.to_upper_camel_case(), full_name, file, path)
    }

    /// A oneof becomes a type in the module of its message. prost adds `OneOf` to its name if the
    /// message holds another type of that name.
    fn add_oneof(
        &mut self,
        file: &FileDescriptor,
        message: &MessageDescriptor,
        oneof: &OneofDescriptor,
    ) -> Result<(), Error> {
        let scope = Scope::Fields(message.full_name().to_owned());
        let rust_name = oneof.name().to_snake_case();
        self.add(scope, rust_name, oneof.full_name(), file, oneof.path())?;
        let mut rust_name = oneof.name().to_upper_camel_case();
        let is_it = |name: &str| name.to_upper_camel_case() == rust_name;
        if message.child_messages().any(|child| is_it(child.name()))
            || message.child_enums().any(|child| is_it(child.name()))
        {
            rust_name += "OneOf";
        }
        let scope = Scope::Types(Module::from_protobuf_package_name(message.full_name()));
        self.add(scope, rust_name, oneof.full_name(), file, oneof.path())
    }

    fn add(
        &mut self,
        scope: Scope,
        rust_name: String,
        full_name: &str,
        file: &FileDescriptor,
        path: &[i32],
    ) -> Result<(), Error> {
        let position = self.source.position(file, path);
        if rust_name.is_empty() {
            return Err(Error::no_name(position, full_name));
        }
        let this = (full_name.to_owned(), position.clone());
        let key = (scope, rust_name);
        match self.seen.get(&key) {
            None => {
                self.seen.insert(key, this);
                Ok(())
            }
            Some((other, at)) => {
                let problem = format!(
                    "`{full_name}` and `{other}` ({at}) are both `{}` in Rust",
                    key.1
                );
                Err(Error::schema(position, problem, "rename one of them"))
            }
        }
    }

    fn is_extern(&self, full_name: &str) -> bool {
        names::is_within(full_name, self.extern_paths)
    }
}
