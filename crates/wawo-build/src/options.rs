//! The file with wawo's options, which schemas import without having it on disk.

use protox::file::{File, FileResolver};

/// Its import name.
pub(crate) const NAME: &str = "wawo/options.proto";

/// Parses the file.
pub(crate) fn file() -> Result<File, protox::Error> {
    File::from_source(NAME, include_str!("../proto/wawo/options.proto"))
}

/// Supplies the file with wawo's options.
#[derive(Debug)]
pub(crate) struct OptionsResolver;

impl FileResolver for OptionsResolver {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            NAME => file(),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}
