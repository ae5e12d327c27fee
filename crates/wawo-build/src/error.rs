//! The errors of compiling a schema.

use std::{
    error::Error as StdError,
    fmt, io,
    path::{Path, PathBuf},
};

/// The reason why a schema cannot be compiled. If the position is known, the text begins with
/// `file:line:column`.
///
/// A build script that returns an error prints it by `Debug`, so `Debug` and `Display` print the
/// same text here. Both end with the cause, and [`source`](StdError::source) continues after that
/// cause.
#[non_exhaustive]
pub enum Error {
    /// No file was given.
    NothingToCompile,
    /// No file declares anything for which there would be code or descriptors.
    NothingDeclared,
    /// A file does not exist.
    NotFound {
        /// The file as it was given.
        file: PathBuf,
        /// The current folder, if it is known.
        current: Option<PathBuf>,
        /// The include paths.
        includes: Vec<PathBuf>,
    },
    /// A file exists, but no include path contains it.
    NotIncluded {
        /// The file as it was given.
        file: PathBuf,
        /// The include paths.
        includes: Vec<PathBuf>,
    },
    /// An include folder does not exist.
    Include(PathBuf),
    /// A file is not a valid descriptor set.
    DescriptorSet(Box<dyn StdError + Send + Sync>),
    /// A schema has a part that cannot be read or served.
    Schema {
        /// `file:line:column`, as far as it is known.
        position: String,
        /// The problem.
        problem: String,
        /// The correction, if it is known.
        remedy: Option<String>,
    },
    /// prost-build cannot generate code, for the schema or with the settings.
    Prost(String),
    /// `OUT_DIR` is not set, and no folder was given.
    OutDir,
    /// The name of the include file is not that of a file in the output folder.
    IncludeFile(String),
    /// The folder for generated files could not be created.
    OutputFolder {
        /// The folder.
        folder: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// Two files would have the same name.
    SameFile {
        /// The problem.
        problem: String,
        /// The correction.
        remedy: String,
    },
    /// A file could not be written or removed.
    Write {
        /// The file.
        file: PathBuf,
        /// The cause.
        error: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingToCompile => {
                f.write_str("there is nothing to compile: no `.proto` file is given")
            }
            Self::NothingDeclared => f.write_str(
                "there is nothing to compile: no file declares a message, an enum, a service or an \
                 extension (those of `google.protobuf` and `wawo/options.proto` do not count)",
            ),
            Self::NotFound {
                file,
                current,
                includes,
            } => {
                let (file, includes) = (file.display(), list(includes));
                let current = current.as_ref();
                let current =
                    current.map_or_else(String::new, |folder| format!(" `{}`", folder.display()));
                write!(
                    f,
                    "the file `{file}` does not exist, neither in the current folder{current} nor \
                     in the include paths {includes}"
                )
            }
            Self::NotIncluded { file, includes } => write!(
                f,
                "the file `{}` is below none of the include paths {}; add its folder to them, and \
                 write both as relative or both as absolute paths",
                file.display(),
                list(includes)
            ),
            Self::Include(path) => {
                write!(f, "the include path `{}` is not a folder", path.display())
            }
            Self::DescriptorSet(error) => write!(f, "the descriptor set cannot be read: {error}"),
            Self::Schema {
                position,
                problem,
                remedy,
            } => {
                write!(f, "{position}: {problem}")?;
                remedy.iter().try_for_each(|remedy| write!(f, "; {remedy}"))
            }
            Self::Prost(text) => write!(f, "prost-build cannot generate the code: {text}"),
            Self::OutDir => f.write_str(
                "OUT_DIR is not set: call this from a build script, or set a folder by `out_dir`",
            ),
            Self::IncludeFile(name) => write!(
                f,
                "the include file `{name}` is not a file name: the file is written to the output \
                 folder, beside the files that it includes; use a name such as `protos.rs`, and set \
                 the folder by `out_dir`"
            ),
            Self::OutputFolder { folder, error } => {
                let folder = folder.display();
                write!(f, "cannot create the output folder `{folder}`: {error}")
            }
            Self::SameFile { problem, remedy } => write!(f, "{problem}; {remedy}"),
            Self::Write { file, error } => {
                let file = file.display();
                write!(f, "cannot write the generated file `{file}`: {error}")
            }
        }
    }
}

impl StdError for Error {
    /// Begins after the cause that `Display` ends with.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::DescriptorSet(error) => error.source(),
            Self::OutputFolder { error, .. } | Self::Write { error, .. } => error.source(),
            _ => None,
        }
    }
}

impl Error {
    /// Creates an error from a problem and its correction.
    pub(crate) fn schema(position: String, problem: String, remedy: impl Into<String>) -> Self {
        Self::Schema {
            position,
            problem,
            remedy: Some(remedy.into()),
        }
    }

    /// Creates an error about a file that could not be written.
    pub(crate) fn write(file: &Path, error: io::Error) -> Self {
        let file = file.to_owned();
        Self::Write { file, error }
    }

    /// Creates an error about two files of one name.
    pub(crate) fn same_file(problem: String, remedy: &str) -> Self {
        let remedy = remedy.to_owned();
        Self::SameFile { problem, remedy }
    }

    /// The error for a file that is written in an edition.
    pub(crate) fn editions(position: String) -> Self {
        let problem = "the file uses editions, which neither protox nor prost supports".to_owned();
        let remedy = "begin it with `syntax = \"proto3\";` in place of `edition`, leave out options \
                      of `features`, and write `optional` where it matters whether a field is set";
        Self::schema(position, problem, remedy)
    }

    /// The error for a name that consists of underscores.
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

/// Formats paths for people.
pub(crate) fn list(paths: &[PathBuf]) -> String {
    match paths {
        [] => "(none is given)".to_owned(),
        paths => {
            let quoted = paths.iter().map(|path| format!("`{}`", path.display()));
            quoted.collect::<Vec<_>>().join(", ")
        }
    }
}
