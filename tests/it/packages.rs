//! The crates that are published have what a registry and their users look for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

/// A package of this workspace: its folder, and the section of its manifest.
struct Package {
    folder: PathBuf,
    fields: Table,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    let text = fs::read_to_string(path);
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Package {
    fn of(folder: PathBuf) -> Self {
        let manifest: Table = toml::from_str(&read(&folder.join("Cargo.toml"))).unwrap();
        let fields = manifest["package"].as_table().unwrap().clone();
        Self { folder, fields }
    }

    fn is_published(&self) -> bool {
        self.fields.get("publish") != Some(&Value::Boolean(false))
    }

    fn name(&self) -> &str {
        self.fields["name"].as_str().unwrap()
    }
}

/// The packages that are published: the root, and those in `crates/` that are not excepted.
fn published() -> Vec<Package> {
    let members = fs::read_dir(root().join("crates")).unwrap();
    let members = members.map(|entry| entry.unwrap().path());
    let folders = members.filter(|folder| folder.join("Cargo.toml").exists());
    let packages = folders.chain([root()]).map(Package::of);
    packages.filter(Package::is_published).collect()
}

#[test]
fn every_published_crate_holds_both_licences() {
    for package in published() {
        for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
            // Links would become files with a path in them, on Windows.
            let file = package.folder.join(name);
            assert!(!file.is_symlink(), "{} is a link", file.display());
            let is_equal = read(&file) == read(&root().join(name));
            assert!(is_equal, "{} differs from that of the root", file.display());
        }
    }
    let root = Package::of(root()).fields;
    assert_eq!(root["license"]["workspace"].as_bool(), Some(true));
}

#[test]
fn every_published_crate_describes_itself() {
    for package in published() {
        let fields = &package.fields;
        for field in [
            "description",
            "readme",
            "categories",
            "keywords",
            "rust-version",
            "license",
            "include",
        ] {
            let has_some = fields.contains_key(field);
            assert!(has_some, "{} has no {field}", package.name());
        }
        let docs = &fields["metadata"]["docs"]["rs"];
        assert_eq!(docs["all-features"].as_bool(), Some(true));
    }
}

#[test]
fn every_published_crate_has_a_readme_that_names_it_and_the_licences() {
    for package in published() {
        let readme = read(&package.folder.join("README.md"));
        let title = format!("# {}\n", package.name());
        assert!(readme.starts_with(&title), "{}", package.name());
        assert!(readme.contains("MIT OR Apache-2.0"), "{}", package.name());
    }
}
