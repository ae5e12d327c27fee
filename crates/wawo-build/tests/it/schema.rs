//! A schema in a folder of its own.

use std::{fs, path::Path};

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

    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
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

    /// What is generated for a package.
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

    pub(crate) fn error(&self) -> Error {
        let builder = Builder::new().out_dir(self.path());
        let result = builder.compile(&["test.proto"], &[self.path()]);
        result.expect_err("a wrong schema")
    }
}
