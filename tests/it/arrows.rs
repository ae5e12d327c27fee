//! Checks who imports whom, as ARCHITECTURE.md draws it, by reading the sources of all crates.
//!
//! - In `src/`, the top-level modules have an order, and some arrows are forbidden besides.
//! - No loops, in any crate, at any depth: of the modules with one parent none imports, over others or
//!   not, one that imports it. The file of the parent counts as one of them. So a parent may use its
//!   submodules, or they may use what it has, but not both: what both need moves to a module of its own.
//!   What a parent only passes on (`pub use`) is no use of it.
//! - Tests may import all.
//!
//! [`source`] reads what a file names, [`tree`] finds the module that has it, and the loops.

mod source;
mod tree;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use self::tree::{Module, Tree};

/// The modules of `src/`, from the bottom up: each may import only modules above it in this list.
const ORDER: [&str; 47] = [
    "wire",
    "clock",
    "log_limiter",
    "timer",
    "error_chain",
    "extensions",
    "layout",
    "descriptor",
    "transport",
    "peer_id",
    "reconnect",
    "backstop",
    "wake_io",
    "unwinding",
    "panic_fence",
    "status",
    "identity",
    "call_side",
    "metrics",
    "observe",
    "expiry",
    "call_depth",
    "codec",
    "decoding",
    "body",
    "request",
    "response",
    "context",
    "panic",
    "response_future",
    "observed_start",
    "layer",
    "call_target",
    "call",
    "serve",
    "dispatch",
    "services",
    "channel",
    "in_process",
    "connection",
    "peer",
    "client",
    "server",
    "custom_protocol",
    "codegen",
    "guide",
    "lib",
];

/// Imports that the order would allow but the design forbids.
const FORBIDDEN: [(&str, &str); 12] = [
    ("server", "client"),
    ("connection", "dispatch"),
    ("connection", "services"),
    ("connection", "custom_protocol"),
    ("peer", "dispatch"),
    ("peer", "services"),
    ("peer", "custom_protocol"),
    ("server", "custom_protocol"),
    ("layer", "transport"),
    ("dispatch", "transport"),
    ("call", "transport"),
    ("client", "codegen"),
];

/// The folders of the sources of all crates.
fn crates() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let members = fs::read_dir(root.join("crates")).unwrap();
    let members = members.map(|entry| entry.unwrap().path());
    let mut crates = vec![("wawo".to_owned(), root.join("src"))];
    for folder in members.filter(|folder| folder.join("src").exists()) {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        crates.push((name, folder.join("src")));
    }
    crates
}

#[test]
fn modules_import_only_what_is_below_them() {
    let tree = Tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let top = |module: &Module| module.first().map_or("lib", String::as_str).to_owned();
    let rank = |name: &str| {
        let rank = ORDER.iter().position(|other| *other == name);
        rank.unwrap_or_else(|| panic!("give `{name}` its place in ORDER"))
    };
    for module in tree.modules() {
        rank(&top(module));
    }
    for arrow in tree.arrows() {
        let [from, to] = [&arrow.from, &arrow.to].map(top);
        let allowed = rank(&to) <= rank(&from) && !FORBIDDEN.contains(&(&from, &to));
        assert!(allowed, "`{from}` must not import `{to}`: {arrow}");
    }
    assert!(tree.modules().count() > ORDER.len());
}

#[test]
fn no_module_imports_one_that_imports_it() {
    let mut loops = String::new();
    for (name, folder) in crates() {
        for it in Tree::read(&folder).loops() {
            loops += &format!("\n{name}: {it}");
        }
    }
    assert!(
        loops.is_empty(),
        "see \"Crates\" in ARCHITECTURE.md:{loops}"
    );
}

/// A client may check in the code of its schemas, so it must not have to build the generator.
#[test]
fn wawo_is_built_without_the_generator() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(!manifest.contains("build-dependencies"), "{manifest}");
    assert!(!manifest.contains("wawo-build ="), "{manifest}");
    assert!(!root.join("build.rs").exists());
}

#[test]
fn crates_below_wawo_depend_on_little_and_never_on_wawo() {
    let expected: [(&str, &[&str]); 2] = [
        ("wawo-protocol", &["bytes", "thiserror", "wawo-settings"]),
        ("wawo-settings", &["thiserror"]),
    ];
    for (name, expected) in expected {
        let expected = expected.iter().map(|&name| name.to_owned());
        assert_eq!(dependencies(name, false), expected.collect(), "{name}");
        let added = BTreeSet::from(["serde".to_owned()]);
        assert_eq!(dependencies(name, true), added, "{name}");
    }
    assert!(!dependencies("wawo-build", false).contains("wawo"));
}

/// A program chooses the SDK of OpenTelemetry, and how spans are exported.
#[test]
fn the_crate_for_opentelemetry_depends_on_its_api_alone() {
    let expected = ["opentelemetry", "tracing", "tracing-opentelemetry", "wawo"];
    let expected = expected.map(str::to_owned).into_iter();
    assert_eq!(dependencies("wawo-otel", false), expected.collect());
}

/// The dependencies of a crate: those that a build with the default features has, or those that a feature adds.
fn dependencies(name: &str, optional: bool) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = root.join("crates").join(name).join("Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let section = manifest.split("[dependencies]").nth(1).unwrap();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let lines = lines.filter(|line| line.contains("optional = true") == optional);
    let names = lines.filter_map(|line| line.split(['.', ' ', '=']).next());
    let names = names.filter(|name| !name.is_empty() && !name.starts_with('#'));
    names.map(str::to_owned).collect()
}
