//! Each event in the sources has a target, a level and a message that `docs/observability.md` names.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The targets of events. The spans of calls have `wawo::call` too.
const TARGETS: [&str; 8] = [
    "wawo::server",
    "wawo::connection",
    "wawo::limit",
    "wawo::call",
    "wawo::peer",
    "wawo::observe",
    "wawo::tls",
    "wawo::transport",
];

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// The target, the level and the message of an event.
type Event = (String, String, String);

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let files = paths.flat_map(|path| match path.is_dir() {
        true => sources(&path),
        false => vec![path],
    });
    files.collect()
}

/// The string literals of a macro call, whose text begins behind its first parenthesis.
fn literals(arguments: &str) -> Vec<&str> {
    let (mut depth, mut literals) = (1, Vec::new());
    for (index, part) in arguments.split('"').enumerate() {
        if index % 2 == 1 {
            literals.push(part);
            continue;
        }
        for letter in part.chars() {
            depth += match letter {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            if depth == 0 {
                return literals;
            }
        }
    }
    panic!("a macro call without an end")
}

fn events() -> BTreeSet<Event> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut events = BTreeSet::new();
    for file in sources(&root.join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        for level in LEVELS {
            for arguments in text.split(&format!("tracing::{level}!(")).skip(1) {
                let literals = literals(arguments);
                let has_target = arguments.trim_start().starts_with("target: \"");
                assert!(
                    has_target && literals.len() > 1,
                    "{}: {literals:?}",
                    file.display()
                );
                let message = literals.last().unwrap().to_string();
                events.insert((literals[0].to_owned(), level.to_uppercase(), message));
            }
        }
    }
    events
}

/// The events of the tables in the page: those below a heading `### \`target\``.
fn documented() -> BTreeSet<Event> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/observability.md");
    let page = fs::read_to_string(path).unwrap();
    let mut events = BTreeSet::new();
    for section in page.split("\n### `").skip(1) {
        let (target, section) = section.split_once('`').unwrap();
        let section = section.split("\n## ").next().unwrap();
        for line in section.lines() {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            if let ["", level, message, _, ""] = cells[..]
                && LEVELS.contains(&level.to_lowercase().as_str())
            {
                events.insert((target.to_owned(), level.to_owned(), message.to_owned()));
            }
        }
    }
    events
}

#[test]
fn the_documentation_has_every_event_of_the_framework_and_no_other() {
    let (events, documented) = (events(), documented());
    let missing: Vec<_> = events.difference(&documented).collect();
    let gone: Vec<_> = documented.difference(&events).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "missing: {missing:#?}, gone: {gone:#?}"
    );
    let targets: BTreeSet<_> = events.iter().map(|(target, ..)| target.as_str()).collect();
    assert_eq!(targets, BTreeSet::from(TARGETS));
}
