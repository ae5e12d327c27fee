//! The table of features in the README names those of Cargo.toml, of every crate.

use std::{collections::BTreeSet, fs, path::Path};

/// A feature, and the crate that has it.
type Feature = (String, String);

/// The features of a manifest, and the optional dependencies that are features by themselves.
fn features(manifest: &str) -> BTreeSet<String> {
    // Lists may go over several lines, which then are indented.
    let key = |line: &str| {
        line.split_once('=')
            .map(|(key, _)| key.trim_end().to_owned())
    };
    let keys = section(manifest, "[features]").filter(|line| !line.starts_with([' ', '#']));
    let mut found: BTreeSet<_> = keys.filter_map(key).collect();
    let optional =
        section(manifest, "[dependencies]").filter(|line| line.contains("optional = true"));
    let implied = optional.filter_map(key);
    let implied = implied.filter(|name| !manifest.contains(&format!("\"dep:{name}\"")));
    found.extend(implied);
    found.remove("default");
    found
}

/// The lines of a manifest between this one and the next section.
fn section<'a>(manifest: &'a str, head: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = manifest.lines().skip_while(move |line| *line != head);
    lines.skip(1).take_while(|line| !line.starts_with('['))
}

/// The rows of the table under "Features", whose first two cells name a feature and its crates.
fn rows(readme: &str) -> BTreeSet<Feature> {
    let lines = readme.lines().skip_while(|line| *line != "## Features");
    let lines = lines.skip(1).take_while(|line| !line.starts_with("## "));
    let quoted = |cell: &str| -> Vec<String> {
        let parts = cell.split('`').skip(1).step_by(2);
        parts.map(str::to_owned).collect()
    };
    let row = |line: &str| -> Vec<Feature> {
        let cells: Vec<_> = line.split('|').collect();
        let [_, feature, crates, ..] = cells[..] else {
            return Vec::new();
        };
        let crates = quoted(crates);
        let features = quoted(feature).into_iter();
        features
            .flat_map(|feature| crates.iter().map(move |of| (feature.clone(), of.clone())))
            .collect()
    };
    lines.flat_map(row).collect()
}

/// The folders of all crates of the workspace.
fn crates() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let members = fs::read_dir(root.join("crates")).unwrap();
    let members = members.map(|entry| entry.unwrap().path());
    let members = members.filter(|folder| folder.join("Cargo.toml").exists());
    let read = |folder: &Path| fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let mut crates = vec![("wawo".to_owned(), read(root))];
    for folder in members {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        crates.push((name, read(&folder)));
    }
    crates
}

#[test]
fn the_readme_tells_of_every_feature_and_of_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let told = rows(&fs::read_to_string(root.join("README.md")).unwrap());
    let mut built = BTreeSet::new();
    for (name, manifest) in crates() {
        built.extend(
            features(&manifest)
                .into_iter()
                .map(|feature| (feature, name.clone())),
        );
    }
    let missing: Vec<_> = built.difference(&told).collect();
    let unknown: Vec<_> = told.difference(&built).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "the table under \"Features\" in README.md lacks {missing:?} (feature, crate), \
         and has {unknown:?}, which Cargo.toml does not"
    );
}

#[test]
fn features_of_all_kinds_are_found() {
    let manifest = "[features]\ndefault = [\"serde\"]\n# A comment = no feature\nserde = [\"dep:serde\"]\n\
                    tls = [\n    \"dep:rustls\",\n]\n\n[dependencies]\nbytes = \"1\"\n\
                    serde = { version = \"1\", optional = true }\nrustls = { version = \"1\", optional = true }\n\
                    tracing = { version = \"1\", optional = true }\n\n[lints]\nworkspace = true\n";
    let expected = ["serde", "tls", "tracing"].map(str::to_owned);
    assert_eq!(features(manifest), BTreeSet::from(expected));
    let readme = "# It\n| `no` | `it` |\n## Features\n\n| feature | of | adds |\n|---|---|---|\n\
                  | `serde` | `wawo`, `wawo-protocol` | `Deserialize` |\n## More\n| `no` | `it` |\n";
    let expected = ["wawo", "wawo-protocol"].map(|of| ("serde".to_owned(), of.to_owned()));
    assert_eq!(rows(readme), BTreeSet::from(expected));
}
