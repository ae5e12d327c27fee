//! The imports of files.
//!
//! Public imports: `import public` passes a file on to those that import the importing file, and to
//! those that import them by `import public`, over any number of files. prost-reflect passes it on
//! only once, so a file gets all of them as imports of its own.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::FileDescriptorProto;

/// The files that a file imports publicly.
pub(crate) fn public(file: &FileDescriptorProto) -> Vec<String> {
    let indices = file.public_dependency.iter();
    let names = indices.filter_map(|index| file.dependency.get(usize::try_from(*index).ok()?));
    names.cloned().collect()
}

/// The files that a file sees through public imports and does not itself import. `public` returns
/// the public imports of a file.
pub(crate) fn missing(
    file: &FileDescriptorProto,
    public: impl Fn(&str) -> Vec<String>,
) -> Vec<String> {
    let mut seen = BTreeSet::from([file.name().to_owned()]);
    seen.extend(file.dependency.iter().cloned());
    let mut missing = Vec::new();
    let mut next = file.dependency.clone();
    while let Some(name) = next.pop() {
        for name in public(&name) {
            if seen.insert(name.clone()) {
                missing.push(name.clone());
                next.push(name);
            }
        }
    }
    missing
}

/// The first import of a file that is not among the files: the names of both.
pub(crate) fn unknown(files: &[FileDescriptorProto]) -> Option<(&str, &str)> {
    let names = files
        .iter()
        .map(|file| file.name())
        .collect::<BTreeSet<_>>();
    files.iter().find_map(|file| {
        let mut imports = file.dependency.iter();
        let import = imports.find(|import| !names.contains(import.as_str()))?;
        Some((file.name(), import.as_str()))
    })
}

/// Files that import each other, such as `a.proto -> b.proto -> a.proto`. Parsers find them, and
/// the linker expects that there are none.
pub(crate) fn cycle(files: &[FileDescriptorProto]) -> Option<String> {
    let imports = files.iter().map(|file| (file.name(), &file.dependency));
    let imports = imports.collect::<BTreeMap<_, _>>();
    let mut done = BTreeSet::new();
    for name in imports.keys() {
        // The files from the first to the one that is looked at, each with its imports still to do.
        let mut path = vec![(*name, imports[name].iter())];
        while let Some((name, rest)) = path.last_mut() {
            let Some(import) = rest.next() else {
                done.insert(*name);
                path.pop();
                continue;
            };
            if let Some(start) = path.iter().position(|(name, _)| name == import) {
                let names = path[start..].iter().map(|(name, _)| *name);
                let names = names.chain([import.as_str()]).collect::<Vec<_>>();
                return Some(names.join(" -> "));
            }
            if let Some((name, inner)) = imports.get_key_value(import.as_str())
                && !done.contains(name)
            {
                path.push((*name, inner.iter()));
            }
        }
    }
    None
}
