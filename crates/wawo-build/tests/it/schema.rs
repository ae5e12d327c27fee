//! A schema in its own folder.

use std::{
    fs,
    path::{MAIN_SEPARATOR, Path},
};

use tempfile::TempDir;
use wawo_build::{Builder, Error};

pub(crate) struct Schema {
    folder: TempDir,
}

impl Schema {
    /// A schema of one file, `test.proto`.
    pub(crate) fn new(text: &str) -> Self {
        Self::of(&[("test.proto", text)])
    }

    pub(crate) fn of(files: &[(&str, impl AsRef<[u8]>)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().expect("in the folder")).expect("a folder");
            fs::write(file, text).expect("a file");
        }
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Generates the code of a package.
    pub(crate) fn generate(&self, builder: Builder, package: &str) -> String {
        let builder = builder.out_dir(self.path());
        builder
            .compile(&["test.proto"], &[self.path()])
            .expect("a valid schema");
        self.generated(package)
    }

    pub(crate) fn generated(&self, package: &str) -> String {
        let file = self.path().join(format!("{package}.rs"));
        fs::read_to_string(file).expect("a file for the package")
    }

    /// The text of the error, with file paths relative to the folder.
    pub(crate) fn error(&self) -> String {
        let builder = Builder::new().out_dir(self.path());
        self.told(builder.compile(&["test.proto"], &[self.path()]))
    }

    /// The text of an error, with file paths relative to the folder.
    pub(crate) fn told(&self, result: Result<(), Error>) -> String {
        let error = result.expect_err("a wrong schema");
        let text = error.to_string();
        assert_eq!(format!("{error:?}"), text, "a build script prints `Debug`");
        let folder = self.path().display().to_string();
        let text = text.replace(&format!("{folder}{MAIN_SEPARATOR}"), "");
        with_slashes(&text.replace(&folder, "."))
    }
}

/// A text with slashes in its paths on every system.
pub(crate) fn with_slashes(text: &str) -> String {
    match MAIN_SEPARATOR {
        '/' => text.to_owned(),
        separator => text.replace(separator, "/"),
    }
}
