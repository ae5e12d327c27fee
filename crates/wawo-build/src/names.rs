//! Chooses names in generated code that clash with no other name.

use std::{collections::BTreeSet, slice};

use heck::{ToShoutySnakeCase, ToSnakeCase};
use prost_build::Module;
use prost_reflect::{DescriptorPool, MessageDescriptor};

/// The modules that prost generates, for packages and for messages that hold others. A package and a
/// message may have the same one.
pub(crate) struct ModulesOfProst(BTreeSet<Vec<String>>);

impl ModulesOfProst {
    pub(crate) fn new(pool: &DescriptorPool) -> Self {
        let mut modules = BTreeSet::new();
        for file in pool.files() {
            let path = module_path(file.package_name());
            modules.extend((1..=path.len()).map(|end| path[..end].to_vec()));
        }
        let nesting = pool.all_messages().filter(has_nested);
        modules.extend(nesting.map(|message| module_path(message.full_name())));
        Self(modules)
    }

    /// The module that holds the items of a service. If prost generates one of that name beside it,
    /// this module gets a `_`.
    pub(crate) fn service_module(&self, package: &str, service: &str) -> String {
        let package = module_path(package);
        let mut name = identifier(format!("{}_service", service.to_snake_case()));
        while self
            .0
            .contains(&[&package[..], slice::from_ref(&name)].concat())
        {
            name.push('_');
        }
        name
    }
}

fn module_path(full_name: &str) -> Vec<String> {
    let module = Module::from_protobuf_package_name(full_name);
    module.parts().map(str::to_owned).collect()
}

/// Whether prost generates a module for items nested in the message.
pub(crate) fn has_nested(message: &MessageDescriptor) -> bool {
    message.child_messages().len() + message.child_enums().len() + message.oneofs().len() > 0
}

/// The name of a method on the trait and on the stub, derived from prost's name, which is snake
/// case and no keyword. A stub already has the methods `new` and `clone`.
pub(crate) fn method(prost_name: &str) -> String {
    match prost_name {
        "new" | "clone" => format!("{prost_name}_"),
        name => name.to_owned(),
    }
}

/// The name of the static that describes a method.
pub(crate) fn method_static(method: &str) -> String {
    identifier(method.trim_start_matches("r#").to_shouty_snake_case())
}

/// The generic parameter of a server. It must not shadow the trait that it is bound by.
pub(crate) fn parameter(service: &str) -> &'static str {
    match service {
        "T" => "U",
        _ => "T",
    }
}

/// Makes a path that a user sets valid in every module: a path that begins with the name of a crate
/// gets a leading `::`.
pub(crate) fn from_anywhere(path: String) -> String {
    let first = path.split("::").next().unwrap_or_default();
    // Types are capitalised, crates are not.
    let is_name = first.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let relative = ["crate", "self", "super"].contains(&first);
    match is_name && !relative && !OF_THE_LANGUAGE.contains(&first) {
        true => format!("::{path}"),
        false => path,
    }
}

/// Converts a path relative to the module of the package into a path from a module within it.
pub(crate) fn from_inner_module(path: &str) -> String {
    let absolute = path.starts_with("::") || path.split("::").next() == Some("crate");
    match absolute || OF_THE_LANGUAGE.contains(&path) {
        true => path.to_owned(),
        false => format!("super::{}", path.strip_prefix("self::").unwrap_or(path)),
    }
}

/// Whether a message or package is one of these paths or lies within one, such as `.chat.v1`.
pub(crate) fn is_within(full_name: &str, paths: &[String]) -> bool {
    paths.iter().any(|path| {
        let rest = path
            .strip_prefix('.')
            .and_then(|path| full_name.strip_prefix(path));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// Types that are visible everywhere.
const OF_THE_LANGUAGE: [&str; 8] = ["()", "bool", "i32", "i64", "u32", "u64", "f32", "f64"];

/// Makes an identifier valid. Names in protobuf may begin with underscores and digits after them;
/// Rust's case conversion keeps only the digits.
fn identifier(name: String) -> String {
    match name.starts_with(|first: char| first.is_ascii_digit()) {
        true => format!("_{name}"),
        false => name,
    }
}

#[cfg(test)]
mod tests {
    use super::{from_anywhere, from_inner_module, method, method_static};

    #[test]
    fn types_are_found_from_the_module_of_a_service() {
        for (from, to) in [
            ("Line", "super::Line"),
            ("super::other::Line", "super::super::other::Line"),
            ("()", "()"),
            ("f64", "f64"),
            (
                "::wawo::codegen::prost_types::Any",
                "::wawo::codegen::prost_types::Any",
            ),
            ("crate::Line", "crate::Line"),
            ("crate", "crate"),
            ("self::own::Line", "super::own::Line"),
        ] {
            assert_eq!(from_inner_module(from), to);
        }
    }

    #[test]
    fn paths_that_begin_with_a_crate_say_so() {
        for (from, to) in [
            ("wawo", "::wawo"),
            ("google_types::Date", "::google_types::Date"),
            ("::wawo", "::wawo"),
            ("crate::rpc", "crate::rpc"),
            ("super::rpc", "super::rpc"),
            ("self::rpc", "self::rpc"),
            ("String", "String"),
            ("u32", "u32"),
            ("()", "()"),
        ] {
            assert_eq!(from_anywhere(from.to_owned()), to);
        }
    }

    #[test]
    fn names_of_methods_leave_those_of_the_stub_alone() {
        assert_eq!(method("new"), "new_");
        assert_eq!(method("clone"), "clone_");
        assert_eq!(method("r#type"), "r#type");
        assert_eq!(method_static("r#type"), "TYPE");
        assert_eq!(method_static("self_"), "SELF");
        assert_eq!(method_static("_1st"), "_1ST");
    }
}
