//! Looks up files in the include paths: the folders that contain the files of a schema and their
//! imports.

use std::path::{Path, PathBuf};

use protox::file::{FileResolver as _, IncludeFileResolver};

/// Returns the file that is imported by a name, with the separators of the system: the names of
/// imports have slashes on Windows too.
pub(crate) fn find(name: &str, includes: &[PathBuf]) -> Option<PathBuf> {
    let mut paths = includes.iter().map(|folder| folder.join(name));
    let path = paths.find(|path| path.is_file())?;
    Some(path.components().collect())
}

/// Returns the name by which a file is imported: its path below the first include path that it is in.
pub(crate) fn name_of(file: &Path, includes: &[PathBuf]) -> Option<String> {
    let mut folders = includes.iter().cloned().map(IncludeFileResolver::new);
    folders.find_map(|folder| folder.resolve_path(file))
}
