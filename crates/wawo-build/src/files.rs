//! Finds and parses the files of a schema. It mends what the parser and the linker of protox do not
//! know: byte order marks, numbers that are not finite, and public imports over several files.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use prost_types::FileDescriptorProto;
use protox::{
    Error,
    file::{File, FileResolver, GoogleFileResolver},
};

use crate::{
    floats, imports,
    includes::{find, name_of},
    options::OptionsResolver,
};

/// The files that were read from disk, by their import names.
pub(crate) type ReadFiles = Rc<RefCell<BTreeMap<String, PathBuf>>>;

/// Finds files in the include paths, besides those that prost-types and this crate supply.
pub(crate) struct Files {
    includes: Vec<PathBuf>,
    parsed: RefCell<BTreeMap<String, File>>,
    read: ReadFiles,
}

impl Files {
    pub(crate) fn new(includes: Vec<PathBuf>, read: ReadFiles) -> Self {
        Self {
            includes,
            parsed: RefCell::default(),
            read,
        }
    }

    fn parse(&self, name: &str) -> Result<File, Error> {
        if let Some(file) = self.parsed.borrow().get(name) {
            return Ok(file.clone());
        }
        // Generated code refers to prost-types for these files, whichever version of them is in the
        // user's folders, so they come first.
        let supplied = GoogleFileResolver::new().open_file(name);
        let file = supplied
            .or_else(|_| OptionsResolver.open_file(name))
            .or_else(|_| self.parse_included(name))?;
        let mut parsed = self.parsed.borrow_mut();
        parsed.insert(name.to_owned(), file.clone());
        Ok(file)
    }

    fn parse_included(&self, name: &str) -> Result<File, Error> {
        let path = find(name, &self.includes).ok_or_else(|| Error::file_not_found(name))?;
        let file = File::open(name, &path).or_else(|error| mended(name, &path, error))?;
        self.read.borrow_mut().insert(name.to_owned(), path);
        let mut descriptor = file.file_descriptor_proto().clone();
        match floats::complete(&mut descriptor) {
            true => Ok(descriptor.into()),
            false => Ok(file),
        }
    }

    /// Adds the imports that others of the file's imports make public. A file of which an import
    /// cannot be read stays as it is, for an error with the position of that import.
    fn with_public_imports(&self, file: File) -> File {
        let descriptor = file.file_descriptor_proto();
        let imports = descriptor.dependency.iter();
        if imports
            .map(|name| self.parse(name))
            .any(|file| file.is_err())
        {
            return file;
        }
        let public = |name: &str| {
            let file = self.parse(name);
            file.map_or(Vec::new(), |file| {
                imports::public(file.file_descriptor_proto())
            })
        };
        let missing = imports::missing(descriptor, public);
        if missing.is_empty() {
            return file;
        }
        let mut descriptor = FileDescriptorProto::from(file);
        descriptor.dependency.extend(missing);
        descriptor.into()
    }
}

impl FileResolver for Files {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        name_of(path, &self.includes)
    }

    fn open_file(&self, name: &str) -> Result<File, Error> {
        let file = self.parse(name)?;
        Ok(self.with_public_imports(file))
    }
}

/// Parses a text again without the parts that the parser does not know. Returns the first error if
/// there are none.
fn mended(name: &str, path: &Path, error: Error) -> Result<File, Error> {
    let Ok(text) = fs::read_to_string(path) else {
        return Err(error);
    };
    match text.strip_prefix('\u{feff}') {
        Some(text) => floats::parse(name, text.to_owned()),
        None if floats::is_negative_name(&error) => floats::parse(name, text),
        None => Err(error),
    }
}
