//! Reading schemas: from `.proto` files, or from a descriptor set.

use std::path::{Path, PathBuf};

use prost_reflect::{DescriptorPool, FileDescriptor};
use protox::{
    Compiler,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver},
};

use crate::error::Error;

/// A schema that has been read and linked.
#[derive(Debug)]
pub(crate) struct Source {
    /// Everything, with the options that only extensions hold.
    pub(crate) pool: DescriptorPool,
    /// The files on disk that were read.
    pub(crate) read: Vec<PathBuf>,
}

/// The name under which users import the options.
const OPTIONS: &str = "wawo/options.proto";

/// The package whose messages prost-types has.
const WELL_KNOWN: &str = "google.protobuf";

impl Source {
    /// Reads `.proto` files and what they import.
    pub(crate) fn from_files(
        protos: &[impl AsRef<Path>],
        includes: &[impl AsRef<Path>],
    ) -> Result<Self, Error> {
        let mut resolver = ChainFileResolver::new();
        // First, since the code that users get for these files is that of prost-types, whatever
        // version of them lies in their folders.
        resolver.add(GoogleFileResolver::new());
        resolver.add(OptionsResolver);
        for include in includes {
            let include = include.as_ref();
            if !include.is_dir() {
                return Err(Error::Include(include.to_owned()));
            }
            resolver.add(IncludeFileResolver::new(include.to_owned()));
        }
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true).include_source_info(true);
        for proto in protos {
            compiler.open_file(proto)?;
        }
        let files = compiler.files();
        let read = files
            .filter_map(|file| file.path().map(Path::to_owned))
            .collect();
        // The encoded set: the decoded one of prost-types has no room for our options.
        let pool = decode(&compiler.encode_file_descriptor_set())?;
        Ok(Self { pool, read })
    }

    /// Takes an encoded `google.protobuf.FileDescriptorSet`, with all imports in it.
    pub(crate) fn from_descriptor_set(bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self {
            pool: decode(bytes)?,
            read: Vec::new(),
        })
    }

    /// The files that prost has to know: all but the options.
    pub(crate) fn known(&self) -> impl Iterator<Item = FileDescriptor> {
        self.pool.files().filter(|file| file.name() != OPTIONS)
    }

    /// The files for which code is generated: all but the options and what prost-types has.
    pub(crate) fn generated(&self) -> impl Iterator<Item = FileDescriptor> {
        self.known()
            .filter(|file| file.package_name() != WELL_KNOWN)
    }
}

fn decode(bytes: &[u8]) -> Result<DescriptorPool, Error> {
    DescriptorPool::decode(bytes).map_err(|error| Error::DescriptorSet(error.into()))
}

/// Supplies the file with wawo's options.
#[derive(Debug)]
struct OptionsResolver;

impl FileResolver for OptionsResolver {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            OPTIONS => File::from_source(name, include_str!("../proto/wawo/options.proto")),
            _ => Err(protox::Error::file_not_found(name)),
        }
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
        let mut read = source.read;
        read.sort();
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(read, expected);
    }
}
