//! Reads encoded sets of file descriptors. Any compiler may have written them, and any tool may have
//! changed them, so what the linker and the generator take for granted is checked here.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{
    DescriptorPool,
    prost::{Message, encoding},
};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};

use crate::{error::Error, imports, panics};

/// `google.protobuf.FileDescriptorSet` with its files as bytes: prost-types would lose the options
/// of extensions when it encodes a file again.
#[derive(Clone, PartialEq, Message)]
#[prost(prost_path = "prost_reflect::prost")]
pub(crate) struct EncodedSet {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) files: Vec<Vec<u8>>,
}

/// Links the files of an encoded set, which contains all imports.
pub(crate) fn link(bytes: &[u8]) -> Result<DescriptorPool, Error> {
    let mut set = EncodedSet::decode(bytes).map_err(unreadable)?;
    // The linker takes the second of two equal files for a different one.
    let mut seen = BTreeSet::new();
    set.files.retain(|file| seen.insert(file.clone()));
    let files = set
        .files
        .iter()
        .map(|file| FileDescriptorProto::decode(&file[..]));
    let files = files.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    for file in &files {
        check_syntax(file)?;
        check_names(file)?;
    }
    check_imports(&files)?;
    let public = files
        .iter()
        .map(|file| (file.name(), imports::public(file)));
    let public = public.collect::<BTreeMap<_, _>>();
    let public = |name: &str| public.get(name).cloned().unwrap_or_default();
    for (encoded, file) in set.files.iter_mut().zip(&files) {
        add_imports(encoded, &imports::missing(file, public));
    }
    decode(&set.encode_to_vec())
}

/// Links the files of a set that was checked.
pub(crate) fn decode(set: &[u8]) -> Result<DescriptorPool, Error> {
    let pool = panics::catch(|| DescriptorPool::decode(set));
    let pool = pool.map_err(|panic| Error::DescriptorSet(panic.into()))?;
    pool.map_err(unreadable)
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::DescriptorSet(error.into())
}

/// Adds imports to an encoded file.
fn add_imports(file: &mut Vec<u8>, imports: &[String]) {
    /// The field number of a file's `dependency`.
    const DEPENDENCY: u32 = 3;
    for import in imports {
        encoding::string::encode(DEPENDENCY, import, file);
    }
}

/// Checks that a set contains all imports of its files, and that no files import each other.
fn check_imports(files: &[FileDescriptorProto]) -> Result<(), Error> {
    let problem = match (imports::unknown(files), imports::cycle(files)) {
        (Some((file, import)), _) => format!(
            "`{}` imports `{}`, which is not in it; write the set with all imports, as `protoc` does \
             with `--include_imports`",
            file.escape_debug(),
            import.escape_debug()
        ),
        (None, Some(cycle)) => format!("files import each other: {}", cycle.escape_debug()),
        (None, None) => return Ok(()),
    };
    Err(Error::DescriptorSet(problem.into()))
}

fn check_syntax(file: &FileDescriptorProto) -> Result<(), Error> {
    let at = file.name().to_owned();
    match file.syntax() {
        "" | "proto2" | "proto3" => Ok(()),
        "editions" => Err(Error::editions(at)),
        syntax => {
            let problem = format!("the syntax `{}` is unknown", syntax.escape_debug());
            Err(Error::schema(at, problem, "it can be `proto2` or `proto3`"))
        }
    }
}

/// Checks that names consist of letters, digits and underscores: they become names in Rust, and
/// those of packages become names of files.
fn check_names(file: &FileDescriptorProto) -> Result<(), Error> {
    let mut names = Vec::new();
    if !file.package().is_empty() {
        names.extend(file.package().split('.'));
    }
    let mut messages = file.message_type.iter().collect::<Vec<&DescriptorProto>>();
    let mut enums = file.enum_type.iter().collect::<Vec<&EnumDescriptorProto>>();
    names.extend(file.extension.iter().map(|extension| extension.name()));
    while let Some(message) = messages.pop() {
        names.push(message.name());
        names.extend(message.field.iter().map(|field| field.name()));
        names.extend(message.oneof_decl.iter().map(|oneof| oneof.name()));
        names.extend(message.extension.iter().map(|extension| extension.name()));
        messages.extend(&message.nested_type);
        enums.extend(&message.enum_type);
    }
    for item in enums {
        names.push(item.name());
        names.extend(item.value.iter().map(|value| value.name()));
    }
    for service in &file.service {
        names.push(service.name());
        names.extend(service.method.iter().map(|method| method.name()));
    }
    match names.into_iter().find(|name| !is_name(name)) {
        None => Ok(()),
        Some(name) => {
            let problem = format!("`{}` is not a name", name.escape_debug());
            let remedy = "names are letters, digits and underscores, and do not begin with a digit";
            Err(Error::schema(file.name().to_owned(), problem, remedy))
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_word && !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit())
}
