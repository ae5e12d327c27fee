//! Reads schemas from `.proto` files or from a descriptor set.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use prost_reflect::{DescriptorPool, FileDescriptor};
use protox::Compiler;

use crate::{
    descriptor_set,
    diagnose::diagnose,
    error::Error,
    files::{Files, ReadFiles},
    includes::name_of,
    options,
    position::position,
};

/// A schema that has been read and linked.
#[derive(Debug)]
pub(crate) struct Source {
    /// All files, with the options of extensions.
    pub(crate) pool: DescriptorPool,
    /// The files on disk that were read, by their import names.
    pub(crate) read: BTreeMap<String, PathBuf>,
}

/// The package whose messages prost-types contains.
pub(crate) const WELL_KNOWN: &str = "google.protobuf";

impl Source {
    /// Reads `.proto` files and their imports.
    pub(crate) fn from_files(
        protos: &[impl AsRef<Path>],
        includes: &[impl AsRef<Path>],
    ) -> Result<Self, Error> {
        if protos.is_empty() {
            return Err(Error::NothingToCompile);
        }
        let includes = includes.iter().map(|include| include.as_ref().to_owned());
        let includes = includes.collect::<Vec<_>>();
        if let Some(include) = includes.iter().find(|include| !include.is_dir()) {
            return Err(Error::Include(include.clone()));
        }
        let read = ReadFiles::default();
        let resolver = Files::new(includes.clone(), ReadFiles::clone(&read));
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true).include_source_info(true);
        for proto in protos {
            let proto = proto.as_ref();
            let opened = compiler.open_file(proto).map(|_| ());
            opened.map_err(|error| diagnose(&error, proto, &includes))?;
            check_is_read(proto, &includes, &read.borrow())?;
        }
        // Decode the encoded set, because the decoded set of prost-types drops wawo's options.
        let pool = descriptor_set::decode(&compiler.encode_file_descriptor_set())?;
        Ok(Self {
            pool,
            read: read.take(),
        })
    }

    /// Reads an encoded `google.protobuf.FileDescriptorSet` that contains all imports.
    pub(crate) fn from_descriptor_set(bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self {
            pool: descriptor_set::link(bytes)?,
            read: BTreeMap::new(),
        })
    }

    /// The files that prost must know: all except the options.
    pub(crate) fn known(&self) -> impl Iterator<Item = FileDescriptor> {
        self.pool
            .files()
            .filter(|file| file.name() != options::NAME)
    }

    /// The files for which code is generated: all except the options and the files of prost-types.
    pub(crate) fn generated(&self) -> impl Iterator<Item = FileDescriptor> {
        self.known()
            .filter(|file| file.package_name() != WELL_KNOWN)
    }

    /// Returns `file:line:column` of the item at a path of descriptor.proto, as far as it is known.
    /// The file is a path that can be opened.
    pub(crate) fn position(&self, file: &FileDescriptor, path: &[i32]) -> String {
        let shown = match self.read.get(file.name()) {
            Some(path) => path.display().to_string(),
            None => file.name().to_owned(),
        };
        position(shown, file.file_descriptor_proto(), path)
    }
}

/// Checks that a given file is the one that was read, and not one of the same name in an include path
/// that comes first.
fn check_is_read(
    given: &Path,
    includes: &[PathBuf],
    read: &BTreeMap<String, PathBuf>,
) -> Result<(), Error> {
    let Some(found) = name_of(given, includes).and_then(|name| read.get(&name)) else {
        return Ok(());
    };
    match (fs::canonicalize(given), fs::canonicalize(found)) {
        (Ok(given_file), Ok(found_file)) if given_file != found_file => {
            let problem = format!("`{}` was read in its place", found.display());
            let remedy = "both have the same name below an include path; put the include path of the \
                          given file first";
            Err(Error::schema(given.display().to_string(), problem, remedy))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Source;

    #[test]
    fn every_file_that_is_read_is_known_so_that_cargo_can_watch_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs::write(&file, text).expect("a file");
            file
        };
        let own = r#"syntax = "proto3"; import "other.proto"; import "wawo/options.proto"; import "google/protobuf/empty.proto";"#;
        let expected = [write("own.proto", own), write("other.proto", "")];
        let source = Source::from_files(&["own.proto"], &[folder.path()]).expect("a schema");
        let read = source.read.into_values().collect::<Vec<_>>();
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(read, expected);
    }
}
