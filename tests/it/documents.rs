//! Links of documents to files of the repository lead somewhere.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The documents of the repository: those of the root, of `docs/`, of the crates, and beside examples and
/// vectors.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = fs::read_dir(root.join("crates")).unwrap();
    let crates = crates.map(|entry| entry.unwrap().path());
    let folders = ["", "docs", "examples", "tests/vectors"].map(|folder| root.join(folder));
    let folders = folders.into_iter();
    let folders = folders.chain(crates.filter(|folder| folder.is_dir()));
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap());
    let files = files.map(|entry| entry.unwrap().path());
    files
        .filter(|file| file.extension().is_some_and(|end| end == "md"))
        .collect()
}

/// The targets of links in a text that are paths, without the headings that they name.
fn linked_paths(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://"))
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    let mut lost = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let folder = document.parent().unwrap();
        for path in linked_paths(&text).filter(|path| !folder.join(path).exists()) {
            lost.push(format!("{}: {path}", document.display()));
        }
    }
    assert!(
        lost.is_empty(),
        "links without a file:\n{}",
        lost.join("\n")
    );
}

#[test]
fn links_are_found_in_a_text() {
    let text = "see [a](docs/a.md#part), [b](#here), [c](https://example.com) and ![d](d.svg)";
    assert_eq!(
        linked_paths(text).collect::<Vec<_>>(),
        ["docs/a.md", "d.svg"]
    );
}
