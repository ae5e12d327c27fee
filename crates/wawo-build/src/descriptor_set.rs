//! The descriptors that generated code embeds, once a package: for reflection, JSON and tools.

use std::collections::BTreeSet;

use prost_reflect::{FileDescriptor, prost::Message};

use crate::source::Source;

/// The packages that code is generated for.
pub(crate) fn packages(source: &Source) -> BTreeSet<String> {
    let packages = source.generated();
    packages
        .map(|file| file.package_name().to_owned())
        .collect()
}

/// The name of the file beside the generated code.
pub(crate) fn file_name(package: &str) -> String {
    match package {
        "" => "_.fds".to_owned(),
        package => format!("{package}.fds"),
    }
}

/// An encoded `google.protobuf.FileDescriptorSet` of the files of a package and all that they
/// import, imports first, with options of every kind and without comments.
pub(crate) fn encode(source: &Source, package: &str) -> Vec<u8> {
    let mut done = BTreeSet::new();
    let mut set = Vec::new();
    let files = source.generated();
    for file in files.filter(|file| file.package_name() == package) {
        append(&file, &mut done, &mut set);
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
