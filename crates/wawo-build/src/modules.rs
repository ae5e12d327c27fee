//! The modules of packages. A package may have the module of a message: with a message `Cart` that
//! holds an enum, prost generates a module `cart`, and a package `shop.v1.cart` beside it has the same
//! one. The code of such a package is included within the module of the message.

use std::{
    collections::{BTreeMap, BTreeSet},
    slice,
};

use prost_build::Module;

/// The path of a module, from the top of all packages.
type Path = Vec<String>;

/// The modules of all packages and of their messages.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    /// The file of each package that has one.
    packages: BTreeMap<Path, String>,
    /// The modules that the code of packages has for messages.
    of_messages: BTreeSet<Path>,
}

impl Modules {
    /// Adds a package: the name of its file, without the ending, and its code.
    pub(crate) fn add(&mut self, module: &Module, file: &str, code: &str) {
        let path = path(module);
        let of_messages = MessageModules::of(&path, code).map(|(_, path)| path);
        self.of_messages.extend(of_messages);
        self.packages.insert(path, file.to_owned());
    }

    /// Generates Rust that includes the code of all packages, in modules named after them.
    pub(crate) fn all(&self) -> String {
        self.within(&Vec::new())
    }

    /// Returns the code of a package with those packages in it that have the module of a message.
    pub(crate) fn merged(&self, module: &Module, code: &str) -> String {
        let mut modules = MessageModules::of(&path(module), code).peekable();
        let mut text = String::with_capacity(code.len());
        for (index, line) in code.lines().enumerate() {
            text += line;
            text.push('\n');
            if let Some((_, path)) = modules.next_if(|(at, _)| *at == index) {
                text += &self.within(&path);
            }
        }
        text
    }

    /// Includes the package of a module, and all packages below it. Those below the module of a
    /// message are in the code with that module.
    fn within(&self, path: &Path) -> String {
        let include = self.packages.get(path);
        let mut text = include.map_or(String::new(), |file| format!("include!(\"{file}.rs\");\n"));
        let below = self.packages.keys().filter(|other| other.starts_with(path));
        let names = below.filter_map(|below| below.get(path.len()));
        for name in names.collect::<BTreeSet<_>>() {
            let inner = [&path[..], slice::from_ref(name)].concat();
            if !self.of_messages.contains(&inner) {
                text += &format!("pub mod {name} {{\n{}}}\n", self.within(&inner));
            }
        }
        text
    }
}

fn path(module: &Module) -> Path {
    module.parts().map(str::to_owned).collect()
}

/// Finds the modules that prost generated for messages: the number of the line that opens each, and
/// its path.
struct MessageModules<'a> {
    lines: std::iter::Enumerate<std::str::Lines<'a>>,
    is_announced: bool,
    package: usize,
    path: Path,
}

impl<'a> MessageModules<'a> {
    fn of(package: &Path, code: &'a str) -> Self {
        Self {
            lines: code.lines().enumerate(),
            is_announced: false,
            package: package.len(),
            path: package.clone(),
        }
    }
}

impl Iterator for MessageModules<'_> {
    type Item = (usize, Path);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (index, line) = self.lines.next()?;
            let text = line.trim_start();
            let name = text.strip_prefix("pub mod ");
            let name = name.and_then(|name| name.strip_suffix(" {"));
            if let Some(name) = name.filter(|_| self.is_announced) {
                self.is_announced = false;
                let depth = (line.len() - text.len()) / 4;
                self.path.truncate(self.package + depth);
                self.path.push(name.to_owned());
                return Some((index, self.path.clone()));
            }
            self.is_announced = text.starts_with("/// Nested message and enum types in `");
        }
    }
}
