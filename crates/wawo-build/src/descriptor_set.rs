//! The descriptors that generated code embeds, once a package: for reflection, JSON and tools.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
};

use prost_build::Module;
use prost_reflect::{FileDescriptor, prost::Message};

use crate::source::Source;

/// The files of a schema, by the name that prost gives to the code of their package.
#[derive(Debug)]
pub(crate) struct Packages(BTreeMap<String, Vec<FileDescriptor>>);

impl Packages {
    pub(crate) fn of(source: &Source) -> Self {
        let mut packages = BTreeMap::<_, Vec<_>>::new();
        for file in source.generated() {
            let module = Module::from_protobuf_package_name(file.package_name());
            let code = module.to_file_name_or("_");
            packages.entry(code).or_default().push(file);
        }
        Self(packages)
    }

    /// Removes the code of an earlier run.
    pub(crate) fn clear(&self, out_dir: &Path) -> io::Result<()> {
        for code in self.0.keys() {
            match fs::remove_file(out_dir.join(code)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes the descriptors of each package into a file, and adds a constant with them to its
    /// code, which is there now even if the package has nothing in it.
    pub(crate) fn embed(&self, out_dir: &Path) -> io::Result<()> {
        for (code, files) in &self.0 {
            let set = format!("{}.fds", code.trim_end_matches(".rs"));
            fs::write(out_dir.join(&set), encode(files))?;
            let mut options = OpenOptions::new();
            let mut code = options.create(true).append(true).open(out_dir.join(code))?;
            write!(
                code,
                "/// The descriptors of this package's files and of all that they import: an encoded\n\
                 /// `google.protobuf.FileDescriptorSet`.\n\
                 #[allow(dead_code)]\n\
                 pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(\"{set}\");\n"
            )?;
        }
        Ok(())
    }
}

/// An encoded `google.protobuf.FileDescriptorSet` of the files of a package and all that they
/// import, imports first, with options of every kind and without comments.
fn encode(files: &[FileDescriptor]) -> Vec<u8> {
    let mut done = BTreeSet::new();
    let mut set = Vec::new();
    for file in files {
        append(file, &mut done, &mut set);
    }
    set
}

fn append(file: &FileDescriptor, done: &mut BTreeSet<String>, set: &mut Vec<u8>) {
    if !done.insert(file.name().to_owned()) {
        return;
    }
    for import in file.dependencies() {
        append(&import, done, set);
    }
    /// `repeated FileDescriptorProto file = 1`, as bytes: encoded again by prost-types, a file
    /// would lose the options that only extensions hold.
    #[derive(Clone, PartialEq, prost_reflect::prost::Message)]
    #[prost(prost_path = "prost_reflect::prost")]
    struct OneFile {
        #[prost(bytes = "vec", tag = "1")]
        file: Vec<u8>,
    }
    let file = without_source_info(&file.encode_to_vec());
    OneFile { file }.encode(set).unwrap_or_default();
}

/// Leaves field 9, `source_code_info`, out of an encoded `FileDescriptorProto`.
fn without_source_info(file: &[u8]) -> Vec<u8> {
    use prost_reflect::prost::encoding::{DecodeContext, decode_key, encode_key, skip_field};

    const SOURCE_CODE_INFO: u32 = 9;
    let mut rest = file;
    let mut kept = Vec::with_capacity(file.len());
    while let Ok((tag, wire_type)) = decode_key(&mut rest) {
        let before = rest;
        if skip_field(wire_type, tag, &mut rest, DecodeContext::default()).is_err() {
            break;
        }
        if tag != SOURCE_CODE_INFO {
            encode_key(tag, wire_type, &mut kept);
            kept.extend_from_slice(&before[..before.len() - rest.len()]);
        }
    }
    kept
}
