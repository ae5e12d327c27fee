//! Checks which module imports which, as drawn in ARCHITECTURE.md, by reading the sources.

use std::{collections::BTreeSet, fs, path::Path};

/// The modules of `src/`, from the bottom up: each may import only modules above it in this list.
const ORDER: [&str; 35] = [
    "wire",
    "clock",
    "error_chain",
    "extensions",
    "layout",
    "descriptor",
    "transport",
    "backstop",
    "wake_io",
    "status",
    "expiry",
    "call_depth",
    "codec",
    "decoding",
    "body",
    "request",
    "response",
    "context",
    "layer",
    "response_future",
    "panic",
    "call_target",
    "call",
    "serve",
    "dispatch",
    "services",
    "channel",
    "in_process",
    "custom_protocol",
    "connection",
    "peer",
    "client",
    "server",
    "codegen",
    "lib",
];

/// Imports that the order would allow but the design forbids.
const FORBIDDEN: [(&str, &str); 9] = [
    ("server", "client"),
    ("peer", "dispatch"),
    ("peer", "services"),
    ("peer", "custom_protocol"),
    ("server", "custom_protocol"),
    ("layer", "transport"),
    ("dispatch", "transport"),
    ("call", "transport"),
    ("client", "codegen"),
];

/// Arrows that go up until the two rooms are cut from each other.
const NOT_CUT_YET: (&str, &str) = ("connection", "peer");

/// The top-level modules that the files of a module name by `crate::`.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => drop(found.insert(word(rest))),
            Some(list) => found.extend(top_level(list).map(word)),
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn word(text: &str) -> String {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.trim_start()
        .chars()
        .take_while(|c| letter(*c))
        .collect()
}

/// The items of a `use` list, without those nested in them.
fn top_level(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let mut start = 0;
    let mut items = Vec::new();
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.into_iter()
}

fn sources(folder: &Path, module: Option<&str>, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let module = module.unwrap_or(&name);
        match path.is_dir() {
            true => sources(&path, Some(module), found),
            false => found.push((module.to_owned(), fs::read_to_string(&path).unwrap())),
        }
    }
}

#[test]
fn modules_import_only_what_is_below_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), None, &mut files);
    let rank = |name: &str| ORDER.iter().position(|other| *other == name);
    for (module, text) in &files {
        let own = rank(module).unwrap_or_else(|| panic!("give `{module}` its place in ORDER"));
        for import in imports(text) {
            // `lib.rs` re-exports these names. Tests at the end of files use them.
            let Some(other) = rank(&import) else { continue };
            let allowed = other <= own && !FORBIDDEN.contains(&(module, &import));
            let allowed = allowed || (module.as_str(), import.as_str()) == NOT_CUT_YET;
            assert!(allowed, "`{module}` must not import `{import}`");
        }
    }
    assert!(files.len() >= ORDER.len());
}

#[test]
fn the_protocol_crate_depends_on_bytes_and_thiserror_only_and_the_generator_not_on_wawo() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Those that a build with the default features has, or those that a feature adds.
    let dependencies = |name: &str, optional: bool| {
        let manifest = root.join("crates").join(name).join("Cargo.toml");
        let manifest = fs::read_to_string(manifest).unwrap();
        let section = manifest.split("[dependencies]").nth(1).unwrap();
        let lines = section.lines().take_while(|line| !line.starts_with('['));
        let lines = lines.filter(|line| line.contains("optional = true") == optional);
        let name = |line: &str| word(&line.replace('-', "_"));
        let names: BTreeSet<String> = lines.map(name).filter(|name| !name.is_empty()).collect();
        names
    };
    let expected = ["bytes", "thiserror"].map(str::to_owned);
    assert_eq!(
        dependencies("wawo-protocol", false),
        BTreeSet::from(expected)
    );
    let added = BTreeSet::from(["serde".to_owned()]);
    assert_eq!(dependencies("wawo-protocol", true), added);
    assert!(!dependencies("wawo-build", false).contains("wawo"));
}
