//! Generates the files of a schema's packages: code, and descriptors for reflection, JSON and tools.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

use heck::ToSnakeCase;
use prost_build::Module;
use prost_reflect::{FileDescriptor, prost::Message};

use crate::{
    descriptor_set::EncodedSet,
    error::Error,
    field_numbers::file::PACKAGE,
    modules::Modules,
    output::OutputFile,
    source::{Source, WELL_KNOWN},
};

/// The files of each package, by its Rust module.
#[derive(Debug)]
pub(crate) struct Packages(BTreeMap<Module, Vec<FileDescriptor>>);

impl Packages {
    /// Collects all packages except that of prost-types, which has code only if a user asks for it.
    /// Without anything in them, they are an error.
    pub(crate) fn of(source: &Source, code: &HashMap<Module, String>) -> Result<Self, Error> {
        let mut packages = BTreeMap::<_, Vec<FileDescriptor>>::new();
        for file in source.known() {
            let name = file.package_name();
            let module = Module::from_protobuf_package_name(name);
            if name == WELL_KNOWN && !code.contains_key(&module) {
                continue;
            }
            check_name(source, &file)?;
            if let Some([other, ..]) = packages.get(&module).map(Vec::as_slice)
                && other.package_name() != name
            {
                let problem = format!(
                    "the packages `{name}` and `{}` ({}) are both `{module}` in Rust",
                    other.package_name(),
                    source.position(other, &[PACKAGE])
                );
                let position = source.position(&file, &[PACKAGE]);
                return Err(Error::schema(position, problem, "rename one of them"));
            }
            packages.entry(module).or_default().push(file);
        }
        match packages.values().flatten().any(declares_anything) {
            true => Ok(Self(packages)),
            false => Err(Error::NothingDeclared),
        }
    }

    /// Generates the descriptors of each package, its code with a constant for them, and, if it has a
    /// name, the file that includes the code of all packages.
    pub(crate) fn files(
        &self,
        code: &HashMap<Module, String>,
        include_file: Option<String>,
    ) -> Vec<OutputFile> {
        let code_of = |module| code.get(module).map_or("", String::as_str);
        let mut modules = Modules::default();
        for (module, files) in &self.0 {
            modules.add(module, file_name(files), code_of(module));
        }
        let mut generated = Vec::new();
        for (module, files) in &self.0 {
            let name = file_name(files);
            let about = match name {
                NO_PACKAGE => "the schemas without a package".to_owned(),
                name => format!("the package `{name}`"),
            };
            let code = modules.merged(module, code_of(module)) + &constant(name);
            generated.push(OutputFile {
                name: format!("{name}.rs"),
                content: code.into_bytes(),
                about: about.clone(),
                package: Some(name.to_owned()),
            });
            generated.push(OutputFile {
                name: format!("{name}.fds"),
                content: encode(files),
                about: format!("the descriptors of {about}"),
                package: None,
            });
        }
        generated.extend(include_file.map(|name| OutputFile {
            name,
            content: modules.all().into_bytes(),
            about: "the include file".to_owned(),
            package: None,
        }));
        generated
    }
}

/// The constant with the descriptors of a package: a static by value, for one copy in a program. The
/// target of a reference in a constant may be copied wherever the constant is used. A program need not use
/// it, so the compiler must not warn.
fn constant(name: &str) -> String {
    format!(
        "/// The descriptors of this package's files and their imports: an encoded\n\
         /// `google.protobuf.FileDescriptorSet`.\n\
         #[allow(dead_code)]\n\
         pub const FILE_DESCRIPTOR_SET: &[u8] = {{\n\
         static BYTES: [u8; include_bytes!(\"{name}.fds\").len()] = *include_bytes!(\"{name}.fds\");\n\
         &BYTES\n\
         }};\n"
    )
}

/// The file name under which `include_proto!` finds a package, spelled as in the schema.
fn file_name(files: &[FileDescriptor]) -> &str {
    match files.first().map_or("", FileDescriptor::package_name) {
        "" => NO_PACKAGE,
        name => name,
    }
}

/// The file name of schemas without a package. No package is called so: see `check_name`.
const NO_PACKAGE: &str = "_";

/// Checks that each part of a package's name is a module in Rust.
fn check_name(source: &Source, file: &FileDescriptor) -> Result<(), Error> {
    let name = file.package_name();
    let mut end = 0;
    for part in name.split_inclusive('.') {
        end += part.len();
        if part.to_snake_case().is_empty() {
            let position = source.position(file, &[PACKAGE]);
            return Err(Error::no_name(position, name[..end].trim_end_matches('.')));
        }
    }
    Ok(())
}

fn declares_anything(file: &FileDescriptor) -> bool {
    file.messages().len() + file.enums().len() + file.services().len() + file.extensions().len() > 0
}

/// Checks that an include file is in the output folder, on every system: it includes files there.
pub(crate) fn check_include_file(name: Option<&str>) -> Result<(), Error> {
    let is_in_folder = |name: &str| {
        let file = Path::new(name).file_name();
        file.is_some_and(|file| file == name) && !name.contains(['/', '\\'])
    };
    match name.filter(|name| !is_in_folder(name)) {
        None => Ok(()),
        Some(name) => Err(Error::IncludeFile(name.to_owned())),
    }
}

/// Encodes a `google.protobuf.FileDescriptorSet` of the files of a package and their imports,
/// imports first, with options of every kind and without comments.
fn encode(files: &[FileDescriptor]) -> Vec<u8> {
    let mut done = BTreeSet::new();
    let mut set = Vec::new();
    for file in files {
        append(file, &mut done, &mut set);
    }
    EncodedSet { files: set }.encode_to_vec()
}

fn append(file: &FileDescriptor, done: &mut BTreeSet<String>, set: &mut Vec<Vec<u8>>) {
    if !done.insert(file.name().to_owned()) {
        return;
    }
    for import in file.dependencies() {
        append(&import, done, set);
    }
    set.push(without_source_info(&file.encode_to_vec()));
}

/// Removes field 9, `source_code_info`, from an encoded `FileDescriptorProto`.
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
