//! The schemas in `tests/cases`. Those in `builds` are built by the crates of `tests/schemas`; here
//! they give the same code as a descriptor set. Those in `refused` are errors, from source and as a set.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use prost::Message;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorSet;
use wawo_build::{Builder, Error};

/// A folder with schemas.
pub(crate) struct Case(PathBuf);

impl Case {
    pub(crate) fn new(name: &str) -> Self {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
        Self(cases.join(name))
    }

    /// All cases that build.
    pub(crate) fn that_build() -> Vec<Self> {
        files(&Self::new("builds").0)
            .into_iter()
            .map(Self)
            .collect()
    }

    pub(crate) fn name(&self) -> String {
        name_of(&self.0)
    }

    pub(crate) fn protos(&self) -> Vec<PathBuf> {
        let mut protos = files(&self.0);
        protos.retain(|file| file.extension().is_some_and(|end| end == "proto"));
        protos
    }

    /// The descriptor set of another compiler, with its imports. Names in it are not resolved.
    pub(crate) fn descriptor_set(&self) -> FileDescriptorSet {
        let mut file = Vec::new();
        for path in self.protos() {
            let text = fs::read_to_string(&path).expect("a schema");
            let text = text.trim_start_matches('\u{feff}');
            file.push(protox_parse::parse(&name_of(&path), text).expect("a schema"));
        }
        let options = include_str!("../../proto/wawo/options.proto");
        let options = protox_parse::parse("wawo/options.proto", options).expect("a schema");
        let pool = DescriptorPool::global();
        let known = pool
            .files()
            .map(|file| file.file_descriptor_proto().clone());
        let known = known
            .chain([options])
            .map(|file| (file.name().to_owned(), file));
        let mut known = known.collect::<BTreeMap<_, _>>();
        let mut at = 0;
        while let Some(found) = file.get(at) {
            let imports = found.dependency.clone();
            file.extend(imports.iter().filter_map(|name| known.remove(name)));
            at += 1;
        }
        FileDescriptorSet { file }
    }

    fn builder(&self, out: &Path) -> Builder {
        let builder = Builder::new().out_dir(out).include_file("all.rs");
        match self.name().as_str() {
            "extern-type-not-copy" => builder.extern_path(".ext.v1", "crate::own"),
            _ => builder,
        }
    }

    pub(crate) fn compile_source(&self, out: &Path) -> Result<(), Error> {
        self.builder(out).compile(&self.protos(), &[&self.0])
    }

    pub(crate) fn compile_as_set(&self, out: &Path) -> Result<(), Error> {
        let set = match self.name().as_str() {
            // The parser alone does not know these options. The set that the code embeds has them.
            "nan-option" => {
                let folder = tempfile::tempdir().expect("a folder");
                self.compile_source(folder.path())?;
                fs::read(folder.path().join("a.fds")).expect("a set")
            }
            _ => self.descriptor_set().encode_to_vec(),
        };
        compile_set(self.builder(out), &set)
    }
}

/// Compiles an encoded set.
pub(crate) fn compile_set(builder: Builder, set: &[u8]) -> Result<(), Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("schemas.fds");
    fs::write(&file, set).expect("a file");
    builder.compile_descriptor_set(file)
}

/// The last part of a path.
pub(crate) fn name_of(path: &Path) -> String {
    let name = path.file_name().expect("a name");
    name.to_string_lossy().into_owned()
}

/// The files of a folder, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut files = entries
        .map(|entry| entry.expect("a file").path())
        .collect::<Vec<_>>();
    files.sort();
    files
}

/// The code in a folder, by the names of the files.
fn code(folder: &Path) -> BTreeMap<String, String> {
    let mut files = files(folder);
    files.retain(|file| file.extension().is_some_and(|end| end == "rs"));
    let read = |file: PathBuf| {
        let code = fs::read_to_string(&file).expect("generated code");
        (name_of(&file), code)
    };
    files.into_iter().map(read).collect()
}

#[test]
fn source_and_descriptor_set_of_a_schema_give_the_same_code() {
    let cases = Case::that_build();
    assert!(cases.len() > 10);
    for case in cases {
        let [source, set] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        case.compile_source(source.path())
            .unwrap_or_else(|error| panic!("{}: {error}", case.name()));
        case.compile_as_set(set.path())
            .unwrap_or_else(|error| panic!("{}: {error}", case.name()));
        assert_eq!(code(source.path()), code(set.path()), "{}", case.name());
    }
}
