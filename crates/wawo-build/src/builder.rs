//! The settings of a compilation.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use prost_build::Module;

use crate::{
    collisions,
    comments::Docs,
    derives,
    error::Error,
    externs,
    generate::{Generator, Half},
    layouts::Layouts,
    locations, names,
    output::Output,
    packages::{self, Packages},
    panics, schema,
    source::Source,
};

/// Compiles schemas with custom settings.
///
/// ```no_run
/// # fn main() -> Result<(), wawo_build::Error> {
/// wawo_build::Builder::new()
///     .extern_path(".google.type", "::google_types")
///     .type_attribute("chat.v1.Line", "#[derive(serde::Serialize)]")
///     .client_only()
///     .compile(&["proto/chat.proto"], &["proto"])
/// # }
/// ```
#[must_use = "a builder does nothing until `compile`"]
pub struct Builder {
    prost: prost_build::Config,
    /// Whether no setting of prost-build was changed.
    is_plain: bool,
    /// Whether an attribute may derive a trait.
    may_derive: bool,
    half: Half,
    crate_path: String,
    extern_paths: Vec<String>,
    out_dir: Option<PathBuf>,
    include_file: Option<String>,
}

impl Builder {
    /// Creates a builder with the defaults: it generates servers and clients, writes to `OUT_DIR`,
    /// and expects a crate called `wawo`.
    pub fn new() -> Self {
        let mut prost = prost_build::Config::new();
        prost.bytes(["."]);
        Self {
            prost,
            is_plain: true,
            may_derive: false,
            half: Half::Both,
            crate_path: "::wawo".to_owned(),
            extern_paths: Vec::new(),
            out_dir: None,
            include_file: None,
        }
    }

    /// Uses an existing Rust type or module for a message or package. This also helps where two
    /// messages would get the same Rust name and cannot be renamed.
    ///
    /// The Rust path begins with the name of a crate, such as `google_types` or `::google_types`,
    /// or with `crate`. The types must implement `Clone`, `PartialEq`, `Default` and
    /// `prost::Message`. Messages that contain them are not `Copy`, `Eq` or `Hash`.
    pub fn extern_path(
        mut self,
        proto_path: impl Into<String>,
        rust_path: impl Into<String>,
    ) -> Self {
        let proto_path = proto_path.into();
        self.extern_paths.push(proto_path.clone());
        let rust_path = names::from_anywhere(rust_path.into());
        self.prost.extern_path(proto_path, rust_path);
        self
    }

    /// Adds an attribute to the types of a message, enum, oneof or package.
    ///
    /// Messages and oneofs derive `Clone`, `PartialEq` and `Debug`, and `Copy`, `Eq` and `Hash` where
    /// their fields allow it; enums derive all these, `PartialOrd` and `Ord`. An attribute that derives
    /// one of them again is an error of [`compile`](Self::compile).
    pub fn type_attribute(mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Self {
        self.may_derive |= attribute.as_ref().contains("derive");
        self.prost.type_attribute(path, attribute);
        self
    }

    /// Adds an attribute to fields.
    pub fn field_attribute(mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Self {
        self.prost.field_attribute(path, attribute);
        self
    }

    /// Generates no servers.
    pub fn client_only(mut self) -> Self {
        self.half = Half::Client;
        self
    }

    /// Generates no clients.
    pub fn server_only(mut self) -> Self {
        self.half = Half::Server;
        self
    }

    /// Sets the path under which generated code finds the crate `wawo`. It begins with the name of
    /// a crate, or with `crate`. Default: `::wawo`.
    pub fn crate_path(mut self, path: impl Into<String>) -> Self {
        self.crate_path = names::from_anywhere(path.into());
        self
    }

    /// Sets the folder for generated files, which is created if it does not exist. Default: `OUT_DIR`.
    ///
    /// `wawo::include_proto!` finds packages in `OUT_DIR` only. A call that is the first of its process
    /// to write to `OUT_DIR`, or to a folder within it, removes the files there that the last build has
    /// written and this call does not; later calls add theirs. A folder to which no call writes any more
    /// keeps its files, and so does every folder outside of `OUT_DIR`, because its files may be checked
    /// in. However a path is spelled, and through whichever links it leads, it is the same folder.
    pub fn out_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.out_dir = Some(folder.into());
        self
    }

    /// Writes one more file, which includes the files of all packages in modules named after the
    /// packages. Schemas of several packages that refer to each other need this. Include it by
    /// `include!(concat!(env!("OUT_DIR"), "/protos.rs"))`.
    ///
    /// The file is in the same folder as those that it includes. So the name has no separators, and it
    /// is not that of a package's file; other names are errors of [`compile`](Self::compile).
    pub fn include_file(mut self, name: impl Into<String>) -> Self {
        self.include_file = Some(name.into());
        self
    }

    /// Changes settings of prost-build. This builder itself sets paths, the include file and the
    /// service generator.
    ///
    /// Such settings change the types of fields, so the memory estimate of requests is then
    /// conservative: `bytes` count as copied, messages as boxed, and maps as sorted maps.
    pub fn prost(mut self, set: impl FnOnce(&mut prost_build::Config)) -> Self {
        set(&mut self.prost);
        self.is_plain = false;
        self.may_derive = true;
        self
    }

    /// Compiles `.proto` files.
    ///
    /// # Errors
    ///
    /// See [`compile`](crate::compile).
    pub fn compile(
        self,
        protos: &[impl AsRef<Path>],
        includes: &[impl AsRef<Path>],
    ) -> Result<(), Error> {
        or_panic(|| {
            let source = Source::from_files(protos, includes)?;
            watch(source.read.values());
            self.generate(&source)
        })
    }

    /// Compiles an encoded `google.protobuf.FileDescriptorSet` that contains all imports, as other
    /// compilers write it (`protoc --include_imports --include_source_info -o FILE`).
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is not such a set, if a name in it is no name of a schema, and as
    /// [`compile`](crate::compile).
    pub fn compile_descriptor_set(self, file: impl AsRef<Path>) -> Result<(), Error> {
        let file = file.as_ref();
        let bytes = fs::read(file).map_err(|error| {
            let text = format!("{}: {error}", file.display());
            Error::DescriptorSet(text.into())
        })?;
        watch([file]);
        or_panic(|| self.generate(&Source::from_descriptor_set(&bytes)?))
    }

    fn generate(mut self, source: &Source) -> Result<(), Error> {
        packages::check_include_file(self.include_file.as_deref())?;
        let services = schema::services(source)?;
        collisions::check(source, &self.extern_paths)?;
        let layouts = Layouts::new(source, self.extern_paths.clone(), self.is_plain);
        let mut docs = Docs::default();
        let files = source.known().map(|file| {
            let module = Module::from_protobuf_package_name(file.package_name());
            let mut file = file.file_descriptor_proto().clone();
            locations::complete(&mut file);
            docs.take(&mut file);
            externs::hide_traits(&mut file, &self.extern_paths);
            layouts.add_service(&mut file);
            (module, file)
        });
        let files = files.collect();
        let crate_path = self.crate_path.clone();
        let generator = Generator::new(source, services, layouts, self.half, crate_path);
        self.prost
            .prost_path(format!("{}::codegen::prost", self.crate_path))
            .prost_types_path(format!("{}::codegen::prost_types", self.crate_path))
            .service_generator(Box::new(generator));
        let mut code = panics::catch(|| self.prost.generate(files))
            .map_err(|panic| collisions::of_enum_values(source, panic))?
            .map_err(|error| Error::Prost(error.to_string()))?;
        for code in code.values_mut() {
            if self.may_derive {
                derives::check(code)?;
            }
            *code = docs.put(code);
        }
        let packages = Packages::of(source, &code)?;
        let output = Output::open(self.out_dir)?;
        output.write(&packages.files(&code, self.include_file))
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("half", &self.half)
            .field("crate_path", &self.crate_path)
            .field("out_dir", &self.out_dir)
            .finish_non_exhaustive()
    }
}

/// Turns a panic of a library, for which this crate knows no better text, into an error.
fn or_panic(run: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    panics::catch(run).unwrap_or_else(|panic| Err(Error::Prost(panic)))
}

/// Makes cargo run the build script again when one of these files changes. Prints nothing outside a
/// build script.
fn watch(files: impl IntoIterator<Item = impl AsRef<Path>>) {
    if env::var_os("OUT_DIR").is_some() {
        for file in files {
            println!("cargo::rerun-if-changed={}", file.as_ref().display());
        }
    }
}
