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
    /// A file cannot be found, read or parsed.
    #[error("{0:?}")]
    Proto(protox::Error),
    /// A folder to look in does not exist.
    #[error("the include path `{}` is not a folder", .0.display())]
    Include(PathBuf),
    /// A descriptor set that is none.
    #[error("the descriptor set cannot be read: {0}")]
    DescriptorSet(Box<dyn std::error::Error + Send + Sync>),
    /// Something in the schema that cannot be served.
    #[error("{position}: {problem}; {remedy}")]
    Schema {
        /// `file:line:column`, or the file's name if the source is not known.
        position: String,
        /// What is wrong.
        problem: String,
        /// What would be right.
        remedy: String,
    },
    /// `OUT_DIR` is not set, and no folder was given.
    #[error("OUT_DIR is not set: call this from a build script, or set a folder by `out_dir`")]
    OutDir,
    /// A file could not be written.
    #[error("cannot write the generated code: {0}")]
    Write(io::Error),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<protox::Error> for Error {
    fn from(error: protox::Error) -> Self {
        Self::Proto(error)
    }
}
