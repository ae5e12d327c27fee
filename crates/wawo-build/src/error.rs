//! Why a schema cannot be compiled.

use std::{fmt, io, path::PathBuf};

/// Why a schema cannot be compiled. Where a position is known, the text begins with
/// `file:line:column`.
///
/// A build script that returns an error prints it by `Debug`; so `Debug` and `Display` print the
/// same here.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No file was given.
    #[error("there is nothing to compile: no `.proto` file is given")]
    NothingToCompile,
    /// A file does not exist.
    #[error(
        "the file `{}` does not exist, neither in the current folder{} nor in the include paths {}",
        .file.display(),
        .current.as_ref().map_or_else(String::new, |folder| format!(" `{}`", folder.display())),
        list(.includes)
    )]
    NotFound {
        /// The file as it was given.
        file: PathBuf,
        /// The current folder, if it is known.
        current: Option<PathBuf>,
        /// The include paths.
        includes: Vec<PathBuf>,
    },
    /// A file exists, but gets no name from an include path.
    #[error(
        "the file `{}` is below none of the include paths {}; add its folder to them, and write \
         both as relative or both as absolute paths",
        .file.display(),
        list(.includes)
    )]
    NotIncluded {
        /// The file as it was given.
        file: PathBuf,
        /// The include paths.
        includes: Vec<PathBuf>,
    },
    /// A folder to look in does not exist.
    #[error("the include path `{}` is not a folder", .0.display())]
    Include(PathBuf),
    /// A descriptor set that is none.
    #[error("the descriptor set cannot be read: {0}")]
    DescriptorSet(Box<dyn std::error::Error + Send + Sync>),
    /// Something in a schema that cannot be read, or that cannot be served.
    #[error(
        "{position}: {problem}{}",
        .remedy.as_ref().map_or_else(String::new, |remedy| format!("; {remedy}"))
    )]
    Schema {
        /// `file:line:column`, as far as it is known.
        position: String,
        /// What is wrong.
        problem: String,
        /// What would be right, if that can be told.
        remedy: Option<String>,
    },
    /// prost-build cannot generate code, for the schema or with the settings.
    #[error("prost-build cannot generate the code: {0}")]
    Prost(String),
    /// `OUT_DIR` is not set, and no folder was given.
    #[error("OUT_DIR is not set: call this from a build script, or set a folder by `out_dir`")]
    OutDir,
    /// A file could not be written.
    #[error("cannot write the generated code: {0}")]
    Write(io::Error),
}

impl Error {
    /// What is wrong in a schema, and what would be right.
    pub(crate) fn schema(position: String, problem: String, remedy: impl Into<String>) -> Self {
        Self::Schema {
            position,
            problem,
            remedy: Some(remedy.into()),
        }
    }

    /// A name that is nothing but underscores.
    pub(crate) fn no_name(position: String, full_name: &str) -> Self {
        let problem = format!("nothing is left of the name `{full_name}` in Rust");
        Self::schema(position, problem, "rename it")
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Paths as people read them.
pub(crate) fn list(paths: &[PathBuf]) -> String {
    match paths {
        [] => "(none is given)".to_owned(),
        paths => {
            let quoted = paths.iter().map(|path| format!("`{}`", path.display()));
            quoted.collect::<Vec<_>>().join(", ")
        }
    }
}
