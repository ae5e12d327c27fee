//! A file to write.

/// A generated file.
#[derive(Debug)]
pub(crate) struct OutputFile {
    /// Its name in the folder.
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
    /// Its content in words, such as "the package `chat.v1`".
    pub(crate) about: String,
    /// The package that `include_proto!` finds in it.
    pub(crate) package: Option<String>,
}
